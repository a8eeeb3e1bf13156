// SPDX-License-Identifier: MIT OR Apache-2.0
//! E11, E12, E14: allowed headers, extensions and maps.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use tare::image::Digest;
use tare_oracle::tree::Field;

use crate::cage::{Cage, options};
use crate::codecs::gzip;
use crate::tar::{GNU, Head, Tar, pax_records, sign};

const X: &[u8] = b"x";

/// Unpacks an archive that must be refused for `reason` at byte `offset`.
#[track_caller]
fn refused(blob: &[u8], offset: usize, reason: &str) {
    let message = Cage::new().refused(blob, reason);
    assert!(message.contains(&format!("byte {offset}:")), "{message}");
}

#[test]
fn e11_extended_header_that_contradicts_is_refused() {
    for (key, value, offset, reason) in [
        ("size", "4", 1024, "sizes"),
        ("size", "0", 1024, "sizes"),
        ("size", "1024", 1024, "sizes"),
        ("uid", "-1", 0, "number"),
        ("uid", "4294967295", 1024, "id out of range"),
        ("gid", "9223372036854775807", 1024, "id out of range"),
        ("mtime", "9223372036854775808", 0, "number"),
        ("GNU.sparse.name", "x", 1024, "sparse"),
        ("GNU.sparse.major", "1", 1024, "sparse"),
    ] {
        let tar = Tar::new().pax(&[(key, value.as_bytes())]);
        refused(&tar.file("f", "12345").end(), offset, reason);
    }
}

#[test]
fn e11_extended_header_that_is_broken_or_repeated_is_refused() {
    let raw = |body: &[u8]| Tar::new().put(Head::new(b'x', "p"), body);
    let long = |name: &str| Tar::new().put(Head::new(b'L', "@").magic(GNU), name);
    let big = pax_records(&[("comment", &vec![b'c'; 1 << 20])]);
    let path = || Tar::new().pax(&[("path", X)]);
    let lie = Tar::new().head(Head::new(b'x', "p").size(1 << 30));
    for (tar, offset, reason) in [
        (path().pax(&[("path", X)]), 1024, "twice"),
        (Tar::new().pax(&[("path", X), ("path", X)]), 0, "twice"),
        (raw(b"9 path=x"), 0, "length"),
        (raw(b"99 path=x\n"), 0, "length"),
        (raw(&big), 0, "1 MiB"),
        (lie, 0, "1 MiB"),
        (long("x\0").pax(&[("path", X)]), 2048, "PAX and by GNU"),
        (long("x\0y\0"), 0, "after its end"),
        (long(""), 0, "empty"),
    ] {
        refused(&tar.file("f", "12345").end(), offset, reason);
    }
    for tar in [path(), long("x\0")] {
        refused(&tar.clone().end(), 1024, "without an entry");
        refused(&tar.0, 1024, "without an entry");
    }
}

#[test]
fn e11_global_header_that_changes_entries_is_refused() {
    let global = |records: &[(&str, &[u8])]| {
        let tar = Tar::new().put(Head::new(b'g', "g"), pax_records(records));
        tar.file("f", "12345").end()
    };
    for key in ["path", "size", "uid", "SCHILY.xattr.user.a"] {
        refused(&global(&[(key, b"1")]), 0, "global");
    }
    Cage::new().unpack(&global(&[("comment", b"c")])).unwrap();
    // Builders write such times for reproducible archives; engines go by the
    // entry.
    let cage = Cage::new();
    cage.unpack(&global(&[("mtime", b"0")])).unwrap();
    cage.assert_field("f", Field::Mtime, "1000000000.000000000");
}

#[test]
fn e11_long_names_of_pax_gnu_and_ustar_are_read() {
    let part = "n".repeat(120);
    let (pax, gnu) = (format!("pax/{part}"), format!("gnu/{part}"));
    let mut ustar = Head::new(b'0', "name");
    ustar.prefix = format!("ustar/{part}").into_bytes();
    let long = |flag: u8, text: &str| (Head::new(flag, "@").magic(GNU), format!("{text}\0"));
    let tar = Tar::new()
        .pax(&[("path", pax.as_bytes())])
        .file("short", "1")
        .put(long(b'L', &gnu).0, long(b'L', &gnu).1)
        .put(Head::new(b'0', "cut").magic(GNU), "2")
        .put(ustar, "3")
        .pax(&[("path", b"l1"), ("linkpath", pax.as_bytes())])
        .link("short", "short")
        .put(long(b'K', &gnu).0, long(b'K', &gnu).1)
        .head(Head::new(b'2', "l2").link("cut").magic(GNU));
    let cage = Cage::of(tar);
    cage.assert_content(&pax, "1");
    cage.assert_content(&gnu, "2");
    cage.assert_content(&format!("ustar/{part}/name"), "3");
    cage.assert_content("l1", "1");
    cage.assert_field("l2", Field::Target, &gnu);
}

