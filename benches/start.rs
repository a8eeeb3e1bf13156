// SPDX-License-Identifier: MIT OR Apache-2.0
//! Start: open, run a program of a single system call, read its status; each
//! step alone, beside the floors.
//!
//! These are distributions; the promised figures are in `figures.rs`, which
//! measures in turn.
#![allow(missing_docs, reason = "a bench has no users")]
#![allow(clippy::print_stderr, reason = "a floor that fails says where")]

#[path = "start/bed.rs"]
mod bed;
#[path = "start/floor.rs"]
mod floor;

use std::time::Duration;

use bed::Bed;
use criterion::Criterion;
use tare::{Pool, PoolSize, Sandbox};

fn opened(count: u64, make: impl Fn() -> Sandbox) -> Duration {
    (0..count).map(|_| bed::opened(&make)).sum()
}

fn starts(criterion: &mut Criterion, bed: &Bed) {
    criterion.bench_function("open_only", |b| {
        b.iter_custom(|n| opened(n, || bed.open()));
    });
    criterion.bench_function("start_cold", |b| {
        b.iter_custom(|n| opened(n, || bed::ran(bed.open())));
    });
    // Taken without a pause: the waiting sandboxes are used up, and the helper
    // makes a sandbox while another is used.
    let pool = Pool::open(&bed.store, &bed.spec, PoolSize::default()).unwrap();
    criterion.bench_function("start_pool", |b| {
        b.iter_custom(|n| opened(n, || bed::ran(pool.take().unwrap())));
    });
    for (name, filter) in [("floor_naive", true), ("floor_nofilter", false)] {
        criterion.bench_function(name, |b| {
            b.iter_custom(|n| (0..n).map(|_| floor::run(&bed.root, filter)).sum());
        });
    }
}

fn opened_ones(criterion: &mut Criterion, bed: &Bed) {
    let sandbox = bed.open();
    criterion.bench_function("run_warm", |b| b.iter(|| bed::run(&sandbox)));
    criterion.bench_function("spawn_std", |b| b.iter(|| bed.spawn()));
    criterion.bench_function("reset", |b| b.iter(|| sandbox.reset().unwrap()));
    criterion.bench_function("close", |b| {
        b.iter_batched(
            || bed.open(),
            |sandbox| sandbox.close().unwrap(),
            criterion::BatchSize::PerIteration,
        );
    });
}

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let bed = Bed::new(dir.path());
    let mut criterion = Criterion::default().configure_from_args().sample_size(50);
    starts(&mut criterion, &bed);
    opened_ones(&mut criterion, &bed);
    criterion.final_summary();
}
