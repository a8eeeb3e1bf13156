// SPDX-License-Identifier: MIT OR Apache-2.0
//! How many sandboxes a second several callers make together, beside one alone.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::bed::{self, Bed};
use super::starts;

/// How long callers are watched at a time.
const WINDOW: Duration = Duration::from_millis(400);
const ROUNDS: usize = 12;
const CALLERS: [usize; 3] = [1, 2, 4];

/// How many times a second `work` is done by so many callers.
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
    // The last of each caller is counted, and so is its time.
    done.into_inner() as f64 / began.elapsed().as_secs_f64()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

pub(crate) fn measure() -> Value {
    let dir = tempfile::tempdir().unwrap();
    let bed = Bed::new(dir.path());
    starts::whole(&bed);
    let closed = || starts::whole(&bed);
    // Closed in passing: what has ended may still be on its way out.
    let dropped = || bed::run(&bed.open());
    let mut rates: [Vec<f64>; 2 * CALLERS.len()] = Default::default();
    for _ in 0..ROUNDS {
        for (at, callers) in CALLERS.into_iter().enumerate() {
            rates[2 * at].push(rate(callers, closed));
            rates[2 * at + 1].push(rate(callers, dropped));
        }
    }
    let mut values = Map::new();
    for (at, rates) in rates.into_iter().enumerate() {
        let how = if at % 2 == 0 { "closed" } else { "dropped" };
        values.insert(format!("{how}_{}", CALLERS[at / 2]), json!(median(rates)));
    }
    json!({ "values": values })
}
