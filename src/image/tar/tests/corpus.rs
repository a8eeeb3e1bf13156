// SPDX-License-Identifier: MIT OR Apache-2.0
//! Archives made by hand: habits of writers in use, and disagreements of
//! readers that `tests/layer/archives.rs` does not unpack.

use super::build::{GNU, Head, Tar, pax_records, sign};

/// An archive and the verdict.
pub(super) struct Case {
    pub(super) name: &'static str,
    /// Words of the refusal; `None` if it is accepted.
    pub(super) refused: Option<&'static str>,
    pub(super) bytes: Vec<u8>,
}

const V7: [u8; 8] = [0; 8];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name, refused, tar: Tar| {
        let bytes = tar.end();
        cases.push(Case {
            name,
            refused,
            bytes,
        });
    };
    for (name, tar) in accepted() {
        add(name, None, tar);
    }
    for (name, why, tar) in refused() {
        add(name, Some(why), tar);
    }
    for (name, bytes) in ends() {
        cases.push(Case {
            name,
            refused: None,
            bytes,
        });
    }
    cases
}

fn pax(records: &[(&str, &str)]) -> Tar {
    let records: Vec<_> = records.iter().map(|(k, v)| (*k, v.as_bytes())).collect();
    Tar::new().pax(&records)
}

/// Composes a GNU long name or link target.
fn long(flag: u8, text: impl AsRef<[u8]>) -> Tar {
    Tar::new().put(Head::new(flag, "././@LongLink").magic(GNU), text)
}

fn gnu(flag: u8, name: &str) -> Head {
    Head::new(flag, name).magic(GNU)
}

/// Composes a header with some bytes changed.
fn patched(head: Head, patches: &[(usize, &[u8])]) -> Tar {
    let mut block = head.block();
    for (at, bytes) in patches {
        block[*at..at + bytes.len()].copy_from_slice(bytes);
    }
    sign(&mut block);
    Tar::new().raw(block)
}

fn prefixed(mut head: Head, prefix: &str) -> Head {
    head.prefix = prefix.into();
    head
}

