// SPDX-License-Identifier: MIT OR Apache-2.0
//! Start: open, run a program of one system call, learn its status; beside the floor of raw system calls.
//!
//! `floor_naive` makes the same sandbox in the order in which anybody would write it down: one
//! clone, mounts by path, a linear filter as libseccomp emits, one wait. The last lines printed
//! are the ratios within this run; milliseconds mean nothing between machines.
#![allow(missing_docs, reason = "a bench has no users")]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the ratios are what it is for"
)]

#[path = "start/floor.rs"]
mod floor;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command as Host;
use std::time::{Duration, Instant};

use criterion::Criterion;
use tare::{Command, Sandbox, Spec, Store};

/// An image of one program, `exit(0)`, and the directories that things are mounted on.
fn image(dir: &Path) -> PathBuf {
    let root = dir.join("image");
    for name in ["proc", "sys", "dev", "etc"] {
        std::fs::create_dir_all(root.join(name)).unwrap();
    }
    std::fs::write(root.join("exit"), floor::EXIT).unwrap();
    std::fs::set_permissions(root.join("exit"), PermissionsExt::from_mode(0o755)).unwrap();
    root
}

fn cold(store: &Store, spec: &Spec) -> Sandbox {
    let sandbox = Sandbox::open(store, spec).unwrap();
    warm(&sandbox);
    sandbox
}

fn warm(sandbox: &Sandbox) {
    let process = sandbox.spawn(Command::new("/exit")).unwrap();
    assert!(process.wait().unwrap().success());
}

/// Middle and tail of several runs of each, taken in turn so that a change of the machine's mood hits all.
fn ratios(store: &Store, spec: &Spec, root: &Path) {
    const ROUNDS: usize = 300;
    let mut times: [Vec<Duration>; 4] = Default::default();
    let warmed = cold(store, spec);
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let sandbox = cold(store, spec);
        times[0].push(began.elapsed());
        sandbox.close().unwrap();
        let began = Instant::now();
        floor::run(root);
        times[1].push(began.elapsed());
        let began = Instant::now();
        warm(&warmed);
        times[2].push(began.elapsed());
        let began = Instant::now();
        assert!(Host::new(root.join("exit")).status().unwrap().success());
        times[3].push(began.elapsed());
    }
    let [cold, naive, warm, host] = times.map(|mut t| {
        t.sort();
        (t[ROUNDS / 2], t[ROUNDS * 99 / 100])
    });
    let row = |name: &str, (p50, p99): (Duration, Duration)| {
        println!("{name:<12} p50 {p50:>10.1?}  p99 {p99:>10.1?}");
    };
    row("start_cold", cold);
    row("floor_naive", naive);
    row("run_warm", warm);
    row("spawn_std", host);
    let over = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
    println!("start_cold / floor_naive {:.2}", over(cold.0, naive.0));
    println!("run_warm / spawn_std {:.2}", over(warm.0, host.0));
}

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let root = image(dir.path());
    let store = Store::open(&dir.path().join("store")).unwrap();
    let spec = Spec {
        image: format!("dir:{}", root.display()),
        ..Spec::default()
    };
    let mut criterion = Criterion::default().configure_from_args().sample_size(50);
    let warmed = cold(&store, &spec);
    // Closing, which nobody waits for, is not timed.
    criterion.bench_function("start_cold", |b| {
        b.iter_custom(|n| {
            let mut total = Duration::ZERO;
            for _ in 0..n {
                let began = Instant::now();
                let sandbox = cold(&store, &spec);
                total += began.elapsed();
                sandbox.close().unwrap();
            }
            total
        });
    });
    criterion.bench_function("floor_naive", |b| b.iter(|| floor::run(&root)));
    criterion.bench_function("run_warm", |b| b.iter(|| warm(&warmed)));
    criterion.bench_function("spawn_std", |b| {
        b.iter(|| Host::new(root.join("exit")).status().unwrap());
    });
    criterion.final_summary();
    drop(warmed);
    ratios(&store, &spec, &root);
}
