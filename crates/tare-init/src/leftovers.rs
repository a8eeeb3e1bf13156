// SPDX-License-Identifier: MIT OR Apache-2.0
//! Directories that are removed after the end of a sandbox.

use crate::cgroup::remove_cgroup;
use crate::copy::remove_tree;
use crate::mapping::Mapping;
use crate::sys::{AT_FDCWD, Result};
use crate::wire::{Field as _, List, Open, Reader};

/// Cgroups and scratch directories of a sandbox: two lists, each behind its
/// length.
pub(crate) struct Leftovers(Mapping);

impl Leftovers {
    pub(crate) fn new(open: &Open<'_>) -> Result<Self> {
        let parts = [open.cgroups.bytes(), open.scratch.bytes()];
        let mut memory = Mapping::anonymous(8 + parts[0].len() + parts[1].len())?;
        // Inits need neither this memory nor that of earlier sandboxes. Set
        // while the memory is empty: the kernel then merges neighbouring areas
        // of the same kind.
        memory.for_children(false)?;
        let mut rest = memory.bytes_mut();
        for part in parts {
            let (len, tail) = rest.split_at_mut(4);
            len.copy_from_slice(&(part.len() as u32).to_ne_bytes());
            let (body, tail) = tail.split_at_mut(part.len());
            body.copy_from_slice(part);
            rest = tail;
        }
        Ok(Self(memory))
    }

    pub(crate) fn into_raw(self) -> (usize, usize) {
        self.0.into_raw()
    }

    /// Takes back a value from [`Leftovers::into_raw`].
    ///
    /// # Safety
    /// As for [`Mapping::from_raw`].
    pub(crate) unsafe fn from_raw(raw: (usize, usize)) -> Self {
        // SAFETY: the caller vouches for the pair.
        Self(unsafe { Mapping::from_raw(raw) })
    }

    /// Includes the lists in the copy that the next child gets, to remove them.
    pub(crate) fn for_children(&self) -> Result<()> {
        self.0.for_children(true)
    }

    fn lists(&self) -> Option<(List<'_>, List<'_>)> {
        let mut reader = Reader::new(self.0.bytes());
        Some((List::get(&mut reader)?, List::get(&mut reader)?))
    }

    pub(crate) fn clear(&self) {
        self.remove_cgroups();
        self.remove_scratch();
    }

    pub(crate) fn remove_cgroups(&self) {
        for path in self.lists().iter().flat_map(|(cgroups, _)| cgroups.iter()) {
            remove_cgroup(AT_FDCWD, path);
        }
    }

    pub(crate) fn has_scratch(&self) -> bool {
        self.lists().is_some_and(|(_, scratch)| !scratch.is_empty())
    }

    pub(crate) fn remove_scratch(&self) {
        for path in self.lists().iter().flat_map(|(_, scratch)| scratch.iter()) {
            // The next `Store::recover` finds the rest.
            let _ = remove_tree(AT_FDCWD, path);
        }
    }
}
