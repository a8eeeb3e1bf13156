// SPDX-License-Identifier: MIT OR Apache-2.0
//! Archives made by hand: what writers in use do, and each thing that readers were seen to disagree on.

use super::build::{GNU, Head, Tar, pax_records, sign};

/// An archive and what becomes of it.
pub(super) struct Case {
    pub(super) name: &'static str,
    /// Words of the refusal; none if it is accepted.
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

/// A GNU long name or link target.
fn long(flag: u8, text: impl AsRef<[u8]>) -> Tar {
    Tar::new().put(Head::new(flag, "././@LongLink").magic(GNU), text)
}

fn gnu(flag: u8, name: &str) -> Head {
    Head::new(flag, name).magic(GNU)
}

/// A header with some bytes of it changed.
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

fn accepted() -> Vec<(&'static str, Tar)> {
    let hundred = "h".repeat(100);
    let far = "f".repeat(300);
    let nul = |text: &str| format!("{text}\0");
    vec![
        ("an entry of each type", {
            Tar::new()
                .dir("d/")
                .file("d/f", "content")
                .symlink("d/s", "../f")
                .link("h", "d/f")
                .head(Head::new(b'6', "fifo").owner(7, 8))
                .head(Head::new(b'3', "null").device(1, 3))
                .head(Head::new(b'4', "disk").device(8, 300))
        }),
        ("old types of files", {
            Tar::new()
                .put(Head::new(0, "nul"), "1")
                .put(Head::new(b'7', "contiguous"), "2")
        }),
        ("a V7 directory by its slash", {
            Tar::new()
                .head(Head::new(0, "old/").magic(V7))
                .put(Head::new(0, "old/f").magic(V7), "x")
        }),
        (
            "a name of a hundred bytes without an end",
            Tar::new().file(&hundred, "x"),
        ),
        (
            "a ustar prefix",
            Tar::new().put(prefixed(Head::new(b'0', "n"), "p/q"), "x"),
        ),
        ("a path and an owner by PAX", {
            pax(&[("path", &far), ("uid", "4294967294"), ("gid", "3000000")]).file("short", "x")
        }),
        ("a name beyond ASCII by PAX, none in the header", {
            pax(&[("path", "\u{e4}\u{f6}")]).file("", "x")
        }),
        ("a target beyond ASCII by PAX, none in the header", {
            pax(&[("linkpath", "\u{e4}\u{f6}")]).symlink("s", "")
        }),
        (
            "a size by PAX, the same in the header",
            pax(&[("size", "5")]).file("f", "12345"),
        ),
        ("times by PAX", {
            pax(&[
                ("mtime", "1234567890.123456789"),
                ("atime", "1.5"),
                ("ctime", "2"),
            ])
            .file("f", "x")
        }),
        ("attributes by PAX", {
            pax(&[
                ("SCHILY.xattr.user.a", "v=w"),
                ("comment", ""),
                ("hdrcharset", "BINARY"),
            ])
            .file("f", "x")
        }),
        ("a global header with a comment", {
            Tar::new()
                .put(
                    Head::new(b'g', "g"),
                    pax_records(&[("comment", b"0123abcd")]),
                )
                .file("f", "x")
        }),
        ("a long GNU name and target", {
            long(b'L', nul(&far))
                .raw(long(b'K', nul(&far)).0)
                .head(gnu(b'2', "short").link("t"))
        }),
        (
            "a long GNU name without its NUL",
            long(b'L', &far).put(gnu(b'0', "short"), "x"),
        ),
        ("numbers in base 256", {
            Tar::new().put(gnu(b'0', "f").owner(3_000_000, 1 << 31).mtime(1 << 33), "x")
        }),
        (
            "a time before 1970 in base 256",
            patched(gnu(b'5', "d"), &[(136, &[0xff; 12])]),
        ),
        ("numbers in other spellings", {
            patched(
                Head::new(b'5', "d"),
                &[
                    (100, b"   755 \0"),
                    (108, b"00001750"),
                    (116, b"        "),
                    (136, b"1\0\0\0\0\0\0\0\0\0\0\0"),
                ],
            )
        }),
        ("names with and without dots and slashes", {
            Tar::new()
                .dir("./")
                .file("./a//b", "x")
                .dir("d//")
                .file("/abs", "x")
                .file("a/./c", "x")
        }),
        ("the same name again and again", {
            Tar::new()
                .file("f", "first")
                .dir("f/")
                .symlink("f", "t")
                .file("f", "last")
        }),
        ("a hard link with a mode of its own", {
            Tar::new()
                .file("f", "x")
                .head(Head::new(b'1', "h").link("f").mode(0o4777).owner(1, 2))
        }),
        ("sparse files of each format", sparse()),
    ]
}

fn sparse() -> Tar {
    let keys = [("GNU.sparse.size", "9"), ("GNU.sparse.numblocks", "2")];
    let pairs = [("GNU.sparse.offset", "1"), ("GNU.sparse.numbytes", "2")];
    let more = [("GNU.sparse.offset", "5"), ("GNU.sparse.numbytes", "3")];
    let zero = pax(&[&keys[..], &pairs, &more].concat()).file("GNUSparseFile.0/z", "abcde");
    let one = pax(&[
        &keys[..],
        &[("GNU.sparse.name", "o"), ("GNU.sparse.map", "1,2,5,3")],
    ]
    .concat());
    let one = one.file("GNUSparseFile.0/o", "abcde");
    let mut body = b"2\n1\n2\n5\n3\n".to_vec();
    body.resize(512, 0);
    body.extend_from_slice(b"abcde");
    let ten = pax(&[
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.name", "t"),
        ("GNU.sparse.realsize", "9"),
    ]);
    let ten = ten.file("GNUSparseFile.0/t", body);
    let old = patched(
        gnu(b'S', "old").size(5),
        &[(386, OLD_MAP), (483, b"00000000011\0")],
    );
    zero.raw(one.0).raw(ten.0).raw(old.raw("abcde").pad().0)
}

/// Bytes 1 and 2, then 5 to 7.
const OLD_MAP: &[u8] = b"00000000001\000000000002\000000000005\000000000003\0";

fn refused() -> Vec<(&'static str, &'static str, Tar)> {
    let body = |size: &str| pax(&[("size", size)]).file("f", "12345");
    let entry = Tar::new().file("f", "x").0;
    let global = |key: &str| {
        let records = pax_records(&[(key, b"1")]);
        Tar::new().put(Head::new(b'g', "g"), records).raw(&entry)
    };
    let old = gnu(b'S', "s").size(5);
    let old_map: [(usize, &[u8]); 2] = [(386, OLD_MAP), (483, b"00000000011\0")];
    let behind = |head: Head, text: &[u8]| {
        let mut block = [0; 512];
        block[..text.len()].copy_from_slice(text);
        Tar::new().head(head.size(4)).raw(block).raw(&entry)
    };
    let star = [("SCHILY.devmajor", "9")];
    let solaris = [("SUN.holesdata", " 0 1 2")];
    vec![
        ("a smaller size by PAX", "sizes", body("4")),
        ("no size by PAX", "sizes", body("0")),
        ("a size in octal by PAX", "malformed number", body("05")),
        (
            "a signed number",
            "malformed number",
            patched(gnu(b'0', "f"), &[(124, b"+5\0")]),
        ),
        (
            "a number with a tail",
            "malformed number",
            patched(gnu(b'0', "f"), &[(108, b"1\08")]),
        ),
        ("names by PAX and by GNU", "PAX and by GNU", {
            long(b'L', "gnu\0").pax(&[("path", b"pax")]).file("f", "x")
        }),
        (
            "two extended headers",
            "twice",
            pax(&[("path", "a")]).pax(&[("path", b"b")]).file("f", "x"),
        ),
        ("a global path", "global", global("path")),
        ("a global size", "global", global("size")),
        ("a global map of holes", "global", global("SUN.holesdata")),
        (
            "holes by Solaris",
            "Solaris",
            pax(&solaris).file("f", "12345"),
        ),
        (
            "holes by star",
            "star",
            pax(&[("SCHILY.realsize", "9")]).file("f", "12345"),
        ),
        (
            "device numbers by star",
            "star",
            pax(&star).head(Head::new(b'3', "c").device(1, 3)),
        ),
        (
            "a prefix that only star has",
            "star",
            patched(prefixed(Head::new(b'5', "d"), "p"), &[(508, b"tar\0")]),
        ),
        (
            "a prefix in GNU's dialect",
            "prefix",
            Tar::new().head(prefixed(gnu(b'5', "d"), "p")),
        ),
        (
            "a prefix before POSIX",
            "prefix",
            Tar::new().head(prefixed(Head::new(b'5', "d").magic(V7), "p")),
        ),
        (
            "a device before POSIX",
            "device in",
            Tar::new().head(Head::new(b'3', "c").magic(V7).device(1, 3)),
        ),
        ("an old sparse file in POSIX's dialect", "old sparse", {
            patched(Head::new(b'S', "s").size(5), &old_map[..1])
                .raw("abcde")
                .pad()
        }),
        (
            "an old sparse file behind an extended header",
            "old sparse",
            { pax(&[("size", "5")]).raw(patched(old, &old_map).raw("abcde").pad().0) },
        ),
        (
            "a file by its long name, a directory by its short one",
            "by one of its names",
            { long(b'L', "f\0").head(gnu(0, "d/")) },
        ),
        ("a long target for an entry that has none", "target for", {
            long(b'K', "t\0").head(gnu(b'2', "s"))
        }),
        (
            "a long name that goes on in its padding",
            "behind",
            behind(gnu(b'L', "@"), b"name and more\0"),
        ),
        ("a record in the padding", "behind", {
            Tar::new()
                .head(Head::new(b'x', "x").size(9))
                .raw("9 uid=77\n9 gid=77\n")
                .pad()
                .raw(&entry)
        }),
        ("a file with a slash", "slash", Tar::new().file("f/", "")),
        (
            "a link with data",
            "data for",
            Tar::new().put(Head::new(b'1', "h").link("f"), "data"),
        ),
        (
            "a directory with data",
            "directory with data",
            Tar::new().put(Head::new(b'5', "d"), "data"),
        ),
        (
            "an incremental dump",
            "unknown type",
            Tar::new().put(gnu(b'D', "d/"), "Yf\0\0"),
        ),
        (
            "a volume's label",
            "unknown type",
            Tar::new().head(gnu(b'V', "label")),
        ),
        (
            "more behind the end",
            "after the end",
            Tar::new().raw(&entry).raw([0; 1024]).raw(&entry),
        ),
        ("more behind one block of zeros", "after a block", {
            Tar::new().raw(&entry).raw([0; 512]).raw(&entry)
        }),
    ]
}

/// Archives with the ends that writers give them.
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
