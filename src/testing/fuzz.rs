// SPDX-License-Identifier: MIT OR Apache-2.0
//! Feeds the parsers of foreign bytes: each is a function for libFuzzer and the
//! tests.
//!
//! A target panics if its parser does, or breaks a promise about the parsed
//! value. The tests run each target on its corpus in `fuzz/corpus` and on
//! mutations of the corpus; `fuzz/run.sh` hands the targets to libFuzzer.
#![forbid(unsafe_code)]

mod passwd;
#[cfg(test)]
mod tests;
mod wire;

/// One parser.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Name, also of the corpus in `fuzz/corpus`.
    pub name: &'static str,
    /// Reads the bytes.
    pub run: fn(&[u8]),
}

/// All targets.
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
        run: wire::wire,
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
