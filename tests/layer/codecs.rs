// SPDX-License-Identifier: MIT OR Apache-2.0
//! E16, E17: the compressed side, and the digests of both.

use std::io::{self, Read, Write as _};
use std::os::fd::AsFd;

use tare::Kind;
use tare::image::digest::Digest;
use tare::image::layer::unpack;

use crate::cage::{Cage, options};
use crate::tar::{Head, Tar};

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

fn skippable(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_le_bytes();
    [&[0x50, 0x2a, 0x4d, 0x18], &length[..], body].concat()
}

fn sample() -> Vec<u8> {
    Tar::of("d/ d/f=content").end()
}

#[test]
fn e16_layer_in_each_codec_is_unpacked_with_both_digests() {
    let plain = sample();
    let half = plain.len() / 2;
    let members = [gzip(&plain[..half]), gzip(b""), gzip(&plain[half..])].concat();
    let parts = [zstd(&plain[..half]), zstd(b""), zstd(&plain[half..])].concat();
    let frames = [skippable(b"first"), parts, skippable(b"last")].concat();
    for blob in [plain.clone(), gzip(&plain), members, zstd(&plain), frames] {
        let cage = Cage::new();
        let unpacked = cage.unpack(&blob).unwrap();
        assert_eq!(unpacked.blob_digest, Digest::of(&blob));
        assert_eq!(unpacked.blob_bytes, blob.len() as u64);
        assert_eq!(unpacked.diff_id, Digest::of(&plain));
        assert_eq!(unpacked.diff_bytes, plain.len() as u64);
        assert_eq!(unpacked.entries, 2);
        cage.assert_names("d d/f");
    }
}

#[test]
fn e16_blob_cut_changed_or_continued_is_refused() {
    let plain = sample();
    for whole in [gzip(&plain), zstd(&plain)] {
        for cut in [7, whole.len() / 2, whole.len() - 1] {
            Cage::new().refused(&whole[..cut], "");
        }
        let garbage = b"garbage, long enough";
        for tail in [&b"x"[..], b"\0", b"\x1f\x8b", garbage, &plain] {
            Cage::new().refused(&[&whole[..], tail].concat(), "");
        }
    }
    let mut wrong_sum = gzip(&plain);
    let crc = wrong_sum.len() - 8;
    wrong_sum[crc] ^= 1;
    let long_header = [&[0x1f, 0x8b, 8, 8][..], &[b'n'; 1 << 20]].concat();
    for (blob, reason) in [
        (&wrong_sum[..], ""),
        (&long_header, ""),
        (&[b'g'; 2000], ""),
        (b"BZh91AY&SY", "bzip2"),
        (b"\xfd7zXZ\0rest", "xz"),
        // The type is told by content: a gzip member within a gzip member is no
        // tar.
        (&gzip(&gzip(&plain)), ""),
    ] {
        Cage::new().refused(blob, reason);
    }
}

#[test]
fn e16_zstd_window_dictionary_and_skippable_frames_are_bounded() {
    // Frame header: window descriptor of 2^31 bytes; then one raw last block.
    let window = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0, 0];
    Cage::new().refused(&window, "memory");
    // Dictionary id 7, single segment of one byte.
    let dictionary = [0x28, 0xb5, 0x2f, 0xfd, 0x21, 7, 1, 0x09, 0, 0, b'x'];
    Cage::new().refused(&dictionary, "Dictionary");
    let many = [skippable(b"").repeat(100_000), zstd(&sample())].concat();
    Cage::new().refused(&many, "skippable");
    Cage::new().refused(&skippable(&[0; 100])[..50], "");
}

/// Zeros without end: a gzip member of 16 MiB of them, over and over.
struct Bomb {
    member: io::Cursor<Vec<u8>>,
}

impl Read for Bomb {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.member.position() == self.member.get_ref().len() as u64 {
            self.member.set_position(0);
        }
        self.member.read(buffer)
    }
}

#[test]
fn e16_bomb_is_stopped_by_its_ratio() {
    let mut best = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    best.write_all(&vec![0; 16 << 20]).unwrap();
    let member = io::Cursor::new(best.finish().unwrap());
    let head = Head::new(b'0', "zeros").size((1 << 33) - 1).block();
    let bomb = io::Cursor::new(gzip(&head)).chain(Bomb { member });
    let cage = Cage::new();
    let root = std::fs::File::open(cage.root()).unwrap();
    let error = unpack(bomb, root.as_fd(), &options(), &mut |_| ()).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.to_string().contains("200 times"), "{error}");
    assert!(std::fs::metadata(cage.path("zeros")).unwrap().len() < 300 << 20);
}

#[test]
fn e17_wrong_bytes_show_in_the_digests() {
    let plain = sample();
    let blob = gzip(&plain);
    let right = Cage::new().unpack(&blob).unwrap();
    let padded = [&plain[..], &[0; 512]].concat();
    let other = Cage::new().unpack(&gzip(&padded)).unwrap();
    assert_ne!(right.diff_id, other.diff_id);
    assert_ne!(right.blob_digest, other.blob_digest);
    assert_eq!(other.diff_bytes, right.diff_bytes + 512);
}

/// A source that fails as the network does.
struct Failing<'a>(&'a [u8]);

impl Read for Failing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::Error::from_raw_os_error(libc::ECONNRESET)),
            n => Ok(n),
        }
    }
}

#[test]
fn layer_source_that_fails_reports_its_own_errno() {
    for blob in [sample(), gzip(&sample())] {
        let cage = Cage::new();
        let root = std::fs::File::open(cage.root()).unwrap();
        let half = Failing(&blob[..blob.len() / 2]);
        let error = unpack(half, root.as_fd(), &options(), &mut |_| ()).unwrap_err();
        assert_eq!(error.errno(), Some(libc::ECONNRESET), "{error}");
        assert_eq!(error.step(), "read layer");
    }
}

#[test]
fn layer_progress_counts_up_to_the_blob() {
    let blob = Tar::new().file("f", vec![7; 3 << 20]).end();
    let cage = Cage::new();
    let root = std::fs::File::open(cage.root()).unwrap();
    let mut seen = Vec::new();
    unpack(&blob[..], root.as_fd(), &options(), &mut |n| seen.push(n)).unwrap();
    assert!(seen.is_sorted() && seen.len() > 10, "{seen:?}");
    assert_eq!(seen.last(), Some(&(blob.len() as u64)));
}
