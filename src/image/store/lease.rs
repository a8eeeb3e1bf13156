// SPDX-License-Identifier: MIT OR Apache-2.0
//! The layers of an image, held while it is used; afterwards let go, but soon held again.
#![forbid(unsafe_code)]

use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::lock::Lock;

/// The locks of an image's layers: all shared while anybody has a [`Lease`], else none.
#[derive(Debug)]
pub(super) struct LayerLocks {
    all: Vec<Lock>,
    users: Mutex<usize>,
    /// A fork's copies are the same open file descriptions: they are neither let go nor taken there. Not asked without a lock.
    process: u32,
}

/// While it lives, nobody removes the layers.
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

    /// The locks, to be held again.
    pub(super) fn locks(&self) -> &Arc<LayerLocks> {
        &self.0
    }
}

impl LayerLocks {
    /// Holds the layers, unless one of them was removed, somebody is about to, or this is a fork's copy.
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

    /// How many descriptors they are.
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