type Accepted = Vec<(&'static str, Tar)>;
type Refused = Vec<(&'static str, &'static str, Tar)>;

fn accepted() -> Accepted {
    [types(), names(), fields(), sequences(), builders()].concat()
}

fn types() -> Accepted {
    let all = Tar::new().dir("d/").file("d/f", "content");
    let all = all.symlink("d/s", "../f").link("h", "d/f");
    let all = all.head(Head::new(b'6', "fifo").owner(7, 8));
    let all = all.head(Head::new(b'3', "null").device(1, 3));
    let all = all.head(Head::new(b'4', "disk").device(8, 300));
    let old = Tar::new().put(Head::new(0, "nul"), "1");
    let old = old.put(Head::new(b'7', "contiguous"), "2");
    let v7 = Tar::new().head(Head::new(0, "old/").magic(V7));
    let v7 = v7.put(Head::new(0, "old/f").magic(V7), "x");
    let linked = Head::new(b'1', "h").link("f").mode(0o4777).owner(1, 2);
    let linked = Tar::new().file("f", "x").head(linked);
    vec![
        ("an entry of each type", all),
        ("old types of files", old),
        ("a V7 directory by its slash", v7),
        ("a hard link with a mode of its own", linked),
        ("sparse files of each format", sparse()),
    ]
}

fn names() -> Accepted {
    let far = "f".repeat(300);
    let nul = format!("{far}\0");
    let hundred = Tar::new().file("h".repeat(100), "x");
    let prefix = Tar::new().put(prefixed(Head::new(b'0', "n"), "p/q"), "x");
    let path = pax(&[("path", &far)]).file("short", "x");
    let wide = pax(&[("path", "\u{e4}\u{f6}")]).file("", "x");
    let target = pax(&[("linkpath", "\u{e4}\u{f6}")]).symlink("s", "");
    let both = long(b'L', &nul).raw(long(b'K', &nul).0);
    let both = both.head(gnu(b'2', "short").link("t"));
    let endless = long(b'L', &far).put(gnu(b'0', "short"), "x");
    let wild = Tar::new().dir("./").file("./a//b", "x").dir("d//");
    let wild = wild.file("/abs", "x").file("a/./c", "x");
    vec![
        ("a name of a hundred bytes without an end", hundred),
        ("a ustar prefix", prefix),
        ("a path by PAX", path),
        ("a name beyond ASCII by PAX, none in the header", wide),
        ("a target beyond ASCII by PAX, none in the header", target),
        ("a long GNU name and target", both),
        ("a long GNU name without its NUL", endless),
        ("names with and without dots and slashes", wild),
    ]
}

fn fields() -> Accepted {
    let by_pax = |records: &[(&str, &str)]| pax(records).file("f", "12345");
    let owner = by_pax(&[("uid", "4294967294"), ("gid", "3000000")]);
    let times = by_pax(&[("mtime", "1234567890.123456789"), ("atime", "1.5")]);
    let attributes = by_pax(&[("SCHILY.xattr.user.a", "v=w"), ("hdrcharset", "BINARY")]);
    let large = gnu(b'0', "f").owner(3_000_000, 1 << 31).mtime(1 << 33);
    let large = Tar::new().put(large, "x");
    let early = patched(gnu(b'5', "d"), &[(136, &[0xff; 12])]);
    let spellings: [(usize, &[u8]); 4] = [
        (100, b"   755 \0"),
        (108, b"00001750"),
        (116, b"        "),
        (136, b"1\0\0\0\0\0\0\0\0\0\0\0"),
    ];
    let spellings = patched(Head::new(b'5', "d"), &spellings);
    vec![
        ("owners by PAX", owner),
        ("times by PAX", times),
        ("attributes by PAX", attributes),
        ("a size by PAX, as in the header", by_pax(&[("size", "5")])),
        ("numbers in base 256", large),
        ("a time before 1970 in base 256", early),
        ("numbers in other spellings", spellings),
    ]
}

fn sequences() -> Accepted {
    let same = Tar::new().file("f", "first").dir("f/");
    let same = same.symlink("f", "t").file("f", "last");
    let comment = pax_records(&[("comment", b"0123abcd")]);
    let comment = Tar::new().put(Head::new(b'g', "g"), comment).file("f", "x");
    vec![
        ("the same name again and again", same),
        ("a global header with a comment", comment),
    ]
}

/// Archives as image builders write them.
fn builders() -> Accepted {
    let far = format!("{}\0", "f".repeat(150));
    let named = |tar: Tar| tar.put(gnu(b'0', "short"), "x");
    let after = |key, value: &str| named(long(b'L', &far).pax(&[(key, value.as_bytes())]));
    let before = |key, value| named(pax(&[(key, value)]).raw(long(b'L', &far).0));
    let xattr = "SCHILY.xattr.user.a";
    let timed = |time| pax(&[("mtime", time)]);
    let target = timed("5.5").raw(long(b'K', &far).0);
    let target = target.head(gnu(b'2', "s").link("t"));
    let times: [(usize, &[u8]); 2] = [(345, b"12574544345\0"), (357, b"12574542274\0")];
    let times = patched(gnu(b'0', "f"), &times);
    let early = patched(gnu(b'0', "f"), &[(136, b"\x80\0\0\0\0\0\0\0\0\0\0\0")]);
    let prefix = |prefix: &str| Tar::new().head(prefixed(gnu(b'0', "n"), prefix));
    let sized = |flag, to: &str| {
        let head = Head::new(flag, "e").link(to).size(4096);
        Tar::new().file("f", "x").head(head).file("g", "x")
    };
    let sparse = patched(gnu(b'S', "s").size(5), &OLD_MAP).raw("abcde").pad();
    let sparse = timed("5.5").raw(sparse.0);
    let global = pax_records(&[("mtime", b"0")]);
    let global = Tar::new().put(Head::new(b'g', "g"), global).file("f", "x");
    let entry = Tar::new().file("f", "x");
    let second = entry.clone().raw([0; 1024]).raw(&entry.0);
    vec![
        ("attributes by PAX and a GNU name", before(xattr, "v")),
        ("a GNU name and attributes by PAX", after(xattr, "v")),
        ("a time by PAX and a GNU name", before("mtime", "5.5")),
        ("a GNU name and a time by PAX", after("mtime", "5.5")),
        ("a time by PAX and a GNU target", target),
        ("a time by PAX and an old sparse file", sparse),
        ("times in a GNU header", times),
        ("a prefix in a GNU header", prefix("p/q")),
        ("a long prefix in a GNU header", prefix(&"a".repeat(97))),
        ("a directory with a size", sized(b'5', "")),
        ("a pipe with a size", sized(b'6', "")),
        ("a symlink with a size", sized(b'2', "t")),
        ("a hard link with a size", sized(b'1', "f")),
        ("the year 1", timed("-62135596800").file("f", "x")),
        ("the year 5138", timed("99999999999").file("f", "x")),
        ("a time of 2^63 in a GNU header", early),
        ("a global time", global),
        ("another archive behind the end", second),
    ]
}

fn sparse() -> Tar {
    let size = [("GNU.sparse.size", "9"), ("GNU.sparse.numblocks", "2")];
    let first = [("GNU.sparse.offset", "1"), ("GNU.sparse.numbytes", "2")];
    let second = [("GNU.sparse.offset", "5"), ("GNU.sparse.numbytes", "3")];
    let zero = pax(&[size, first, second].concat()).file("GNUSparseFile.0/z", "abcde");
    let map = [("GNU.sparse.name", "o"), ("GNU.sparse.map", "1,2,5,3")];
    let one = pax(&[size, map].concat()).file("GNUSparseFile.0/o", "abcde");
    let ten = pax(&[
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.name", "t"),
        ("GNU.sparse.realsize", "9"),
    ]);
    let mut body = b"2\n1\n2\n5\n3\n".to_vec();
    body.resize(512, 0);
    body.extend_from_slice(b"abcde");
    let ten = ten.file("GNUSparseFile.0/t", body);
    let old = patched(gnu(b'S', "old").size(5), &OLD_MAP);
    zero.raw(one.0).raw(ten.0).raw(old.raw("abcde").pad().0)
}

/// The map of a sparse file of 9 bytes that has 1 and 2, and 5 to 7.
const OLD_MAP: [(usize, &[u8]); 2] = [
    (386, b"00000000001 00000000002 00000000005 00000000003 "),
    (483, b"00000000011\0"),
];

fn refused() -> Refused {
    [contradictions(), dialects(), remains()].concat()
}

fn contradictions() -> Refused {
    let number = |at, bytes: &[u8]| patched(gnu(b'0', "f"), &[(at, bytes)]);
    let plus = number(124, b"+5\0");
    let tail = number(108, b"1\x008");
    let sized = pax(&[("size", "5")]).dir("d");
    let octal = pax(&[("size", "05")]).file("f", "12345");
    let targets = long(b'K', "gnu\0").pax(&[("linkpath", b"pax")]);
    let targets = targets.symlink("s", "t");
    let global = |key: &str| {
        let records = pax_records(&[(key, b"1")]);
        Tar::new().put(Head::new(b'g', "g"), records).file("f", "x")
    };
    let directory = long(b'L', "f\0").head(gnu(0, "d/"));
    let target = long(b'K', "t\0").head(gnu(b'2', "s"));
    vec![
        ("a directory's size by PAX", "for what is no file", sized),
        ("a size in octal by PAX", "malformed number", octal),
        ("a signed number", "malformed number", plus),
        ("a number with a tail", "malformed number", tail),
        ("two targets", "PAX and by GNU", targets),
        ("a global map of GNU", "global", global("GNU.sparse.map")),
        ("a global map of Solaris", "global", global("SUN.holesdata")),
        ("file and directory by name", "one of its names", directory),
        ("a long target without a short one", "target for", target),
    ]
}

fn dialects() -> Refused {
    let v7 = |flag, name| Head::new(flag, name).magic(V7);
    let device = Head::new(b'3', "c").device(1, 3);
    let one = |head| Tar::new().head(head);
    let by_pax = |records: &[(&str, &str)]| pax(records).file("f", "12345");
    let solaris = by_pax(&[("SUN.holesdata", " 0 1 2")]);
    let star = by_pax(&[("SCHILY.realsize", " 0 1 2")]);
    let sizes = by_pax(&[
        ("GNU.sparse.size", "9"),
        ("GNU.sparse.map", "0,5"),
        ("size", "5"),
    ]);
    let numbered = pax(&[("SCHILY.devmajor", "9")]).head(device.clone());
    let wide = one(prefixed(gnu(b'5', "d"), "\u{e4}"));
    let tail = patched(gnu(b'5', "d"), &[(345, b"0000001\x008")]);
    let map = patched(gnu(b'0', "f"), &OLD_MAP[..1]);
    let prefix = one(prefixed(v7(b'5', "d"), "p"));
    let old = |magic| patched(gnu(b'S', "s").magic(magic).size(5), &OLD_MAP).raw("abcde");
    let behind = pax(&[("size", "5")]).raw(old(GNU).pad().0);
    let posix = patched(Head::new(b'S', "s").size(5), &OLD_MAP[..1]);
    let posix = posix.raw("abcde").pad();
    vec![
        ("holes by Solaris", "Solaris", solaris),
        ("holes by star", "star", star),
        ("device numbers by star", "star", numbered),
        ("two sizes by PAX", "two sizes", sizes),
        ("a GNU prefix beyond ASCII", "prefix", wide),
        ("times with a tail in a GNU header", "prefix", tail),
        ("a map for a plain file", "map of a sparse file", map),
        ("a prefix before POSIX", "prefix", prefix),
        ("a device before POSIX", "device in", one(device.magic(V7))),
        ("an old sparse file of POSIX", "old sparse", posix),
        ("an old sparse file with a PAX size", "old sparse", behind),
    ]
}

/// Bytes where readers stop at different places.
fn remains() -> Refused {
    let entry = Tar::new().file("f", "x");
    let mut text = [0; 512];
    text[..14].copy_from_slice(b"name and more\0");
    let name = Tar::new().head(gnu(b'L', "@").size(4)).raw(text);
    let name = name.raw(&entry.0);
    let records = Tar::new().head(Head::new(b'x', "x").size(9));
    let records = records.raw("9 uid=77\n9 gid=77\n").pad().raw(&entry.0);
    let link = Tar::new().put(Head::new(b'1', "h").link("f"), "data");
    vec![
        ("a long name with a padding", "behind", name),
        ("a record in the padding", "behind", records),
        ("a link with data", "checksum", link),
    ]
}

/// Archives with the ends of various writers.
fn ends() -> Vec<(&'static str, Vec<u8>)> {
    let tar = Tar::new().dir("d/").file("f", "x").0;
    let with = |zeros: usize| [&tar[..], &vec![0; zeros]].concat();
    vec![
        ("no end", with(0)),
        ("half an end", with(512)),
        ("an end and a record's rest", with(10240)),
        ("an end and a part of a block", with(1024 + 7)),
    ]
}
