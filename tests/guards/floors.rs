// SPDX-License-Identifier: MIT OR Apache-2.0
//! Gates: a start and a run beside their floors, so loose that only a large
//! loss, such as a grace period of the kernel, fails here. The promised figures
//! are those of `make bench`, of an optimized build.
#![forbid(unsafe_code)]

use std::path::Path;
use std::time::{Duration, Instant};

use tare_oracle::need;

use crate::bed::{self, Bed};
use crate::place::Place;
use crate::{alone, floor, host, ratio};

/// `start_cold` / `floor_naive`: 0.7 is promised.
const BOUND_COLD: f64 = 2.0;
/// `run_warm` / `spawn_std`: 1.5 is promised.
const BOUND_WARM: f64 = 4.0;

const STARTS: usize = 10;

#[test]
fn floors_are_not_far_below() {
    need!(root);
    let _alone = alone();
    // A separate process, because the floor forks.
    let output = host::command(&Place::new(None), "floors").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    print!("{text}");
    assert!(output.status.success(), "{output:?}");
    assert!(text.matches("gate of").count() >= 2, "{output:?}");
}

fn timed(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

/// The host of that.
pub(crate) fn measure(place: &Path) {
    let bed = Bed::new(&place.join("bed"));
    let floor = || ratio::block(STARTS, || floor::run(&bed.root, true));
    let cold = || ratio::block(STARTS, || bed::opened(|| bed::ran(bed.open())));
    ratio::hold("gate of start_cold", BOUND_COLD, [&floor, &cold], || ());
    let sandbox = bed.open();
    let spawn = || ratio::block(STARTS, || timed(|| bed.spawn()));
    let warm = || ratio::block(STARTS, || timed(|| bed::run(&sandbox)));
    ratio::hold("gate of run_warm", BOUND_WARM, [&spawn, &warm], || ());
}
