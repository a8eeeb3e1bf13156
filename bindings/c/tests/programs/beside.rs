// SPDX-License-Identifier: MIT OR Apache-2.0
//! Another library in Rust, for beside.c: std with threads, unwinding and
//! allocation.

use std::panic::{catch_unwind, resume_unwind};
use std::thread;

/// Sums the numbers up to `most` in a thread that unwinds with the sum.
#[unsafe(no_mangle)]
pub extern "C" fn beside_sum(most: u64) -> u64 {
    let unwinds = move || resume_unwind(Box::new((0..=most).sum::<u64>()));
    let sum = thread::spawn(move || catch_unwind::<_, ()>(unwinds)).join();
    match sum.map(|caught| caught.map_err(|sum| sum.downcast::<u64>())) {
        Ok(Err(Ok(sum))) => *sum,
        _ => 0,
    }
}
