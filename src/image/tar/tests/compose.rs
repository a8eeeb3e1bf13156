// SPDX-License-Identifier: MIT OR Apache-2.0
//! Composes archives at random: each field in a spelling of some writer, honest
//! or not.

use super::build::{Tar, pax_records, sign};
use crate::testing::random::Random;

const MAGICS: [&[u8; 8]; 4] = [
    b"ustar\x0000",
    b"ustar\x0000",
    b"ustar  \0",
    b"\0\0\0\0\0\0\0\0",
];
const ODD_MAGICS: [&[u8; 8]; 3] = [b"ustar\0\0\0", b"ustar\0  ", b"ustar 00"];

const NAMES: [&[u8]; 22] = [
    b"a",
    b"b",
    b"a/b",
    b"./c",
    b"d//e",
    b"/abs",
    b"../up",
    b".",
    b"name with spaces ",
    b" leading",
    b"tab\tnewline\n",
    b"back\\slash",
    "umlaut \u{e4}".as_bytes(),
    b"latin \xe4",
    b"\xff\xfe",
    b"name\0junk",
    b"PaxHeaders/x",
    b"GNUSparseFile.0/s",
    b".wh.x",
    b"%41",
    b"a=b",
    b"hundred-bytes-hundred-bytes-hundred-bytes-hundred-bytes-hundred-bytes-hundred-bytes-hundred-bytes-456",
];

/// Names that some readers take for directories.
const SLASHED: [&[u8]; 4] = [b"d/", b"./", b"slash/\0junk", b"d/e//"];

/// Records with values; every reader knows the first values.
const PAX: [(&str, &[&[u8]]); 40] = [
    ("path", &[b"p", b"p/q", b"./p", b"p=q", b"\xff", b"p/", b""]),
    (
        "path",
        &[b"umlaut \xc3\xa4", b"a path of some length/", b"\xe4"],
    ),
    ("linkpath", &[b"l", b"/l", b"../l", b"l/", b"\xff", b""]),
    ("size", &[b"5", b"0", b"05", b"+5", b"512", b"5.0"]),
    ("uid", &[b"0", b"7", b"4294967294", b"-1", b"007", b""]),
    ("gid", &[b"0", b"7", b"4294967294", b"1e3"]),
    (
        "mtime",
        &[b"1", b"1.5", b"0.9999999999", b"-1", b"-1.25", b"1.", b".5"],
    ),
    (
        "mtime",
        &[b"17179869184", b"99999999999", b"-0.5", b"0x1", b" 1"],
    ),
    ("atime", &[b"1", b"x"]),
    ("ctime", &[b"1.25"]),
    ("uname", &[b"root", b""]),
    ("gname", &[b"root", b"\xff"]),
    ("comment", &[b"c", b""]),
    ("charset", &[b"ISO-IR 8859 1 1998"]),
    ("hdrcharset", &[b"BINARY", b"ISO-IR 10646 2000 UTF-8", b"X"]),
    ("mode", &[b"0777", b"511"]),
    ("type", &[b"5"]),
    ("devmajor", &[b"9"]),
    ("SCHILY.xattr.user.a", &[b"v", b"", b"\0"]),
    ("SCHILY.acl.access", &[b"user::rwx"]),
    ("SCHILY.devmajor", &[b"9", b"x"]),
    ("SCHILY.devminor", &[b"9"]),
    ("SCHILY.dev", &[b"9"]),
    ("SCHILY.ino", &[b"9"]),
    ("SCHILY.nlink", &[b"2"]),
    ("SCHILY.fflags", &[b"nodump"]),
    ("SCHILY.filetype", &[b"dir"]),
    ("SCHILY.realsize", &[b"5"]),
    ("SCHILY.offset", &[b"1"]),
    ("SUN.holesdata", &[b" 0 1 2"]),
    ("LIBARCHIVE.xattr.user.a", &[b"dg=="]),
    ("LIBARCHIVE.symlinktype", &[b"dir"]),
    ("LIBARCHIVE.creationtime", &[b"1"]),
    ("RHT.security.selinux", &[b"x"]),
    ("GNU.volume.label", &[b"x"]),
    ("GNU.sparse.size", &[b"9", b"100"]),
    ("GNU.sparse.name", &[b"sparse"]),
    ("GNU.sparse.map", &[b"0,5", b"0,2,4,3", b""]),
    ("GNU.sparse.major", &[b"1", b"0"]),
    ("GNU.dumpdir", &[b"Yx"]),
];

