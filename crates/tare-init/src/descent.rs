// SPDX-License-Identifier: MIT OR Apache-2.0
//! Descent in a table of processes or of mounts.

use crate::mapping::Zeroable;

/// Knowledge of a member's descent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kin(i32);

impl Kin {
    const UNKNOWN: Self = Self(0);
    /// The member belongs to the family.
    pub(crate) const OURS: Self = Self(1);
    const OTHER: Self = Self(2);
    /// The walk passes this member.
    const ASKED: Self = Self(3);
}

/// A row of the table.
pub(crate) struct Member {
    pub(crate) id: i32,
    pub(crate) parent: i32,
    pub(crate) kin: Kin,
    /// Value of the table's owner.
    pub(crate) own: usize,
}

// SAFETY: integers only.
unsafe impl Zeroable for Member {}

impl Member {
    /// Makes a member of unknown descent, or a member that `begins` the family.
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

/// Finds all members that descend from those marked `OURS`, and sorts the rows
/// by id; returns the number of `OURS`. Walks over each row twice, regardless
/// of the depth.
pub(crate) fn gather(rows: &mut [Member]) -> usize {
    rows.sort_unstable_by_key(|row| row.id);
    for start in 0..rows.len() {
        let mut at = start;
        // Walks up to a known, missing or already visited member: a table that
        // was read during changes may have circles.
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

/// Yields the members that are `OURS`.
pub(crate) fn ours(rows: &[Member]) -> impl Iterator<Item = &Member> {
    rows.iter().filter(|row| row.kin == Kin::OURS)
}

fn parent(rows: &[Member], of: usize) -> Option<usize> {
    let wanted = rows[of].parent;
    rows.binary_search_by_key(&wanted, |row| row.id).ok()
}
