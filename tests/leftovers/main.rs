// SPDX-License-Identifier: MIT OR Apache-2.0
//! Leftovers: none, at any end of a sandbox, its helper or its host.
//!
//! Every test holds `Host::exclusive`, because it compares this process and the
//! machine before and after.
#![allow(
    clippy::print_stdout,
    reason = "figures for readers, words for the parent"
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

/// Returns the lock of the machine, a ground whose store has a helper already,
/// and the machine then.
fn opened_before() -> (impl Sized, Ground, Host) {
    let alone = Host::exclusive();
    let ground = Ground::new();
    ground.open().close().unwrap();
    let before = at_rest(&ground);
    (alone, ground, before)
}

/// The machine while the ground's store has at most a helper.
fn at_rest(ground: &Ground) -> Host {
    // The store discards the prestarted sandbox.
    ground.store.recover().unwrap();
    Host::snapshot_with(&[&ground.scratch()])
}

/// The machine is unchanged then, without a sweep.
#[track_caller]
fn assert_rested(before: &Host, ground: &Ground) {
    assert_eq!(ground.store.recover().unwrap().scratch, 0);
    before.assert_unchanged(SOON);
}

/// Returns whether `dir` is empty.
fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).unwrap().next().is_none()
}
