// SPDX-License-Identifier: MIT OR Apache-2.0
//! Leases of an image's layers: held while the image is used, soon held again
//! after.
#![forbid(unsafe_code)]

use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::lock::Lock;

/// Locks of an image's layers: all shared while a [`Lease`] exists, else all
/// released.
#[derive(Debug)]
pub(super) struct LayerLocks {
    all: Vec<Lock>,
    users: Mutex<usize>,
    /// Process that took the locks. A fork shares the open file descriptions,
    /// so it neither releases nor takes locks. Ignored without locks.
    process: u32,
}

/// Keeps the layers in the store until drop.
#[derive(Debug)]
pub(in crate::image) struct Lease(Arc<LayerLocks>);

impl Lease {
    /// Takes over shared locks.
    pub(in crate::image) fn new(all: Vec<Lock>) -> Self {
        let process = if all.is_empty() { 0 } else { process::id() };
        Self(Arc::new(LayerLocks {
            all,
            users: Mutex::new(1),
            process,
        }))
    }

    /// Returns the locks, to be leased again.
    pub(super) fn locks(&self) -> &Arc<LayerLocks> {
        &self.0
    }
}

impl LayerLocks {
    /// Leases the layers again. Returns `None` if a layer was removed, if
    /// another process locks a layer to remove it, or in a fork.
    pub(super) fn lease(self: &Arc<Self>) -> Option<Lease> {
        if !self.are_own() {
            return None;
        }
        let mut users = self.users();
        if *users == 0 && !self.all.iter().all(Lock::retake) {
            self.all.iter().for_each(Lock::release);
            return None;
        }
        *users += 1;
        Some(Lease(Arc::clone(self)))
    }

    fn are_own(&self) -> bool {
        self.all.is_empty() || self.process == process::id()
    }

    /// Returns the number of descriptors.
    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    fn users(&self) -> MutexGuard<'_, usize> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.0.are_own() {
            return;
        }
        let mut users = self.0.users();
        *users -= 1;
        if *users == 0 {
            self.0.all.iter().for_each(Lock::release);
        }
    }
}
