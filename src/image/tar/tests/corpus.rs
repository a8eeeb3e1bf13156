// SPDX-License-Identifier: MIT OR Apache-2.0
//! Archives made by hand: habits of writers in use, and each known disagreement
//! of readers.

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
    let old = Tar::new().put(Head::new(0, "nul"), "1");
    let v7 = Tar::new().head(Head::new(0, "old/").magic(V7));
    let linked = Head::new(b'1', "h").link("f").mode(0o4777).owner(1, 2);
    vec![
        (
            "an entry of each type",
            all.head(Head::new(b'4', "disk").device(8, 300)),
        ),
        (
            "old types of files",
            old.put(Head::new(b'7', "contiguous"), "2"),
        ),
        (
            "a V7 directory by its slash",
            v7.put(Head::new(0, "old/f").magic(V7), "x"),
        ),
        (
            "a hard link with a mode of its own",
            Tar::new().file("f", "x").head(linked),
        ),
        ("sparse files of each format", sparse()),
    ]
}

fn names() -> Accepted {
    let far = "f".repeat(300);
    let nul = format!("{far}\0");
    let prefixed = prefixed(Head::new(b'0', "n"), "p/q");
    let both = long(b'L', &nul).raw(long(b'K', &nul).0);
    let wild = Tar::new().dir("./").file("./a//b", "x").dir("d//");
    vec![
        (
            "a name of a hundred bytes without an end",
            Tar::new().file("h".repeat(100), "x"),
        ),
        ("a ustar prefix", Tar::new().put(prefixed, "x")),
        ("a path by PAX", pax(&[("path", &far)]).file("short", "x")),
        (
            "a name beyond ASCII by PAX, none in the header",
            pax(&[("path", "\u{e4}\u{f6}")]).file("", "x"),
        ),
        (
            "a target beyond ASCII by PAX, none in the header",
            pax(&[("linkpath", "\u{e4}\u{f6}")]).symlink("s", ""),
        ),
        (
            "a long GNU name and target",
            both.head(gnu(b'2', "short").link("t")),
        ),
        (
            "a long GNU name without its NUL",
            long(b'L', &far).put(gnu(b'0', "short"), "x"),
        ),
        (
            "names with and without dots and slashes",
            wild.file("/abs", "x").file("a/./c", "x"),
        ),
    ]
}

fn fields() -> Accepted {
    let owner = [("uid", "4294967294"), ("gid", "3000000")];
    let times = [("mtime", "1234567890.123456789"), ("atime", "1.5")];
    let attributes = [("SCHILY.xattr.user.a", "v=w"), ("hdrcharset", "BINARY")];
    let large = gnu(b'0', "f").owner(3_000_000, 1 << 31).mtime(1 << 33);
    let spellings: [(usize, &[u8]); 4] = [
        (100, b"   755 \0"),
        (108, b"00001750"),
        (116, b"        "),
        (136, b"1\0\0\0\0\0\0\0\0\0\0\0"),
    ];
    vec![
        ("owners by PAX", pax(&owner).file("f", "x")),
        ("times by PAX", pax(&times).file("f", "x")),
        ("attributes by PAX", pax(&attributes).file("f", "x")),
        (
            "a size by PAX, the same in the header",
            pax(&[("size", "5")]).file("f", "12345"),
        ),
        ("numbers in base 256", Tar::new().put(large, "x")),
        (
            "a time before 1970 in base 256",
            patched(gnu(b'5', "d"), &[(136, &[0xff; 12])]),
        ),
        (
            "numbers in other spellings",
            patched(Head::new(b'5', "d"), &spellings),
        ),
    ]
}

fn sequences() -> Accepted {
    let same = Tar::new().file("f", "first").dir("f/");
    let comment = pax_records(&[("comment", b"0123abcd")]);
    vec![
        (
            "the same name again and again",
            same.symlink("f", "t").file("f", "last"),
        ),
        (
            "a global header with a comment",
            Tar::new().put(Head::new(b'g', "g"), comment).file("f", "x"),
        ),
    ]
}

