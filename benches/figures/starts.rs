// SPDX-License-Identifier: MIT OR Apache-2.0
//! Starts, as root and as ordinary users, beside the platform's spawn and the
//! floor.
#![forbid(unsafe_code)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tare::{Pool, PoolSize};
use tare_oracle::ordinary_user;

use super::bed::{self, Bed};
use super::floor;
use super::sample::{Arm, interleave, timed};

/// Opens, runs, learns the status.
pub(crate) fn cold(bed: &Bed) -> Duration {
    bed::opened(|| bed::ran(bed.open()))
}

/// The same, closed, with nothing left.
pub(crate) fn whole(bed: &Bed) {
    bed::ran(bed.open()).close().unwrap();
}

fn pooled(pool: &Pool) -> Duration {
    bed::opened(|| bed::ran(pool.take().unwrap()))
}

/// Until the helper makes no more of them. Without sleeping: a processor that
/// has slept wakes up slowly.
fn rest(pool: &Pool) {
    const QUIET: Duration = Duration::from_millis(5);
    loop {
        let (ready, began) = (pool.ready(), Instant::now());
        while began.elapsed() < QUIET {
            std::hint::spin_loop();
        }
        if ready > 0 && ready == pool.ready() {
            return;
        }
    }
}

/// Starts for the tail: in a row, beside the end of the last; and after that
/// end.
fn alone(bed: &Bed) -> Value {
    const PAUSE: Duration = Duration::from_millis(20);
    let row = Arm::new("start_cold_in_a_row", || cold(bed));
    let paused = Arm::new("start_cold_paused", || {
        std::thread::sleep(PAUSE);
        cold(bed)
    });
    interleave(vec![row, paused], 2, 500)
}

pub(crate) fn measure() -> Value {
    let dir = tempfile::tempdir().unwrap();
    let bed = Bed::new(dir.path());
    let mut alone = alone(&bed);
    let warmed = bed.open();
    let again = bed.open();
    let pool = Pool::open(&bed.store, &bed.spec, PoolSize::default()).unwrap();
    let rushed = Pool::open(&bed.store, &bed.spec, PoolSize::default()).unwrap();
    let mut subids = Other::new(true);
    let mut plain = Other::new(false);
    let arms = vec![
        Arm::whole("spawn_std", || bed.spawn()),
        Arm::new("floor_naive", || floor::run(&bed.root, true)),
        Arm::new("floor_nofilter", || floor::run(&bed.root, false)),
        Arm::new("open_only", || bed::opened(|| bed.open())),
        Arm::new("start_cold", || cold(&bed)),
        Arm::whole("start_whole", || whole(&bed)),
        Arm::new("start_pool", || {
            rest(&pool);
            // Both processors are awake for starts in a row, too.
            bed::run(&warmed);
            pooled(&pool)
        }),
        Arm::new("start_pool_rushed", || pooled(&rushed)),
        Arm::whole("run_warm", || bed::run(&warmed)),
        Arm::whole("reset", || again.reset().unwrap()),
        Arm::new("close", || {
            let sandbox = bed.open();
            timed(|| sandbox.close().unwrap())
        }),
        Arm::new("start_subids", || subids.cold()),
        Arm::new("start_plain", || plain.cold()),
    ];
    let mut arms = interleave(arms, 30, 20);
    for (name, arm) in alone.as_object_mut().into_iter().flatten() {
        arms[name] = arm.take();
    }
    json!({ "arms": arms })
}

/// Another user's process, which makes a start on each request.
struct Other {
    process: Child,
    ask: Option<ChildStdin>,
    told: BufReader<ChildStdout>,
    _dir: tempfile::TempDir,
}

impl Other {
    fn new(with_subids: bool) -> Self {
        let user = ordinary_user(with_subids);
        let dir = user.tempdir();
        let mut command = user.command(std::env::current_exe().unwrap());
        command.arg("serve").arg(dir.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        Self {
            ask: process.stdin.take(),
            told: BufReader::new(process.stdout.take().unwrap()),
            process,
            _dir: dir,
        }
    }

    fn cold(&mut self) -> Duration {
        let mut line = String::new();
        self.ask.as_mut().unwrap().write_all(b"\n").unwrap();
        self.told.read_line(&mut line).unwrap();
        Duration::from_nanos(line.trim().parse().expect("an ordinary user's start"))
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.ask.take());
        self.process.wait().unwrap();
    }
}

/// The other side of [`Other`].
pub(crate) fn serve(dir: &Path) {
    let bed = Bed::new(dir);
    for line in std::io::stdin().lines() {
        line.unwrap();
        println!("{}", cold(&bed).as_nanos());
    }
}
