// SPDX-License-Identifier: MIT OR Apache-2.0
//! How many sandboxes a pool keeps waiting, from how they are taken.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use crate::error::{Error, Kind, Result, Step};

/// Between which numbers of waiting sandboxes a pool stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSize {
    /// So many wait even if none is taken. Default: 2.
    pub min: usize,
    /// The most sandboxes that wait, at any demand. Default: 16.
    pub max: usize,
}

impl Default for PoolSize {
    fn default() -> Self {
        Self { min: 2, max: 16 }
    }
}

/// As many as one host may have of anything; far above what one machine holds.
const MOST: usize = 4096;

/// How long some must be left over before fewer are wanted.
const PATIENCE: Duration = Duration::from_secs(1);

/// The number that is wanted: doubled by a take that had to wait, and less by
/// half of what was left over all the time.
#[derive(Debug)]
pub(super) struct Demand {
    size: PoolSize,
    wanted: usize,
    /// The fewest that were left by a take since then.
    least: usize,
    since: Instant,
}

impl Demand {
    /// # Errors
    /// [`Kind::Invalid`] for bounds that are no bounds.
    pub(super) fn new(size: PoolSize, now: Instant) -> Result<Self> {
        let PoolSize { min, max } = size;
        if min > max || max == 0 || max > MOST {
            let why = format_args!("{min} to {max} waiting sandboxes");
            let error = Error::new(Kind::Invalid, Step::OpenPool, why);
            return Err(error.with_cure(format!("min at most max, max from 1 to {MOST}")));
        }
        Ok(Self {
            size,
            wanted: min,
            least: usize::MAX,
            since: now,
        })
    }

    /// How many are to wait.
    pub(super) fn wanted(&self) -> usize {
        self.wanted
    }

    /// One was taken, having to wait for it or not, and so many are left.
    pub(super) fn taken(&mut self, waited: bool, left: usize, now: Instant) {
        if waited {
            self.wanted = (self.wanted * 2).clamp(1, self.size.max);
            (self.least, self.since) = (usize::MAX, now);
            return;
        }
        self.least = self.least.min(left);
        if now.saturating_duration_since(self.since) < PATIENCE {
            return;
        }
        // One that is left over is what a steady demand looks like.
        let over = self.least.saturating_sub(1).div_ceil(2);
        self.wanted = self.wanted.saturating_sub(over).max(self.size.min);
        (self.least, self.since) = (usize::MAX, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(min: usize, max: usize) -> (Demand, Instant) {
        let now = Instant::now();
        (Demand::new(PoolSize { min, max }, now).unwrap(), now)
    }

    #[test]
    fn demand_grows_with_waiting_takers_up_to_the_maximum() {
        let (mut demand, now) = demand(1, 6);
        let grown: Vec<usize> = (0..4)
            .map(|_| {
                demand.taken(true, 0, now);
                demand.wanted()
            })
            .collect();
        assert_eq!(grown, [2, 4, 6, 6]);
    }

    #[test]
    fn demand_shrinks_to_the_minimum_when_some_are_left_over() {
        let (mut demand, mut now) = demand(2, 16);
        for _ in 0..4 {
            demand.taken(true, 0, now);
        }
        assert_eq!(demand.wanted(), 16);
        let mut shrunk = Vec::new();
        for _ in 0..8 {
            now += PATIENCE;
            let left = demand.wanted() - 1;
            demand.taken(false, left, now);
            shrunk.push(demand.wanted());
        }
        assert_eq!(shrunk, [9, 5, 3, 2, 2, 2, 2, 2]);
    }

    #[test]
    fn demand_stays_while_what_waits_is_used() {
        let (mut demand, mut now) = demand(4, 16);
        for _ in 0..100 {
            now += PATIENCE / 3;
            demand.taken(false, 1, now);
        }
        assert_eq!(demand.wanted(), 4);
    }

    #[test]
    fn demand_of_nothing_begins_with_the_first_taker() {
        let (mut demand, now) = demand(0, 3);
        assert_eq!(demand.wanted(), 0);
        demand.taken(true, 0, now);
        assert_eq!(demand.wanted(), 1);
    }

    #[test]
    fn demand_refuses_bounds_that_cannot_be() {
        for (min, max) in [(3, 2), (0, 0), (0, MOST + 1)] {
            let error = Demand::new(PoolSize { min, max }, Instant::now()).unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid, "{min} {max}");
        }
    }
}