/// Archives as image builders write them.
fn builders() -> Accepted {
    let far = format!("{}\0", "f".repeat(150));
    let attribute: [(&str, &[u8]); 1] = [("SCHILY.xattr.user.a", b"v")];
    let time: [(&str, &[u8]); 1] = [("mtime", b"5.5")];
    let named = |tar: Tar| tar.put(gnu(b'0', "short"), "x");
    let after = |records: &[(&str, &[u8])]| long(b'L', &far).pax(records);
    let before = |key, value| pax(&[(key, value)]).raw(long(b'L', &far).0);
    let target = pax(&[("mtime", "5.5")]).raw(long(b'K', &far).0);
    let times: [(usize, &[u8]); 2] = [(345, b"12574544345\0"), (357, b"12574542274\0")];
    let early = patched(gnu(b'0', "f"), &[(136, b"\x80\0\0\0\0\0\0\0\0\0\0\0")]);
    let sized = |flag, name| Head::new(flag, name).size(4096);
    let sparse = patched(gnu(b'S', "s").size(5), &OLD_MAP).raw("abcde").pad();
    let sparse = pax(&[("mtime", "5.5")]).raw(sparse.0);
    let global = pax_records(&[("mtime", b"0")]);
    let long_prefix = "a".repeat(97);
    let entry = Tar::new().file("f", "x");
    vec![
        (
            "attributes by PAX and a GNU name",
            named(before("SCHILY.xattr.user.a", "v")),
        ),
        ("a GNU name and attributes by PAX", named(after(&attribute))),
        (
            "a time by PAX and a GNU name",
            named(before("mtime", "5.5")),
        ),
        ("a GNU name and a time by PAX", named(after(&time))),
        (
            "a time by PAX and a GNU target",
            target.head(gnu(b'2', "s").link("t")),
        ),
        ("a time by PAX and an old sparse file", sparse),
        ("times in a GNU header", patched(gnu(b'0', "f"), &times)),
        (
            "a prefix in a GNU header",
            Tar::new().head(prefixed(gnu(b'0', "n"), "p/q")),
        ),
        (
            "a long prefix in a GNU header",
            Tar::new().head(prefixed(gnu(b'0', "n"), &long_prefix)),
        ),
        (
            "a directory with a size",
            Tar::new().head(sized(b'5', "d")).file("f", "x"),
        ),
        (
            "a pipe with a size",
            Tar::new().head(sized(b'6', "p")).file("f", "x"),
        ),
        (
            "a symlink with a size",
            Tar::new().head(sized(b'2', "s").link("t")).file("f", "x"),
        ),
        (
            "a hard link with a size",
            entry
                .clone()
                .head(sized(b'1', "h").link("f"))
                .file("g", "x"),
        ),
        (
            "the year 1",
            pax(&[("mtime", "-62135596800")]).file("f", "x"),
        ),
        (
            "the year 5138",
            pax(&[("mtime", "99999999999")]).file("f", "x"),
        ),
        ("a time of 2^63 in a GNU header", early),
        (
            "a global time",
            Tar::new().put(Head::new(b'g', "g"), global).file("f", "x"),
        ),
        (
            "another archive behind the end",
            entry.clone().raw([0; 1024]).raw(&entry.0),
        ),
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
    [contradictions(), dialects(), remains(), kinds()].concat()
}

fn contradictions() -> Refused {
    let body = |size: &str| pax(&[("size", size)]).file("f", "12345");
    let number = |at, bytes: &[u8]| patched(gnu(b'0', "f"), &[(at, bytes)]);
    let names = long(b'L', "gnu\0").pax(&[("path", b"pax")]);
    let targets = long(b'K', "gnu\0").pax(&[("linkpath", b"pax")]);
    let twice = pax(&[("path", "a")]).pax(&[("path", b"b")]);
    let global = |key: &str| {
        let records = pax_records(&[(key, b"1")]);
        Tar::new().put(Head::new(b'g', "g"), records).file("f", "x")
    };
    let directory = long(b'L', "f\0").head(gnu(0, "d/"));
    let target = long(b'K', "t\0").head(gnu(b'2', "s"));
    vec![
        ("a smaller size by PAX", "sizes", body("4")),
        ("no size by PAX", "sizes", body("0")),
        (
            "a directory's size by PAX",
            "for what is no file",
            pax(&[("size", "5")]).dir("d"),
        ),
        ("a size in octal by PAX", "malformed number", body("05")),
        ("a signed number", "malformed number", number(124, b"+5\0")),
        (
            "a number with a tail",
            "malformed number",
            number(108, b"1\x008"),
        ),
        ("two names", "PAX and by GNU", names.file("f", "x")),
        ("two targets", "PAX and by GNU", targets.symlink("s", "t")),
        ("two extended headers", "twice", twice.file("f", "x")),
        ("a global path", "global", global("path")),
        ("a global size", "global", global("size")),
        ("a global map of holes", "global", global("SUN.holesdata")),
        (
            "a file by its long name, a directory by its short one",
            "by one of its names",
            directory,
        ),
        (
            "a long target for what has no short one",
            "target for",
            target,
        ),
    ]
}

fn dialects() -> Refused {
    let v7 = |flag, name| Head::new(flag, name).magic(V7);
    let device = Head::new(b'3', "c").device(1, 3);
    let star = patched(prefixed(Head::new(b'5', "d"), "p"), &[(508, b"tar\0")]);
    let one = |head| Tar::new().head(head);
    let holes = |key| pax(&[(key, " 0 1 2")]).file("f", "12345");
    let sized = [
        ("GNU.sparse.size", "9"),
        ("GNU.sparse.map", "0,5"),
        ("size", "5"),
    ];
    let numbered = pax(&[("SCHILY.devmajor", "9")]).head(device.clone());
    let old = |magic| patched(gnu(b'S', "s").magic(magic).size(5), &OLD_MAP).raw("abcde");
    let behind = pax(&[("size", "5")]).raw(old(GNU).pad().0);
    let posix = patched(Head::new(b'S', "s").size(5), &OLD_MAP[..1]).raw("abcde");
    vec![
        ("holes by Solaris", "Solaris", holes("SUN.holesdata")),
        ("holes by star", "star", holes("SCHILY.realsize")),
        ("device numbers by star", "star", numbered),
        (
            "two sizes by PAX",
            "two sizes",
            pax(&sized).file("f", "12345"),
        ),
        ("a prefix by star", "star", star),
        (
            "a prefix beyond ASCII in GNU's dialect",
            "prefix",
            one(prefixed(gnu(b'5', "d"), "\u{e4}")),
        ),
        (
            "times with a tail in GNU's dialect",
            "prefix",
            patched(gnu(b'5', "d"), &[(345, b"0000001\x008")]),
        ),
        (
            "a map in a header of another kind",
            "map of a sparse file",
            patched(gnu(b'0', "f"), &OLD_MAP[..1]),
        ),
        (
            "a prefix before POSIX",
            "prefix",
            one(prefixed(v7(b'5', "d"), "p")),
        ),
        ("a device before POSIX", "device in", one(device.magic(V7))),
        ("an old sparse file of POSIX", "old sparse", posix.pad()),
        (
            "an old sparse file behind an extended header with a size",
            "old sparse",
            behind,
        ),
    ]
}

/// Bytes where readers stop at different places.
fn remains() -> Refused {
    let entry = Tar::new().file("f", "x");
    let mut text = [0; 512];
    text[..14].copy_from_slice(b"name and more\0");
    let name = Tar::new().head(gnu(b'L', "@").size(4)).raw(text);
    let records = Tar::new().head(Head::new(b'x', "x").size(9));
    let records = records.raw("9 uid=77\n9 gid=77\n").pad();
    let after = |zeros: usize| entry.clone().raw(vec![0; zeros]).raw(&entry.0);
    vec![
        ("a long name with a padding", "behind", name.raw(&entry.0)),
        ("a record in the padding", "behind", records.raw(&entry.0)),
        ("more behind a block of zeros", "after a block", after(512)),
    ]
}

fn kinds() -> Refused {
    let data = |head| Tar::new().put(head, "data");
    let dump = Tar::new().put(gnu(b'D', "d/"), "Yf\0\0");
    vec![
        ("a file with a slash", "slash", Tar::new().file("f/", "")),
        (
            "a link with data",
            "checksum",
            data(Head::new(b'1', "h").link("f")),
        ),
        (
            "a directory with data",
            "checksum",
            data(Head::new(b'5', "d")),
        ),
        ("an incremental dump", "unknown type", dump),
        (
            "a volume's label",
            "unknown type",
            Tar::new().head(gnu(b'V', "label")),
        ),
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
