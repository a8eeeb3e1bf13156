// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reserves what a sandbox has outside before there is an init: a name, a
//! number, cgroups.
#![forbid(unsafe_code)]

use std::sync::Arc;

use crate::error::Result;
use crate::helper::{Runtime, Spawner};
use crate::ops::c_path;
use crate::parts::cgroup::Cgroup;
use crate::spec::Spec;
use crate::wire::ListBuf;

/// The outside of a sandbox that has no init yet. The owner removes the
/// cgroups; drop does not.
#[derive(Debug)]
pub(crate) struct Reservation {
    /// `<pid>-<start time>-<spawner>.<number>`: names the cgroups. The name of
    /// the scratch directory has the part up to the dot and a random part.
    pub(crate) name: String,
    pub(crate) id: u64,
    pub(crate) cgroup: Cgroup,
    pub(crate) spawner: Arc<Spawner>,
}

impl Reservation {
    /// Makes the cgroups that `spec` needs.
    ///
    /// # Errors
    /// Limits that this machine cannot enforce; nothing is left behind then.
    pub(crate) fn new(runtime: &Runtime, spawner: &Arc<Spawner>, spec: &Spec) -> Result<Self> {
        let id = spawner.next_id();
        // Tells a later sweep whether the owner lives.
        let name = format!("{}{id}", spawner.prefix()?);
        // Before the first cgroup, because the host may be killed at any
        // moment.
        runtime.watch_cgroups(spawner)?;
        let cgroup = runtime.cgroup(&name, spec, spawner.ids.ordinary())?;
        Ok(Self {
            name,
            id,
            cgroup,
            spawner: Arc::clone(spawner),
        })
    }

    /// Ends what was started in the reservation, and removes the cgroups.
    pub(crate) fn abandon(&self) {
        // Returns when all processes that the helper has started are gone. An
        // error is harmless: without a helper no process was started.
        let _ = self.spawner.close(self.id, true);
        // The caller reports the first error. The helper removes the rest when
        // it ends, or a later sweep does.
        let _ = self.cgroup.remove();
    }

    /// Returns the reservation with what was started in it, or abandons it.
    pub(crate) fn with<T>(self, started: Result<T>) -> Result<(Self, T)> {
        match started {
            Ok(started) => Ok((self, started)),
            Err(error) => {
                self.abandon();
                Err(error)
            }
        }
    }

    /// Removes the cgroups if the helper did not say that the sandbox is
    /// closed.
    pub(crate) fn swept<T>(&self, closed: Result<T>) -> Result<T> {
        if closed.is_err() {
            // Everything inside died with the helper, which would have removed
            // these. The next open of the store sweeps the scratch directory,
            // because its lock is free now.
            let _ = self.cgroup.remove();
        }
        closed
    }

    /// The directories of the cgroups, as the helper removes them.
    pub(crate) fn leftovers(&self) -> Result<ListBuf> {
        let paths: Result<Vec<_>> = self.cgroup.paths().into_iter().map(c_path).collect();
        Ok(paths?.iter().collect())
    }
}
