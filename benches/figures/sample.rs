// SPDX-License-Identifier: MIT OR Apache-2.0
//! Measuring several things in turn, so that a change of the machine's mood
//! meets all of them.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

/// A thing that is measured against others.
pub(crate) struct Arm<'a> {
    name: String,
    /// Runs in each such round only.
    every: usize,
    /// Does the work once and returns the time, without uncounted parts.
    once: Box<dyn FnMut() -> Duration + 'a>,
    times: Vec<Duration>,
}

impl<'a> Arm<'a> {
    pub(crate) fn new(name: &str, once: impl FnMut() -> Duration + 'a) -> Self {
        Self {
            name: name.into(),
            every: 1,
            once: Box::new(once),
            times: Vec::new(),
        }
    }

    /// An arm whose whole time counts.
    pub(crate) fn whole(name: &str, mut work: impl FnMut() + 'a) -> Self {
        Self::new(name, move || timed(&mut work))
    }

    /// Leaves slow arms out except in each `n`th round.
    pub(crate) fn every(mut self, n: usize) -> Self {
        self.every = n;
        self
    }

    fn summary(mut self) -> (String, Value) {
        self.times.sort();
        let at = |percent: usize| {
            let last = self.times.len() - 1;
            self.times[(self.times.len() * percent / 100).min(last)].as_secs_f64()
        };
        let summary = json!({
            "n": self.times.len(),
            "p20": at(20),
            "p50": at(50),
            "p99": at(99),
        });
        (self.name, summary)
    }
}

/// The median.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

pub(crate) fn timed(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

/// Runs every arm `block` times in a row in each of `rounds`, the arms in a new
/// order each time. Each arm's first run is not counted.
pub(crate) fn interleave(mut arms: Vec<Arm<'_>>, rounds: usize, block: usize) -> Value {
    let mut order: Vec<usize> = (0..arms.len()).collect();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for arm in &mut arms {
        (arm.once)();
    }
    for round in 0..rounds {
        for last in (1..order.len()).rev() {
            order.swap(last, random.below(last + 1));
        }
        for &at in &order {
            let arm = &mut arms[at];
            if round % arm.every == 0 {
                arm.times.extend((0..block).map(|_| (arm.once)()));
            }
        }
    }
    Value::Object(arms.into_iter().map(Arm::summary).collect::<Map<_, _>>())
}

/// Xorshift, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}
