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

use harness::Ground;
use harness::settle::{SOON, assert_swept, await_end, children, helper_of};
use tare_oracle::Host;

mod child;
mod descriptors;
mod ends;
mod killed;
mod openings;
mod pools;
mod soak;

/// The machine while the ground's store has a helper, if it ever had one, and nothing else.
fn at_rest(ground: &Ground) -> Host {
    // It lets go of what was begun for the next sandbox.
    ground.store.recover().unwrap();
    Host::snapshot_with(&[&ground.scratch()])
}

/// The machine is as it was then, and nothing has to be swept for that.
#[track_caller]
fn assert_rested(before: &Host, ground: &Ground) {
    assert_eq!(ground.store.recover().unwrap().scratch, 0);
    before.assert_unchanged(SOON);
}

/// Whether `dir` holds nothing.
fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).unwrap().next().is_none()
}