#[test]
fn e11_times_and_ids_beyond_ustar_are_kept() {
    let gnu = Head::new(b'0', "gnu").magic(GNU);
    let tar = Tar::new()
        .pax(&[("mtime", b"-1.5")])
        .add("old")
        .pax(&[("mtime", b"1234567890.123456789")])
        .add("exact->old")
        .pax(&[("mtime", b"77.5")])
        .add("d/ d/f")
        .pax(&[("uid", b"4294967294")])
        .add("pax")
        .put(gnu.owner(3_000_000, 4_000_000), "");
    let cage = Cage::of(tar);
    let old = fs::metadata(cage.path("old")).unwrap();
    assert_eq!((old.mtime(), old.mtime_nsec()), (-2, 500_000_000));
    cage.assert_field("exact", Field::Mtime, "1234567890.123456789");
    cage.assert_field("d", Field::Mtime, "77.500000000");
    if nix::unistd::geteuid().is_root() {
        cage.assert_field("pax", Field::Owner, "4294967294:0");
        cage.assert_field("gnu", Field::Owner, "3000000:4000000");
    }
}

#[test]
fn e12_broken_or_unknown_header_is_refused_at_its_offset() {
    let good = Head::new(b'0', "f").size(5);
    let broken = |at: usize, bytes: &[u8], signed: bool| {
        let mut block = good.block();
        block[at..at + bytes.len()].copy_from_slice(bytes);
        if signed {
            sign(&mut block);
        }
        Tar::new().dir("d").raw(block).raw("12345").pad().end()
    };
    let too_large = [&[0x80][..], &[0xff; 11]].concat();
    for (blob, reason) in [
        (broken(0, b"g", false), "checksum"),
        (broken(148, b"zzzzzz", false), "malformed"),
        (broken(257, b"ustar\x0099", true), "dialect"),
        (broken(257, b"BSDtar!!", true), "dialect"),
        (broken(508, b"tar\0", true), "star"),
        (broken(124, b"0000000005x\0", true), "malformed"),
        (broken(124, &[0xff; 12], true), "negative"),
        (broken(124, &too_large, true), "63 bits"),
        (broken(100, b"rwxr-xr-", true), "malformed"),
        (broken(108, &[0xff; 8], true), "id out of range"),
        (broken(156, b"2", true), "without a target"),
        (broken(1, b"/", true), "slash"),
    ] {
        refused(&blob, 512, reason);
    }
    for flag in [b"A", b"D", b"M", b"V", b"\xff"] {
        refused(&broken(156, flag, true), 512, "unknown type flag");
    }
    // Their size is not looked at, so that a body is no header.
    for flag in [b"5", b"6"] {
        refused(&broken(156, flag, true), 1024, "checksum");
    }
    // The sum of signed bytes, as some old programs wrote it.
    let mut block = Head::new(b'0', "\u{e9}").block();
    block[148..156].fill(b' ');
    let sum: i32 = block.iter().map(|&b| i32::from(b as i8)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    refused(&Tar::new().raw(block).end(), 0, "checksum");
}

#[test]
fn e12_archive_cut_or_continued_is_refused() {
    let tar = Tar::new().dir("d").file("f", vec![b'x'; 5000]);
    let whole = tar.clone().end();
    let body = 1024 + 5000;
    for cut in [512 + 100, 1024, 1024 + 512, body - 1] {
        refused(&whole[..cut], 512, "ends within");
    }
    let end = tar.0.len();
    let one_zero_block = [&tar.0[..], &[0; 512], &whole[..512], &[0; 1024]].concat();
    refused(&one_zero_block, end, "after a block of zeros");
    refused(&[0; 100], 0, "within a block");
}

/// No reader looks behind two blocks of zeros by default.
#[test]
fn e12_archive_with_a_trailer_is_read_to_its_end_and_says_so() {
    let whole = Tar::new().file("f", "x").end();
    let other = Tar::new().file("other", "x").end();
    for after in [&other[..], &[0, 0, 1][..], &[&[0; 5000][..], b"x"].concat()] {
        let blob = [&whole[..], after].concat();
        let cage = Cage::new();
        let unpacked = cage.unpack(&blob).unwrap();
        assert_eq!(unpacked.diff_id, Digest::of(&blob));
        cage.assert_names("f");
        let note = "ignored what follows the end of the archive";
        assert_eq!(unpacked.notes, [note]);
    }
}

#[test]
fn e12_archive_of_no_bytes_is_an_empty_layer() {
    for blob in [&b""[..], &gzip(b"")] {
        let cage = Cage::new();
        let unpacked = cage.unpack(blob).unwrap();
        assert_eq!(unpacked.diff_id, Digest::of(b""));
        assert!(cage.names().is_empty());
    }
}

/// Times that file systems do not keep, as builders write them.
#[test]
fn e11_time_beyond_the_file_system_is_the_nearest_and_says_so() {
    let (first, last) = ("-2147483648.000000000", "15032385535.000000000");
    for (time, kept) in [
        ("-62135596800", first),
        ("-2147483648", first),
        ("99999999999", last),
        ("9223372036854775807", last),
    ] {
        let cage = Cage::new();
        let timed = || Tar::new().pax(&[("mtime", time.as_bytes())]);
        let tar = timed().file("f", "x").raw(timed().symlink("s", "f").0);
        let tar = tar.raw(timed().dir("d").0).raw(timed().dir("./").0);
        let unpacked = cage.unpack(&tar.end()).unwrap();
        for name in ["f", "s", "d", ""] {
            cage.assert_field(name, Field::Mtime, kept);
        }
        let exact = time == "-2147483648";
        assert_eq!(unpacked.notes.is_empty(), exact, "{:?}", unpacked.notes);
    }
}

#[test]
fn e12_archive_with_any_end_is_read_and_hashed_whole() {
    let tar = Tar::new().file("f", "x");
    for zeros in [0, 512, 1024, 10240, 300_000, 1024 + 7] {
        let blob = [&tar.0[..], &vec![0; zeros]].concat();
        let cage = Cage::new();
        let unpacked = cage.unpack(&blob).unwrap();
        assert_eq!(unpacked.diff_bytes, blob.len() as u64, "{zeros}");
        assert_eq!(unpacked.diff_id, Digest::of(&blob));
    }
}

fn old_sparse(real: u64, map: &[(u64, u64)], data: &[u8]) -> Tar {
    let mut block = Head::new(b'S', "s")
        .magic(GNU)
        .size(data.len() as u64)
        .block();
    let mut extension = [0; 512];
    for (i, (offset, length)) in map.iter().enumerate() {
        let text = format!("{offset:011o}\0{length:011o}\0");
        match i {
            0..4 => block[386 + 24 * i..][..24].copy_from_slice(text.as_bytes()),
            _ => extension[24 * (i - 4)..][..24].copy_from_slice(text.as_bytes()),
        }
    }
    block[482] = u8::from(map.len() > 4);
    if real < 1 << 33 {
        block[483..495].copy_from_slice(format!("{real:011o}\0").as_bytes());
    } else {
        block[487..495].copy_from_slice(&real.to_be_bytes());
        block[483] = 0x80;
    }
    sign(&mut block);
    let extension = extension.iter().take(if map.len() > 4 { 512 } else { 0 });
    let extension: Vec<u8> = extension.copied().collect();
    Tar::new().raw(block).raw(extension).raw(data).pad()
}

fn pax_sparse(records: &[(&str, &[u8])], body: &[u8]) -> Tar {
    Tar::new().pax(records).file("GNUSparseFile.0/s", body)
}

#[test]
fn e14_sparse_file_of_each_format_is_unpacked_with_holes() {
    let real = 10 << 20;
    let map: Vec<(u64, u64)> = (0..5).map(|i| (i << 20, 2)).chain([(real, 0)]).collect();
    let data = b"aabbccddee";
    let numbers = |sep: &str| {
        let numbers = map.iter().flat_map(|(o, n)| [o.to_string(), n.to_string()]);
        numbers.collect::<Vec<_>>().join(sep)
    };
    let size = real.to_string();
    let blocks = map.len().to_string();
    let mut zero = vec![
        ("GNU.sparse.size".to_owned(), size.clone()),
        ("GNU.sparse.numblocks".to_owned(), blocks.clone()),
    ];
    for (offset, length) in &map {
        zero.push(("GNU.sparse.offset".into(), offset.to_string()));
        zero.push(("GNU.sparse.numbytes".into(), length.to_string()));
    }
    zero.push(("path".into(), "s".into()));
    let zero: Vec<_> = zero.iter().map(|(k, v)| (&k[..], v.as_bytes())).collect();
    let mut inline = format!("{}\n{}\n", map.len(), numbers("\n")).into_bytes();
    inline.resize(512, 0);
    inline.extend_from_slice(data);
    let list = numbers(",");
    let of_map = [
        ("GNU.sparse.name", &b"s"[..]),
        ("GNU.sparse.size", size.as_bytes()),
        ("GNU.sparse.numblocks", blocks.as_bytes()),
        ("GNU.sparse.map", list.as_bytes()),
    ];
    let one = [
        ("GNU.sparse.major", &b"1"[..]),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"s"),
        ("GNU.sparse.realsize", size.as_bytes()),
    ];
    for (format, tar) in [
        ("old", old_sparse(real, &map, data)),
        ("0.0", pax_sparse(&zero, data)),
        ("0.1", pax_sparse(&of_map, data)),
        ("1.0", pax_sparse(&one, &inline)),
    ] {
        let cage = Cage::of(tar.add("after=x"));
        cage.assert_names("after s");
        let bytes = fs::read(cage.path("s")).unwrap();
        assert_eq!(bytes.len() as u64, real, "{format}");
        let mut expected = vec![0; bytes.len()];
        for (i, pair) in data.chunks(2).enumerate() {
            expected[i << 20..][..2].copy_from_slice(pair);
        }
        assert!(bytes == expected, "{format}");
        let blocks = fs::metadata(cage.path("s")).unwrap().blocks();
        assert!(blocks * 512 < real / 4, "{format}: {blocks} blocks");
    }
}

