// SPDX-License-Identifier: MIT OR Apache-2.0
//! Prestarts the next sandbox: the cgroups, and an init that has run the prefix
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

use super::Hold;
use super::reservation::Reservation;
use crate::error::Result;
use crate::helper::{Runtime, Spawner};
use crate::plan::{self, Prefix};
use crate::spec::{Limits, Security, Spec};
use crate::sys::lock::try_lock;
use crate::sys::mountinfo;

/// The inputs that a prestarted init depends on. The init may serve any spec
/// with an equal key.
#[derive(Debug)]
pub(super) struct Key {
    /// The parts of the spec that the cgroups are made from.
    limits: Limits,
    best_effort: Vec<String>,
    security: Security,
    /// The operations that the init has run.
    pub(super) prefix: Prefix,
}

impl Key {
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
            // The kernel reports the changes since this open.
            self.0 = File::open(mountinfo::OWN).ok();
            return false;
        };
        let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLPRI)];
        poll(&mut fds, PollTimeout::ZERO) == Ok(0)
    }
}

/// A prestarted sandbox. Drop ends the sandbox, without waiting.
#[derive(Debug)]
pub(crate) struct Prestarted {
    pub(super) hold: Hold,
    pub(super) key: Arc<Key>,
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
        let (reservation, start) = reservation.with(begun)?;
        let hold = Hold::new(reservation, start);
        Ok(Self { hold, key })
    }

    fn is_of(&self, spawner: &Arc<Spawner>) -> bool {
        Arc::ptr_eq(&self.hold.reservation.spawner, spawner)
    }
}

#[derive(Debug, Default)]
struct Next {
    prestarted: Option<Prestarted>,
    /// The key of the latest sandbox.
    last: Option<Arc<Key>>,
    mounts: MountWatch,
}

/// A place for at most one prestarted sandbox.
///
/// All callers skip their work while another thread holds the lock: a fork(2)
/// may copy the locked state into a child, in which no thread would ever unlock
/// the slot.
#[derive(Debug, Default)]
pub(crate) struct PrestartSlot(Mutex<Next>);

impl PrestartSlot {
    /// Takes the prestarted sandbox if it belongs to `spawner` and has the
    /// cgroups of `spec`. Drops any other.
    pub(super) fn take(&self, spawner: &Arc<Spawner>, spec: &Spec) -> Option<Prestarted> {
        let mut next = try_lock(&self.0)?;
        let prestarted = next.prestarted.take()?;
        let key = &prestarted.key;
        // An init without a copy of the host's mounts sees them as it resumes.
        // Any other has a copy from before, which lacks later mounts.
        let sees_mounts = key.prefix.empty_ns || next.mounts.is_quiet();
        // A parked init is silent; a reply is the word of a failure.
        let waits = prestarted.is_of(spawner) && !prestarted.hold.start.is_over();
        let fits = waits && sees_mounts && key.has_cgroups_of(spec);
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
            next.last = Some(Arc::new(Key {
                limits: spec.limits.clone(),
                best_effort: spec.best_effort.clone(),
                security: spec.security.clone(),
                prefix,
            }));
            return;
        };
        if next.prestarted.as_ref().is_some_and(|p| !p.is_of(spawner)) {
            // Another helper may have another authority than this caller, and
            // would live as long as the prestarted sandbox waits.
            next.prestarted = None;
        }
        if next.prestarted.is_none() {
            if !key.prefix.empty_ns {
                // The watch begins before the copy of the mounts is made, so
                // that no change falls between the two.
                next.mounts.is_quiet();
            }
            next.prestarted = Prestarted::begin(runtime, spawner, spec, key).ok();
        }
    }

    /// Ends the prestarted sandbox and returns when nothing is left. The
    /// slot is filled again by the second sandbox from now on.
    pub(crate) fn discard(&self) {
        let prestarted = try_lock(&self.0).and_then(|mut next| {
            next.mounts = MountWatch::default();
            next.prestarted.take()
        });
        if let Some(prestarted) = prestarted {
            // An error is harmless: then the helper is gone, and the init died
            // with the helper.
            let _ = prestarted.hold.end(true);
        }
    }
}
