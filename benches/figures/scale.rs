// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sandboxes a second of several callers together, beside a single caller.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::bed::{self, Bed};
use super::sample::median;
use super::{floor, starts};

/// The time of a measurement.
const WINDOW: Duration = Duration::from_millis(400);
const ROUNDS: usize = 12;
const CALLERS: [usize; 3] = [1, 2, 4];

/// Counts how often a second so many callers do `work`.
fn rate(callers: usize, work: impl Fn() + Sync) -> f64 {
    let (over, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let began = Instant::now();
    thread::scope(|scope| {
        for _ in 0..callers {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    work();
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        thread::sleep(WINDOW);
        over.store(true, Ordering::Relaxed);
    });
    // Each caller's last run counts, with the time.
    done.into_inner() as f64 / began.elapsed().as_secs_f64()
}

/// The same for the floor, with processes as callers: the kernel's share alone.
fn floor_rate(callers: usize, root: &Path) -> f64 {
    let this = std::env::current_exe().unwrap();
    let caller = |_| {
        let mut caller = Command::new(&this);
        caller.arg("floor").arg(root).stdout(Stdio::piped());
        caller.spawn().unwrap()
    };
    let callers: Vec<Child> = (0..callers).map(caller).collect();
    let rate = |caller: Child| -> f64 {
        let said = caller.wait_with_output().unwrap().stdout;
        String::from_utf8(said).unwrap().trim().parse().unwrap()
    };
    callers.into_iter().map(rate).sum()
}

/// A caller of the floor: prints its rate.
pub(crate) fn floor(root: &Path) {
    let (began, mut done) = (Instant::now(), 0);
    while began.elapsed() < WINDOW {
        floor::run(root, true);
        done += 1;
    }
    println!("{}", f64::from(done) / began.elapsed().as_secs_f64());
}

pub(crate) fn measure() -> Value {
    let dir = tempfile::tempdir().unwrap();
    let bed = Bed::new(dir.path());
    starts::whole(&bed);
    let closed = || starts::whole(&bed);
    // Closed in passing, because an ended sandbox may still be dying.
    let dropped = || bed::run(&bed.open());
    const KINDS: [&str; 3] = ["closed", "dropped", "floor"];
    let mut rates: [[Vec<f64>; KINDS.len()]; CALLERS.len()] = Default::default();
    for _ in 0..ROUNDS {
        for (at, callers) in CALLERS.into_iter().enumerate() {
            let [of_closed, of_dropped, of_floor] = &mut rates[at];
            of_closed.push(rate(callers, closed));
            of_dropped.push(rate(callers, dropped));
            of_floor.push(floor_rate(callers, &bed.root));
        }
    }
    let mut values = Map::new();
    for (callers, rates) in CALLERS.into_iter().zip(rates) {
        for (kind, rates) in KINDS.into_iter().zip(rates) {
            values.insert(format!("{kind}_{callers}"), json!(median(rates)));
        }
    }
    json!({ "values": values })
}
