// SPDX-License-Identifier: MIT OR Apache-2.0
//! The next sandbox, begun while the one before is being set up: its cgroups, and an init that has done what needs to know
//! neither image nor name. See `docs/design.md`, "What is made ahead?".
#![forbid(unsafe_code)]

use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::{Arc, Mutex};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::error::Result;
use crate::helper::{Runtime, Spawner, Start};
use crate::ops::c_path;
use crate::parts::cgroup::Cgroup;
use crate::plan::{self, Prefix};
use crate::spec::{Limits, Security, Spec};
use crate::sys::lock::try_lock;
use crate::wire::ListBuf;

/// What a sandbox has outside before there is an init. Whoever holds it removes it: dropping does not.
#[derive(Debug)]
pub(crate) struct Reservation {
    /// `<pid>-<start time>-<spawner>.<number>`: names the cgroups and the scratch directory.
    pub(crate) name: String,
    pub(crate) id: u64,
    pub(crate) cgroup: Cgroup,
    pub(crate) spawner: Arc<Spawner>,
}

impl Reservation {
    /// A new one for this spec.
    ///
    /// # Errors
    /// Limits that cannot be had; nothing is left behind then.
    pub(crate) fn new(runtime: &Runtime, spawner: &Arc<Spawner>, spec: &Spec) -> Result<Self> {
        let id = spawner.next_id();
        let name = runtime.sandbox_name(spawner, id)?;
        runtime.watch_cgroups(spawner)?;
        let cgroup = runtime.cgroup(&name, spec, spawner.ids().ordinary())?;
        Ok(Self {
            name,
            id,
            cgroup,
            spawner: Arc::clone(spawner),
        })
    }

    /// Ends what may have begun in it, and removes it.
    pub(crate) fn abandon(&self) {
        // Comes back when whatever the spawner has begun is gone; without a spawner nothing is.
        let _ = self.spawner.close(self.id, true);
        // The error that is told is the first one; what stays is removed by `Store::recover`.
        let _ = self.cgroup.remove();
    }

    /// Itself with what was begun in it; abandoned if that failed.
    pub(crate) fn with<T>(self, begun: Result<T>) -> Result<(Self, T)> {
        match begun {
            Ok(begun) => Ok((self, begun)),
            Err(error) => {
                self.abandon();
                Err(error)
            }
        }
    }

    /// Removes what the spawner has not, if it could not be told, or did not say, that all is closed.
    pub(crate) fn swept<T>(&self, closed: Result<T>) -> Result<T> {
        if closed.is_err() {
            // All inside died with the spawner, which would have removed this. The scratch
            // directory, no longer locked, is swept by the next open of the store.
            let _ = self.cgroup.remove();
        }
        closed
    }

    /// Its cgroups' directories, as the spawner removes them.
    pub(crate) fn leaves(&self) -> Result<ListBuf> {
        let paths: Result<Vec<_>> = self.cgroup.paths().into_iter().map(c_path).collect();
        Ok(paths?.iter().collect())
    }
}

/// What sandboxes that can take each other's place until one is asked for have in common.
#[derive(Debug)]
struct Key {
    /// Of the spec, what cgroups are made from.
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

    /// Whether cgroups for this spec would be the same.
    fn has_cgroups_of(&self, spec: &Spec) -> bool {
        self.limits == spec.limits
            && self.best_effort == spec.best_effort
            && self.security.device_keys() == spec.security.device_keys()
    }
}

/// Tells whether the host's mounts are as they were: an init may have a copy of them.
#[derive(Debug, Default)]
struct MountWatch(Option<File>);

impl MountWatch {
    /// Whether nothing was mounted or unmounted since it was asked last; proc_pid_mountinfo(5) says so to poll(2), and is not
    /// read. Without a procfs nobody knows.
    fn is_quiet(&mut self) -> bool {
        let Some(file) = &self.0 else {
            self.0 = File::open("/proc/self/mountinfo").ok();
            return false;
        };
        let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLPRI)];
        poll(&mut fds, PollTimeout::ZERO) == Ok(0)
    }
}