type Record = (String, Vec<u8>);
type Records = Vec<Record>;

/// Approximate number of faults in an archive.
struct Faults(usize);

impl Faults {
    /// Returns whether this place gets a fault.
    fn here(&self, random: &mut Random) -> bool {
        random.once(self.0)
    }
}

/// Composes an archive of some entries, most of which some reader accepts.
pub(super) fn compose(random: &mut Random) -> Vec<u8> {
    let faults = Faults([20, 100, 1000][random.below(3)]);
    let mut tar = Tar::new();
    for _ in 0..=random.below(4) {
        if random.once(12) {
            tar = global(tar, random, &faults);
        }
        tar = entry(tar, random, &faults);
    }
    if !faults.here(random) {
        let zeros = [0, 512, 1024, 1024, 1024, 1024 + 7, 10240][random.below(7)];
        return tar.raw(vec![0; zeros]).0;
    }
    let tar = tar.raw(vec![0; [512, 1024][random.below(2)]]);
    match random.once(2) {
        true => tar.raw(b"x").pad().0,
        false => entry(tar, random, &faults).0,
    }
}

fn global(tar: Tar, random: &mut Random, faults: &Faults) -> Tar {
    let records = match faults.here(random) {
        true => records(random, 1, faults),
        false => match random.once(4) {
            true => vec![("mtime".into(), b"7".to_vec())],
            false => vec![("comment".into(), b"c".to_vec())],
        },
    };
    extended(tar, random, faults, b'g', &records)
}

/// Composes an entry, with the headers before it.
fn entry(mut tar: Tar, random: &mut Random, faults: &Faults) -> Tar {
    let flag = match faults.here(random) {
        true => b"DMNVX9A"[random.below(7)],
        false => b"0000000\x007555221346S"[random.below(18)],
    };
    let mut body = Vec::new();
    if matches!(flag, b'0' | 0 | b'7' | b'S') || faults.here(random) {
        body = vec![b'a' + random.below(26) as u8; [0, 1, 5, 5, 5, 511, 512, 513][random.below(8)]];
    }
    let sparse = matches!(flag, b'0' | 0) && random.once(8);
    if sparse {
        let (records, mapped) = pax_sparse(random, &body);
        body = mapped;
        tar = extended(tar, random, faults, b'x', &records);
    } else if random.once(3) {
        let some = random.below(3);
        let mut records = records(random, some, faults);
        if random.once(4) && (flag != b'S' || faults.here(random)) {
            records.push(("size".into(), body.len().to_string().into_bytes()));
        }
        tar = extended(tar, random, faults, b'x', &records);
    }
    for long in [b'L', b'K'] {
        if random.once(8) {
            let mut text = vec![b'l'; [5, 99, 100, 101, 511, 512, 513][random.below(7)]];
            if random.once(2) {
                text = random.one(&NAMES).to_vec();
            }
            text.retain(|&b| b != 0 || faults.here(random));
            text.extend_from_slice(match faults.here(random) {
                true => random.one(&[b"\0\0", b"/\0", b"\0x"]),
                false => random.one(&[b"\0", b"\0", b""]),
            });
            tar = member(tar, random, faults, long, b"././@LongLink", &text);
        }
    }
    let slash = (flag == b'5' && random.once(2)) || faults.here(random);
    let name = match slash {
        true => random.one(&SLASHED),
        false => random.one(&NAMES),
    };
    member(tar, random, faults, flag, name, &body)
}

