// SPDX-License-Identifier: MIT OR Apache-2.0
//! What reads bytes from outside, each as a function that libFuzzer and the tests feed.
//!
//! A target panics when its parser does, or when what it read is not what the parser promises.
//! The tests run each on its corpus in `fuzz/corpus` and on mutations of that; `fuzz/run.sh` hands them to
//! libFuzzer. Not part of the library that is shipped.
#![forbid(unsafe_code)]

mod passwd;
#[cfg(test)]
mod tests;

/// One of them.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Also the name of its corpus in `fuzz/corpus`.
    pub name: &'static str,
    /// Reads the bytes.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: [Target; 9] = [
    Target {
        name: "tar",
        run: crate::image::fuzz::tar,
    },
    Target {
        name: "layer",
        run: crate::image::fuzz::layer,
    },
    Target {
        name: "documents",
        run: crate::image::fuzz::documents,
    },
    Target {
        name: "reference",
        run: crate::image::fuzz::reference,
    },
    Target {
        name: "spec",
        run: crate::spec::fuzz::spec,
    },
    Target {
        name: "seccomp",
        run: crate::parts::seccomp::fuzz::seccomp,
    },
    Target {
        name: "wire",
        run: crate::wire::fuzz::wire,
    },
    Target {
        name: "passwd",
        run: passwd::passwd,
    },
    Target {
        name: "archive",
        run: crate::image::fuzz::archive,
    },
];

/// xorshift64*: the same sequence everywhere.
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// True once in `n` times.
    pub(crate) fn once(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}
