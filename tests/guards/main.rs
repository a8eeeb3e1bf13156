// SPDX-License-Identifier: MIT OR Apache-2.0
//! Guards against losing speed silently, none of which reads a clock in absolute terms: counts beside
//! `tests/data/guards.golden`, slopes as ratios within one process, and loose gates to floors.
//!
//! `TARE_GOLDEN=write cargo test -p libtare --test guards` records the counts anew.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "figures for whoever asks with --nocapture"
)]

#[path = "../harness/mod.rs"]
mod harness;
#[path = "../layout/mod.rs"]
mod layout;
#[allow(dead_code, reason = "the crashes use the rest")]
#[path = "../crashes/place.rs"]
mod place;

#[path = "../../benches/start/bed.rs"]
mod bed;
#[path = "../../benches/start/floor.rs"]
mod floor;

mod allocations;
mod calls;
mod counts;
mod faults;
mod floors;
mod forbidden;
mod golden;
mod host;
mod ratio;
mod slopes;
mod switches;
mod trace;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// One measurement at a time: another test's would be in it.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
