// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is left behind: nothing, however a sandbox, its helper or its host ends.
//!
//! Every test holds `Host::exclusive`: it compares this process and the machine before and after.
#![allow(
    clippy::print_stdout,
    reason = "figures for whoever reads, words for the parent"
)]

#[path = "../harness/mod.rs"]
mod harness;

use std::path::Path;

use harness::settle::{SOON, assert_swept, await_end, helper_of};

mod child;
mod descriptors;
mod ends;
mod pools;
mod soak;

/// Whether `dir` holds nothing.
fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).unwrap().next().is_none()
}
