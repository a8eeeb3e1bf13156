// SPDX-License-Identifier: MIT OR Apache-2.0
//! Prestarts the next sandbox: its cgroups, and an init that has run the prefix
//! of a plan.
//!
//! The prefix depends on neither the image nor a name, so it may run before the
//! caller asks for the sandbox: while the sandbox before is being set up, when
//! the host has nothing to do but wait. See `docs/design.md`, "What is made
//! ahead?".
#![forbid(unsafe_code)]

use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::{Arc, Mutex};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::reservation::Reservation;
use crate::error::Result;
use crate::helper::{Runtime, Spawner, Start};
use crate::plan::{self, Prefix};
use crate::spec::{Limits, Security, Spec};
use crate::sys::lock::try_lock;
use crate::sys::mountinfo;

/// The inputs that a prestarted init depends on; it may serve any spec with an
/// equal key.
#[derive(Debug)]
struct Key {
    /// The parts of the spec that its cgroups are made from.
    limits: Limits,
    best_effort: Vec<String>,
    security: Security,
    prefix: Prefix,
}

impl Key {
    fn new(spec: &Spec, prefix: Prefix) -> Self {
        Self {
            limits: spec.limits.clone(),
            best_effort: spec.best_effort.clone(),
            security: spec.security.clone(),
            prefix,
        }
    }

    /// Returns whether cgroups for `spec` would be the same.
    fn has_cgroups_of(&self, spec: &Spec) -> bool {
        self.limits == spec.limits
            && self.best_effort == spec.best_effort
            && self.security.device_keys() == spec.security.device_keys()
    }
}

/// Notices changes of the host's mounts, of which an init may have a copy.
#[derive(Debug, Default)]
struct MountWatch(Option<File>);

impl MountWatch {
    /// Returns whether nothing was mounted or unmounted since the last call:
    /// poll(2) on proc_pid_mountinfo(5), which is not read. Without a procfs
    /// the answer is no.
    fn is_quiet(&mut self) -> bool {
        let Some(file) = &self.0 else {
            self.0 = File::open(mountinfo::OWN).ok();
            return false;
        };
        let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLPRI)];
        poll(&mut fds, PollTimeout::ZERO) == Ok(0)
    }
}

/// A prestarted sandbox. Dropping it ends it, without waiting.
#[derive(Debug)]
pub(crate) struct Prestarted {
    /// `None` once they were taken.
    parts: Option<(Reservation, Start)>,
    key: Arc<Key>,
}

impl Prestarted {
    fn begin(
        runtime: &Runtime,
        spawner: &Arc<Spawner>,
        spec: &Spec,
        key: Arc<Key>,
    ) -> Result<Self> {
        let reservation = Reservation::new(runtime, spawner, spec)?;
        let begun = reservation.leftovers().and_then(|leftovers| {
            let fds: Vec<BorrowedFd<'_>> = plan::cgroup_fds(&reservation.cgroup).collect();
            let (id, cgroup) = (reservation.id, &reservation.cgroup);
            spawner.begin_open(&key.prefix.message(id, &leftovers, cgroup), &fds)
        });
        let parts = Some(reservation.with(begun)?);
        Ok(Self { parts, key })
    }

    pub(super) fn reservation(&self) -> Option<&Reservation> {
        self.parts.as_ref().map(|(reservation, _)| reservation)
    }

    /// The operations that its init has run.
    pub(super) fn prefix(&self) -> &Prefix {
        &self.key.prefix
    }

    /// Returns the reservation and the start to resume.
    pub(super) fn into_parts(mut self) -> Option<(Reservation, Start)> {
        self.parts.take()
    }

    /// Returns whether its init still waits, below the helper `spawner`.
    fn waits_at(&self, spawner: &Arc<Spawner>) -> bool {
        self.parts.as_ref().is_some_and(|(reservation, start)| {
            Arc::ptr_eq(&reservation.spawner, spawner) && !start.is_over()
        })
    }
}

impl Drop for Prestarted {
    fn drop(&mut self) {
        let Some(reservation) = self.reservation() else {
            return;
        };
        // A forked copy of the process must leave the parent's init alone.
        if reservation.spawner.is_own() {
            // Harmless if it fails: then the helper is gone, and the init with
            // it.
            let _ = reservation.swept(reservation.spawner.close(reservation.id, false));
        }
    }
}

#[derive(Debug, Default)]
struct Next {
    prestarted: Option<Prestarted>,
    /// The key of the latest sandbox.
    last: Option<Arc<Key>>,
    mounts: MountWatch,
}

/// A place for one prestarted sandbox at most.
///
/// All callers skip their work while another thread holds the lock: a fork(2)
/// may copy the locked state into a child, in which nothing would ever unlock
/// it.
#[derive(Debug, Default)]
pub(crate) struct PrestartSlot(Mutex<Next>);

impl PrestartSlot {
    /// Takes the prestarted sandbox if it belongs to `spawner` and has the
    /// cgroups of `spec`. Another one is dropped.
    pub(super) fn take(&self, spawner: &Arc<Spawner>, spec: &Spec) -> Option<Prestarted> {
        let mut next = try_lock(&self.0)?;
        let prestarted = next.prestarted.take()?;
        let key = &prestarted.key;
        // An init without a copy of the host's mounts sees them when it
        // resumes. Any other has a copy from before, which a later mount is
        // missing in.
        let sees_mounts = key.prefix.empty_ns || next.mounts.is_quiet();
        let fits = prestarted.waits_at(spawner) && sees_mounts && key.has_cgroups_of(spec);
        fits.then_some(prestarted)
    }

    /// Prestarts the next sandbox if the last two had the same key and the slot
    /// is empty: a caller that opens one sandbox has no use for a second. Drops
    /// errors: the next open then starts from scratch.
    pub(super) fn prestart_if_repeated(
        &self,
        runtime: &Runtime,
        spawner: &Arc<Spawner>,
        spec: &Spec,
        prefix: Prefix,
    ) {
        let Some(mut next) = try_lock(&self.0) else {
            return;
        };
        let is_same = |last: &&Arc<Key>| last.prefix == prefix && last.has_cgroups_of(spec);
        let Some(key) = next.last.as_ref().filter(is_same).cloned() else {
            next.last = Some(Arc::new(Key::new(spec, prefix)));
            return;
        };
        let is_others = |prestarted: &Prestarted| {
            let reservation = prestarted.reservation();
            reservation.is_some_and(|of| !Arc::ptr_eq(&of.spawner, spawner))
        };
        if next.prestarted.as_ref().is_some_and(is_others) {
            // Its helper may have another authority than this caller, and would
            // live as long as this one waits.
            next.prestarted = None;
        }
        if next.prestarted.is_none() {
            if !key.prefix.empty_ns {
                // Mounts are watched from before the copy is made.
                next.mounts.is_quiet();
            }
            next.prestarted = Prestarted::begin(runtime, spawner, spec, key).ok();
        }
    }

    /// Ends the prestarted sandbox and returns when nothing of it is left. The
    /// slot is filled again by the second sandbox from now on.
    pub(crate) fn discard(&self) {
        let ended = try_lock(&self.0).and_then(|mut next| {
            next.mounts = MountWatch::default();
            next.prestarted.take()
        });
        if let Some((reservation, _)) = ended.and_then(Prestarted::into_parts)
            && reservation.spawner.is_own()
        {
            reservation.abandon();
        }
    }
}