/// Composes records of a sparse file in a format of PAX, with the body.
fn pax_sparse(random: &mut Random, body: &[u8]) -> (Records, Vec<u8>) {
    let first = random.below(body.len() + 1);
    let gap = random.below(1000);
    let second = gap + first + random.below(1000);
    let mut map = vec![gap, first, second, body.len() - first];
    if random.once(3) {
        map.extend([map[2] + map[3], 0]);
    }
    let real = map[map.len() - 2] + map[map.len() - 1] + random.below(2) * 100;
    let record = |key: &str, value: &dyn ToString| {
        (format!("GNU.sparse.{key}"), value.to_string().into_bytes())
    };
    let texts: Vec<_> = map.iter().map(usize::to_string).collect();
    let join = |sep: &str| texts.join(sep);
    let mut records = Vec::new();
    if random.once(3) {
        records.push(("path".to_owned(), b"GNUSparseFile.0/sparse".to_vec()));
    }
    match random.below(3) {
        0 => {
            records.push(record("size", &real));
            records.push(record("numblocks", &(map.len() / 2)));
            for pair in map.chunks(2) {
                records.push(record("offset", &pair[0]));
                records.push(record("numbytes", &pair[1]));
            }
        }
        1 => {
            records.push(record("size", &real));
            records.push(record("numblocks", &(map.len() / 2)));
            records.push(record("map", &join(",")));
            records.push(record("name", &"sparse"));
        }
        _ => {
            records.push(record("major", &1));
            records.push(record("minor", &0));
            records.push(record("name", &"sparse"));
            records.push(record("realsize", &real));
            let mut mapped = format!("{}\n{}\n", map.len() / 2, join("\n")).into_bytes();
            mapped.resize(512, 0);
            mapped.extend_from_slice(body);
            return (records, mapped);
        }
    }
    (records, body.to_vec())
}

fn extended(tar: Tar, random: &mut Random, faults: &Faults, flag: u8, records: &[Record]) -> Tar {
    let records: Vec<_> = records.iter().map(|(k, v)| (&k[..], &v[..])).collect();
    member(
        tar,
        random,
        faults,
        flag,
        b"PaxHeaders/x",
        &pax_records(&records),
    )
}

fn records(random: &mut Random, most: usize, faults: &Faults) -> Records {
    let mut records = Vec::new();
    for _ in 0..most {
        let (key, values) = PAX[random.below(PAX.len())];
        let value = match faults.here(random) {
            true => random.one(values),
            false => values[0],
        };
        records.push((key.to_owned(), value.to_vec()));
    }
    records
}

/// Composes the part of an old GNU header that holds the map of a sparse file.
fn old_map(random: &mut Random, faults: &Faults, stored: u64) -> Vec<u8> {
    let first = random.below(stored as usize + 1) as u64;
    let gap = random.below(2000) as u64;
    let mut segments = vec![(gap, first), (gap + first + 10, stored - first)];
    if random.once(3) {
        segments.push((gap + stored + 10 + random.below(9) as u64, 0));
    }
    let real = segments.last().map_or(0, |(at, n)| at + n) + random.below(3) as u64;
    let mut bytes = vec![0; 512 - 386];
    for (n, (at, length)) in segments.into_iter().enumerate() {
        bytes[24 * n..][..12].copy_from_slice(&number(random, faults, at, 12));
        bytes[24 * n + 12..][..12].copy_from_slice(&number(random, faults, length, 12));
    }
    bytes[483 - 386..495 - 386].copy_from_slice(&number(random, faults, real, 12));
    bytes
}

/// Composes a header in some dialect, with its body.
fn member(
    tar: Tar,
    random: &mut Random,
    faults: &Faults,
    flag: u8,
    name: &[u8],
    body: &[u8],
) -> Tar {
    let mut block = [0; 512];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    let magic = match flag {
        _ if faults.here(random) => random.one(&ODD_MAGICS),
        b'S' => b"ustar  \0",
        b'x' | b'g' => b"ustar\x0000",
        _ => random.one(&MAGICS),
    };
    if !faults.here(random) {
        put(0, &name[..name.len().min(100)]);
    }
    let mode = [0o644, 0o755, 0o4755, 0, 0o100_644, 0o7_777_777][random.below(6)];
    put(100, &number(random, faults, mode, 8));
    let owner = [0, 0, 1, 1000, 65534, 2_097_151, 2_097_152, 1 << 31][random.below(8)];
    put(108, &number(random, faults, owner, 8));
    put(116, &number(random, faults, owner / 2, 8));
    let size = match faults.here(random) {
        true => [0, body.len() as u64 + 1][random.below(2)],
        // Some writers give other types a size, but never a body.
        false if matches!(flag, b'1'..=b'6') && body.is_empty() && random.once(8) => 4096,
        false => body.len() as u64,
    };
    put(124, &number(random, faults, size, 12));
    let time = [0, 1, 1_000_000_000, 1 << 33, 1 << 34][random.below(5)];
    put(136, &number(random, faults, time, 12));
    put(156, &[flag]);
    if matches!(flag, b'1' | b'2') != faults.here(random) || random.once(20) {
        put(157, random.one(&NAMES));
    }
    put(257, magic);
    if random.once(4) {
        put(265, b"root");
    }
    if matches!(flag, b'3' | b'4') || faults.here(random) {
        let device = random.below(300) as u64;
        put(329, &number(random, faults, device, 8));
        put(337, &number(random, faults, device / 2, 8));
    }
    if magic == b"ustar\x0000" && random.once(6) {
        let prefixes: [&[u8]; 6] = [b"pre", b"pre/fix", b"/", b"pre/", b"pre\0junk", b"\0junk"];
        put(345, random.one(&prefixes));
    }
    if magic == b"ustar  \0" && random.once(12) {
        put(345, random.one(&[b"00000000017\0", b"pre", b"pre/fix"]));
    }
    if faults.here(random) {
        let prefixes: [&[u8]; 4] = [b"pre", b"00000000001\0", b"\0junk", b"1234567 8/"];
        put(345, random.one(&prefixes));
    }
    if faults.here(random) {
        put(508, b"tar\0");
    }
    if flag == b'S' {
        put(386, &old_map(random, faults, body.len() as u64));
    }
    sign(&mut block);
    let tar = tar.raw(block).raw(body);
    match faults.here(random) {
        true => tar,
        false => tar.pad(),
    }
}

