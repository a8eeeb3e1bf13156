// SPDX-License-Identifier: MIT OR Apache-2.0
//! Descent in a table of processes or of mounts.

use crate::mapping::Zeroable;

/// Knowledge of a member's descent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kin {
    Unknown = 0,
    /// The member belongs to the family.
    Ours,
    Other,
    /// The walk passes this member.
    Asked,
}

/// A row of the table.
pub(crate) struct Member {
    pub(crate) id: i32,
    pub(crate) parent: i32,
    pub(crate) kin: Kin,
    /// Value of the table's owner.
    pub(crate) own: usize,
}

// SAFETY: integers, and `Kin`, for which zero is `Unknown`.
unsafe impl Zeroable for Member {}

impl Member {
    /// Makes a member of unknown descent, or a member that `begins` the family.
    pub(crate) fn new(id: i32, parent: i32, begins: bool, own: usize) -> Self {
        let kin = if begins { Kin::Ours } else { Kin::Unknown };
        Self {
            id,
            parent,
            kin,
            own,
        }
    }
}

/// Finds all members that descend from those marked `Ours`, and sorts the rows
/// by id; returns the number of `Ours`. Walks over each row twice, regardless
/// of the depth.
pub(crate) fn gather(rows: &mut [Member]) -> usize {
    rows.sort_unstable_by_key(|row| row.id);
    for start in 0..rows.len() {
        let mut at = start;
        // Walks up to a known, missing or already visited member: a table that
        // was read during changes may have circles.
        let verdict = loop {
            match rows[at].kin {
                Kin::Unknown => rows[at].kin = Kin::Asked,
                Kin::Ours => break Kin::Ours,
                _ => break Kin::Other,
            }
            match parent(rows, at) {
                Some(next) => at = next,
                None => break Kin::Other,
            }
        };
        at = start;
        while rows[at].kin == Kin::Asked {
            rows[at].kin = verdict;
            match parent(rows, at) {
                Some(next) => at = next,
                None => break,
            }
        }
    }
    ours(rows).count()
}

/// Yields the members that are `Ours`.
pub(crate) fn ours(rows: &[Member]) -> impl Iterator<Item = &Member> {
    rows.iter().filter(|row| row.kin == Kin::Ours)
}

fn parent(rows: &[Member], of: usize) -> Option<usize> {
    let wanted = rows[of].parent;
    rows.binary_search_by_key(&wanted, |row| row.id).ok()
}
