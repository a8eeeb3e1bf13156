// SPDX-License-Identifier: MIT OR Apache-2.0
//! Computes the number of sandboxes that a pool keeps waiting from the takes.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use crate::error::{Error, Kind, Result, Step};

/// Bounds of the number of waiting sandboxes of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSize {
    /// The sandboxes that wait even without a take. Default: 2.
    pub min: usize,
    /// The most sandboxes that wait, at any demand. Default: 16.
    pub max: usize,
}

impl Default for PoolSize {
    fn default() -> Self {
        Self { min: 2, max: 16 }
    }
}

/// The largest bound, far above the number that a machine holds.
const MOST: usize = 4096;

/// The time that some must be left over before fewer are wanted.
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

    /// Returns the number that is to wait.
    pub(super) fn wanted(&self) -> usize {
        self.wanted
    }

    /// Counts a take: whether the taker had to wait, and the number left.
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
        // A steady demand leaves a sandbox over, too.
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
    fn demand_follows_the_takers_between_the_bounds() {
        // How much is wanted after each of some takes that had to wait.
        for (min, max, expected) in [(1, 6, [2, 4, 6, 6]), (0, 3, [1, 2, 3, 3])] {
            let (mut demand, now) = demand(min, max);
            assert_eq!(demand.wanted(), min);
            let grown = expected.map(|_| {
                demand.taken(true, 0, now);
                demand.wanted()
            });
            assert_eq!(grown, expected, "{min} {max}");
        }
        let (mut demand, mut now) = demand(2, 16);
        (0..4).for_each(|_| demand.taken(true, 0, now));
        let shrunk = [9, 5, 3, 2, 2].map(|_| {
            now += PATIENCE;
            demand.taken(false, demand.wanted() - 1, now);
            demand.wanted()
        });
        assert_eq!(shrunk, [9, 5, 3, 2, 2]);
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
    fn demand_refuses_bounds_that_cannot_be() {
        for (min, max) in [(3, 2), (0, 0), (0, MOST + 1)] {
            let error = Demand::new(PoolSize { min, max }, Instant::now()).unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid, "{min} {max}");
        }
    }
}