/// One that waits. Dropping it ends it, without waiting.
#[derive(Debug)]
pub(crate) struct Prestarted {
    /// None once it was taken.
    reservation: Option<(Reservation, Start)>,
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
        let begun = reservation.leaves().and_then(|leaves| {
            let fds: Vec<BorrowedFd<'_>> = plan::cgroup_fds(&reservation.cgroup).collect();
            spawner.begin_open(
                &key.prefix
                    .message(reservation.id, &leaves, &reservation.cgroup),
                &fds,
            )
        });
        let reservation = Some(reservation.with(begun)?);
        Ok(Self { reservation, key })
    }

    pub(crate) fn reservation(&self) -> Option<&Reservation> {
        self.reservation
            .as_ref()
            .map(|(reservation, _)| reservation)
    }

    /// What it has done.
    pub(crate) fn prefix(&self) -> &Prefix {
        &self.key.prefix
    }

    /// What is there to go on from.
    pub(crate) fn into_parts(mut self) -> Option<(Reservation, Start)> {
        self.reservation.take()
    }
}

impl Drop for Prestarted {
    fn drop(&mut self) {
        let Some((reservation, _)) = &self.reservation else {
            return;
        };
        // A forked copy of the process has no part in it.
        if reservation.spawner.is_own() {
            // If the spawner is gone, so is this.
            let _ = reservation.swept(reservation.spawner.close(reservation.id, false));
        }
    }
}

#[derive(Debug, Default)]
struct Next {
    prestarted: Option<Prestarted>,
    /// Of the latest sandbox.
    last: Option<Arc<Key>>,
    mounts: MountWatch,
}

/// Where one waits, at most.
#[derive(Debug, Default)]
pub(crate) struct PrestartSlot {
    next: Mutex<Next>,
}

impl PrestartSlot {
    /// The one that waits, if it is of this spawner and has cgroups as this spec wants them.
    pub(crate) fn take(&self, spawner: &Arc<Spawner>, spec: &Spec) -> Option<Prestarted> {
        let mut next = try_lock(&self.next)?;
        let prestarted = next.prestarted.take()?;
        let (reservation, start) = prestarted.reservation.as_ref()?;
        let waits = Arc::ptr_eq(&reservation.spawner, spawner) && !start.is_over();
        // Where it has no copy of the host's mounts yet, it will see those of then.
        let sees_all = prestarted.key.prefix.empty_ns || next.mounts.is_quiet();
        (waits && sees_all && prestarted.key.has_cgroups_of(spec)).then_some(prestarted)
    }

    /// Begins the next one, if two of a kind came in a row, and none waits: who opens but one has no use for a second. Nobody is
    /// told of an error: whoever comes next begins from the beginning.
    pub(crate) fn prestart_if_repeated(
        &self,
        runtime: &Runtime,
        spawner: &Arc<Spawner>,
        spec: &Spec,
        prefix: Prefix,
    ) {
        let Some(mut next) = try_lock(&self.next) else {
            return;
        };
        let is_same = |last: &&Arc<Key>| last.prefix == prefix && last.has_cgroups_of(spec);
        let Some(key) = next.last.as_ref().filter(is_same).cloned() else {
            next.last = Some(Arc::new(Key::new(spec, prefix)));
            return;
        };
        let of_other = |prestarted: &Prestarted| {
            prestarted
                .reservation()
                .is_some_and(|reservation| !Arc::ptr_eq(&reservation.spawner, spawner))
        };
        if next.prestarted.as_ref().is_some_and(of_other) {
            // It keeps a helper that this caller may have nothing to do with.
            next.prestarted = None;
        }
        if next.prestarted.is_none() {
            if !key.prefix.empty_ns {
                next.mounts.is_quiet();
            }
            next.prestarted = Prestarted::begin(runtime, spawner, spec, key).ok();
        }
    }

    /// Ends the one that waits, and comes back when nothing of it is left; the next sandbox but one has one again.
    pub(crate) fn discard(&self) {
        let ended = try_lock(&self.next).and_then(|mut next| {
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
