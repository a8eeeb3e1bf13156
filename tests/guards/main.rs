// SPDX-License-Identifier: MIT OR Apache-2.0
//! Guards against silent losses of speed, without absolute times: counts beside
//! `tests/data/guards.golden`, slopes as ratios within a process, and loose
//! gates to floors.
//!
//! `TARE_GOLDEN=write cargo test -p libtare --test guards` records the counts
//! anew.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "figures, shown with --nocapture"
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

/// A single measurement at a time, because another test would disturb the
/// counts.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
