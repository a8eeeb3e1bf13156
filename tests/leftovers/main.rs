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
use std::thread;
use std::time::{Duration, Instant};

use tare::Store;
use tare_oracle::Host;

mod child;
mod descriptors;
mod ends;
mod soak;

/// Long, for machines with much else to do: a test that passes waits for nothing.
const SOON: Duration = Duration::from_secs(30);

/// Waits until process `pid` has ended; whether its parent has taken notice of that is not its affair.
#[track_caller]
fn await_end(pid: i32) {
    let began = Instant::now();
    let runs = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.is_ok_and(|text| !text.contains(") Z ") && !text.contains(") X "))
    };
    while runs() {
        assert!(began.elapsed() < SOON, "{pid} lives");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until the machine is as it was, sweeping as every open of the store does: helpers of hosts
/// that are gone may still be at work when the first sweep comes by.
#[track_caller]
fn assert_swept(before: &Host, store: &Store) {
    let began = Instant::now();
    loop {
        let swept = store.recover().unwrap();
        let left = before.settle(Duration::from_millis(100));
        if left.is_empty() && swept.left == 0 {
            return;
        }
        let took = began.elapsed();
        assert!(
            took < SOON,
            "{took:?} later: {swept:?}\n{}",
            left.join("\n")
        );
    }
}

/// Whether `dir` holds nothing.
fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).unwrap().next().is_none()
}
