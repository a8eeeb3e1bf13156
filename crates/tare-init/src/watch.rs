// SPDX-License-Identifier: MIT OR Apache-2.0
//! Directories that the host has made and not yet named in a request. The host
//! tells the prefix of their names first; the helper removes them at its end.
#![forbid(unsafe_code)]

use core::ffi::CStr;

use crate::cgroup::remove_cgroup;
use crate::copy::remove_tree;
use crate::dir;
use crate::mapping::Mapping;
use crate::sys::{self, AT_FDCWD, Errno, O_DIRECTORY, O_NOFOLLOW, O_PATH, Result};
use crate::wire::{Field as _, Reader, Watch};

/// Cgroups, and the store's scratch directory.
const MOST: usize = 2;
/// Rounds at the end, for each request, because a cgroup stays busy for a while
/// after its last process. The pauses take at most ten seconds for each
/// request. In each round `remove_cgroup` may wait 0.1 s more for each busy
/// cgroup, so the rounds may take minutes.
const ROUNDS: usize = 2000;
const PAUSE_US: u64 = 5000;

/// Bodies of [`Watch`] requests.
#[derive(Default)]
pub(crate) struct Watched([Mapping; MOST]);

impl Watched {
    /// Keeps a copy of a request's body.
    pub(crate) fn add(&mut self, body: &[u8]) -> Result<()> {
        let watch = Watch::get(&mut Reader::new(body)).ok_or(Errno::PROTO)?;
        if watch.prefix.is_empty() {
            // An empty prefix would match every name.
            return Err(Errno::PROTO);
        }
        let mut copy = Mapping::anonymous(body.len())?;
        // Inits do not need the copy.
        copy.for_children(false)?;
        copy.bytes_mut().copy_from_slice(body);
        let free = self.0.iter_mut().find(|held| held.bytes().is_empty());
        *free.ok_or(Errno::TOOBIG)? = copy;
        Ok(())
    }

    /// Removes the directories, in [`ROUNDS`] rounds at most.
    pub(crate) fn remove(&self) {
        for held in &self.0 {
            let Some(watch) = Watch::get(&mut Reader::new(held.bytes())) else {
                continue;
            };
            for round in 0..ROUNDS {
                let found: usize = watch
                    .parents
                    .iter()
                    .map(|parent| remove_below(parent, &watch))
                    .sum();
                if found == 0 {
                    break;
                }
                if round > 0 {
                    sys::sleep_us(PAUSE_US);
                }
            }
        }
    }
}

/// Removes the directories below `parent` with the prefix; returns their
/// number.
fn remove_below(parent: &CStr, watch: &Watch<'_>) -> usize {
    let mut found = 0;
    let flags = O_PATH | O_DIRECTORY | O_NOFOLLOW;
    // A missing parent has no such directories.
    let Ok(top) = sys::openat(AT_FDCWD, parent, flags, 0) else {
        return 0;
    };
    // The next `Store::recover` finds the rest.
    let _ = dir::for_each(top.raw(), c".", |name| {
        if !name.to_bytes().starts_with(watch.prefix.to_bytes()) {
            return Ok(());
        }
        found += 1;
        if watch.trees == 1 {
            // As above; the next round tries again.
            let _ = remove_tree(top.raw(), name);
        } else {
            remove_cgroup(top.raw(), name);
        }
        Ok(())
    });
    found
}
