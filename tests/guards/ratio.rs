// SPDX-License-Identifier: MIT OR Apache-2.0
//! Two things beside each other: blocks of both in turn, the best of each, and
//! more tries where the machine had other things to do.
#![forbid(unsafe_code)]

use std::time::Duration;

const BLOCKS: usize = 8;
const TRIES: usize = 8;

/// The median of so many, in seconds.
pub(crate) fn block(count: usize, once: impl Fn() -> Duration) -> f64 {
    let mut took: Vec<f64> = (0..count).map(|_| once().as_secs_f64()).collect();
    took.sort_by(f64::total_cmp);
    took[count / 2]
}

/// Asserts that the ratio of the second's best block to the first's is at most
/// `bound` in some try; `grow` runs before each block of the second, and
/// dropping its result undoes the growth.
#[track_caller]
pub(crate) fn hold<G>(what: &str, bound: f64, blocks: [&dyn Fn() -> f64; 2], grow: impl Fn() -> G) {
    let mut ratios = Vec::new();
    for _ in 0..TRIES {
        let (mut first, mut second) = (f64::MAX, f64::MAX);
        for _ in 0..BLOCKS {
            first = first.min(blocks[0]());
            let grown = grow();
            second = second.min(blocks[1]());
            drop(grown);
        }
        let ratio = second / first;
        println!(
            "{what}: {ratio:.2} ({:.0} us to {:.0} us), at most {bound}",
            first * 1e6,
            second * 1e6
        );
        if ratio <= bound {
            return;
        }
        ratios.push(ratio);
    }
    panic!("{what}: {ratios:.2?} times as long, at most {bound}");
}

#[test]
fn ratio_above_its_bound_fails() {
    let steady = |seconds| move || seconds;
    hold("held", 2.0, [&steady(1.0), &steady(2.0)], || ());
    let fails = || hold("missed", 2.0, [&steady(1.0), &steady(2.1)], || ());
    assert!(std::panic::catch_unwind(fails).is_err());
}
