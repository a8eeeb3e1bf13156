// SPDX-License-Identifier: MIT OR Apache-2.0
//! Archives damaged at random: an error or a tree, never a panic or an escape.

use std::time::{Duration, Instant};

use crate::cage::{Cage, applying, options};
use crate::codecs::{gzip, zstd};
use crate::tar::{GNU, Head, Tar, sign};

/// xorshift64*: the same sequence everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// An archive with an entry of every kind.
fn rich() -> Vec<u8> {
    Tar::new()
        .dir("./")
        .add("a/ a/f=0123456789 s->../victim a/s->/a h=>a/f a/s/through=x")
        .pax(&[
            ("path", b"a/long"),
            ("SCHILY.xattr.user.x", b"v"),
            ("mtime", b"1.5"),
        ])
        .file("p", "body")
        .put(Head::new(b'L', "@").magic(GNU), "a/gnu\0")
        .put(Head::new(b'0', "g").magic(GNU), "body")
        .head(Head::new(b'5', "zero").mode(0))
        .add("zero/f=x .wh.gone a/.wh..wh..opq null@1:3")
        .head(Head::new(b'6', "fifo"))
        .pax(&[
            ("GNU.sparse.size", b"100"),
            ("GNU.sparse.numblocks", b"2"),
            ("GNU.sparse.map", b"0,2,50,2"),
        ])
        .file("sparse", "abcd")
        .end()
}

/// Text that changes the meaning of an entry, put where it may hit a name.
const WORDS: [&[u8]; 8] = [
    b"../victim/file",
    b"/",
    b"s/file\0",
    b"a/s/../",
    b".wh.",
    b"\xff\xff\xff\xff",
    b"7777777",
    b"s\0",
];

fn damage(archive: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = archive.to_vec();
    for _ in 0..=random.below(3) {
        let blocks = bytes.len() / 512;
        let block = random.below(blocks);
        match random.below(6) {
            0 => bytes[block * 512 + random.below(512)] = random.next() as u8,
            1 => bytes[block * 512 + 156] = b"012345679xgLKSA"[random.below(15)],
            2 => {
                let word = WORDS[random.below(WORDS.len())];
                let fields = [0, 100, 108, 124, 136, 157, 257, 345];
                let at = block * 512 + fields[random.below(fields.len())];
                bytes[at..at + word.len()].copy_from_slice(word);
            }
            3 => {
                let other = random.below(blocks);
                bytes.copy_within(other * 512..other * 512 + 512, block * 512);
            }
            4 => drop(bytes.drain(block * 512..block * 512 + 512)),
            _ => bytes.truncate(block * 512 + random.below(512) + 1),
        }
        if bytes.len() < 1024 {
            return archive.to_vec();
        }
        // Most damage is to get past the checksum.
        if random.below(8) > 0 {
            let blocks = bytes.chunks_exact_mut(512);
            let headers = blocks.filter(|b| &b[257..262] == b"ustar");
            headers.for_each(sign);
        }
    }
    bytes
}

#[test]
fn layer_damaged_at_random_neither_panics_nor_escapes() {
    let rich = rich();
    Cage::new().unpack(&rich).unwrap();
    let mut random = Random(0x7461_7265);
    let start = Instant::now();
    let (mut cage, mut unpacked, mut refused) = (Cage::new(), 0, 0);
    let mut settings = options();
    settings.bounds.apparent = 1 << 30;
    while start.elapsed() < Duration::from_secs(5) {
        if (unpacked + refused) % 50 == 49 {
            cage = Cage::new();
        }
        let bytes = damage(&rich, &mut random);
        let blob = match random.below(4) {
            0 => gzip(&bytes),
            1 => zstd(&bytes),
            _ => bytes,
        };
        settings.whiteouts = match random.below(2) {
            0 => options().whiteouts,
            _ => applying().whiteouts,
        };
        match cage.unpack_with(&blob, &settings) {
            Ok(_) => unpacked += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(unpacked > 20 && refused > 20, "{unpacked} {refused}");
}