/// Writes a number in a spelling of some writer.
fn number(random: &mut Random, faults: &Faults, value: u64, width: usize) -> Vec<u8> {
    let digits = format!("{value:o}");
    let plain = format!("{digits:0>w$}\0", w = width - 1);
    if faults.here(random) {
        return misspelt(random, &digits, width);
    }
    let text = match random.below(32) {
        0 => format!("{digits:>w$} ", w = width - 1),
        1 => format!("{digits:0>width$}"),
        2 => format!("{digits:>w$}\0", w = width - 1),
        3 => format!("{digits:0>w$} \0", w = width - 2),
        4 => format!("{digits:0>w$}\0 ", w = width - 2),
        5 => format!("{digits}\0"),
        6 => format!("{digits} \0"),
        7 if value == 0 => String::new(),
        8 if value == 0 => " ".repeat(width),
        9 | 10 => return base256(value, width),
        _ => plain,
    };
    let mut bytes = text.into_bytes();
    if bytes.len() > width {
        return base256(value, width);
    }
    bytes.resize(width, 0);
    bytes
}

/// Writes a number that only some readers accept.
fn misspelt(random: &mut Random, digits: &str, width: usize) -> Vec<u8> {
    let mut bytes = match random.below(9) {
        0 => format!("{digits}\0{digits}"),
        1 => format!("{digits}x"),
        2 => format!("-{digits}"),
        3 => format!("+{digits}"),
        4 => format!("\0{digits}"),
        5 => format!("0x{digits}"),
        6 => format!("0o{digits}"),
        7 => format!("{digits}_0"),
        _ => format!("{digits}8"),
    }
    .into_bytes();
    bytes.resize(width, 0);
    bytes
}

fn base256(value: u64, width: usize) -> Vec<u8> {
    let mut bytes = vec![0; width];
    bytes[width - 8..].copy_from_slice(&value.to_be_bytes());
    bytes[0] |= 0x80;
    bytes
}

/// Changes a few blocks or bytes of the archive, and repairs most checksums.
pub(super) fn damage(archive: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = archive.to_vec();
    for _ in 0..=random.below(2) {
        if bytes.len() < 1024 {
            break;
        }
        let blocks = bytes.len() / 512;
        let block = random.below(blocks) * 512;
        match random.below(7) {
            0 => bytes[block + random.below(512)] = random.next() as u8,
            1 => bytes[block + random.below(512)] ^= 1 << random.below(8),
            2 => bytes[block + random.below(512)] = 0,
            3 => bytes[block + 156] = b"0123456789xgLKSANVXE\0"[random.below(21)],
            4 => {
                let other = random.below(blocks) * 512;
                bytes.copy_within(other..other + 512, block);
            }
            5 => drop(bytes.drain(block..block + 512)),
            _ => bytes.truncate(block + random.below(512) + 1),
        }
    }
    for header in bytes.chunks_exact_mut(512) {
        if &header[257..262] == b"ustar" && !random.once(20) {
            sign(header);
        }
    }
    bytes
}
