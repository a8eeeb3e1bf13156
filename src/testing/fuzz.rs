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
