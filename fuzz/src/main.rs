// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hands libFuzzer's inputs to one of the library's targets, named by
//! `TARE_FUZZ_TARGET`.
#![no_main]

use std::sync::LazyLock;

use tare::testing::fuzz::{TARGETS, Target};

/// Chosen once: libFuzzer calls again and again.
static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("TARE_FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.iter().find(|target| target.name == name);
    *found.unwrap_or_else(|| panic!("TARE_FUZZ_TARGET={name:?} is none of them"))
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| (TARGET.run)(data));