#[test]
fn e14_sparse_file_that_lies_or_is_too_large_is_refused() {
    for (map, real, data) in [
        (&[(0, 4), (2, 4)][..], 10, &b"12345678"[..]),
        (&[(4, 2), (0, 2)], 10, b"1234"),
        (&[(8, 4)], 10, b"1234"),
        (&[(0, 4)], 10, b"123"),
        (&[(0, 2)], 10, b"123"),
    ] {
        refused(&old_sparse(real, map, data).end(), 0, "sparse map");
    }
    let huge = i64::MAX as u64;
    refused(&old_sparse(huge, &[(0, 1)], b"x").end(), 0, "apparent");
    let text = huge.to_string();
    let keys = [
        ("GNU.sparse.size", text.as_bytes()),
        ("GNU.sparse.numblocks", b"1"),
        ("GNU.sparse.map", b"0,1"),
    ];
    refused(&pax_sparse(&keys, b"x").end(), 1024, "apparent");
    let uncounted = [("GNU.sparse.size", &b"9"[..]), ("GNU.sparse.map", b"0,1")];
    refused(&pax_sparse(&uncounted, b"x").end(), 1024, "sparse map");
    let many = [
        ("GNU.sparse.major", &b"1"[..]),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"s"),
        ("GNU.sparse.realsize", b"1"),
    ];
    let body = [&b"1000000\n"[..], &[b'0'; 600]].concat();
    refused(&pax_sparse(&many, &body).end(), 1024, "sparse segments");
    let cut = pax_sparse(&many, b"1\n0\n").end();
    refused(&cut, 1024, "ends within its sparse map");
}

#[test]
fn e14_bytes_written_are_bounded_before_they_are_written() {
    let mut options = options();
    options.bounds.allocated = 1000;
    let tar = Tar::new().file("a", vec![1; 600]).file("b", vec![2; 600]);
    let cage = Cage::new();
    let error = cage.unpack_with(&tar.end(), &options).unwrap_err();
    let said = "entry \"b\" at byte 1536: more than 1000 allocated";
    assert!(error.to_string().contains(said), "{error}");
    cage.assert_names("a");
    // A size without data must not be reserved either.
    let lie = Tar::new().head(Head::new(b'0', "big").magic(GNU).size(1 << 60));
    Cage::new().refused(&lie.end(), "allocated");
}
