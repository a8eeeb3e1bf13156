// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who descends from whom, in a table of processes or of mounts.

use crate::mapping::Zeroable;

/// What is known of a member's descent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kin(i32);

impl Kin {
    const UNKNOWN: Self = Self(0);
    /// It belongs to the family.
    pub(crate) const OURS: Self = Self(1);
    const OTHER: Self = Self(2);
    /// It is being found out.
    const ASKED: Self = Self(3);
}

/// A row of the table.
pub(crate) struct Member {
    pub(crate) id: i32,
    pub(crate) parent: i32,
    pub(crate) kin: Kin,
    /// The table's owner's: what else it knows, or where to find it.
    pub(crate) own: usize,
}

// SAFETY: integers only.
unsafe impl Zeroable for Member {}

impl Member {
    /// One of whom nothing is known but its parent, unless it `begins` the family.
    pub(crate) fn new(id: i32, parent: i32, begins: bool, own: usize) -> Self {
        let kin = if begins { Kin::OURS } else { Kin::UNKNOWN };
        Self {
            id,
            parent,
            kin,
            own,
        }
    }
}

/// Finds everybody who descends from those that are `OURS` already, and sorts the rows by number;
/// how many are `OURS` in the end. Each row is walked over twice, however long the lines are.
pub(crate) fn gather(rows: &mut [Member]) -> usize {
    rows.sort_unstable_by_key(|row| row.id);
    for start in 0..rows.len() {
        let mut at = start;
        // Up, until somebody is known, missing, or met again: what was read while it changed may go in a circle.
        let verdict = loop {
            match rows[at].kin {
                Kin::UNKNOWN => rows[at].kin = Kin::ASKED,
                Kin::OURS => break Kin::OURS,
                _ => break Kin::OTHER,
            }
            match parent(rows, at) {
                Some(next) => at = next,
                None => break Kin::OTHER,
            }
        };
        at = start;
        while rows[at].kin == Kin::ASKED {
            rows[at].kin = verdict;
            match parent(rows, at) {
                Some(next) => at = next,
                None => break,
            }
        }
    }
    ours(rows).count()
}

/// Those that are `OURS`.
pub(crate) fn ours(rows: &[Member]) -> impl Iterator<Item = &Member> {
    rows.iter().filter(|row| row.kin == Kin::OURS)
}

fn parent(rows: &[Member], of: usize) -> Option<usize> {
    let wanted = rows[of].parent;
    rows.binary_search_by_key(&wanted, |row| row.id).ok()
}
