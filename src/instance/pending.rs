// SPDX-License-Identifier: MIT OR Apache-2.0
//! A sandbox from the moment it is asked for: what the host holds of it, ready or not.
#![forbid(unsafe_code)]

use std::ops::Deref;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::prestart::{Prestarted, Reservation};
use crate::backend::{self, Backend, TreeRequest};
use crate::error::{Error, Kind, Result, Step};
use crate::helper::{Spawner, Start, Watched};
use crate::image::{HandedOver, Scratch};
use crate::ops::c_path;
use crate::parts::caps::CapSet;
use crate::parts::seccomp::{self, Compiled};
use crate::parts::shown::ShownAs;
use crate::plan::{self, Inputs, Leaves, Plan, Prefix};
use crate::spec::{ByteSize, LeftOut, Spec, may_leave_out};
use crate::store::{Rootfs, Store};

/// What the spawner was asked for. Dropping it ends it, without waiting.
#[derive(Debug)]
pub(crate) struct Pending {
    reservation: Reservation,
    pub(crate) hostname: String,
    pub(crate) backend: &'static str,
    /// Why `limits.disk` was left out, if it was.
    unbounded: Option<Error>,
    /// How mounts of the host are shown.
    pub(crate) shown: Vec<(PathBuf, ShownAs)>,
    /// How long its start may take, where that depends on others.
    patience: Option<Duration>,
    pub(crate) caps: CapSet,
    pub(crate) seccomp: bool,
    /// Whether `limits.memory` is set: what it takes is asked for only then.
    pub(crate) counts_memory: bool,
    /// Whether it goes on from what was made ahead.
    pub(super) resumed: bool,
    /// What can be made ahead for the next one like it.
    prefix: Option<Prefix>,
    /// Whether the spawner was told to end it.
    ended: AtomicBool,
    start: Start,
}

impl Deref for Pending {
    type Target = Reservation;

    fn deref(&self) -> &Reservation {
        &self.reservation
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // If the spawner is gone, so is the sandbox.
        let _ = self.end(false);
    }
}

impl Pending {
    /// Lists the keys of the spec that are not in force, because `best_effort`
    /// names them.
    pub(crate) fn left_out(&self) -> Vec<LeftOut> {
        let of_disk = self.unbounded.iter().map(|error| LeftOut {
            key: "limits.disk",
            why: error.to_string(),
        });
        let of_cgroup = self.cgroup.left_out().iter().cloned();
        of_cgroup.chain(of_disk).collect()
    }

    /// Has a sandbox begun on a back end; from what was made ahead, if it may be and there is something.
    ///
    /// # Errors
    /// What can be known to fail without trying; nothing is left behind then.
    pub(super) fn begin(attempt: &Attempt<'_>, may_resume: bool) -> Result<Self> {
        let Attempt {
            store,
            spec,
            spawner,
            ..
        } = *attempt;
        let own = spawner.authority().effective();
        let caps = CapSet::of(&spec.security)?.available(spawner.ids().ordinary(), own);
        let filter = seccomp::program(&spec.security, caps, &store.runtime().seccomp)?;
        let confinement = (caps, filter.as_deref());
        let scratch = match attempt.backend.on_disk(spec.write) {
            true => Some(spawner_scratch(store, spawner)?),
            false => None,
        };
        if may_resume
            && scratch.is_none()
            && let Some(prestarted) = store.prestart().take(spawner, spec)
            && let Some(pending) = attempt.resume(prestarted, confinement)
        {
            return Ok(pending);
        }
        let reservation = Reservation::new(store.runtime(), spawner, spec)?;
        attempt.start(reservation, confinement, scratch)
    }

    /// Has the next sandbox begun like this one, which is not yet ready: that is the time for it.
    pub(super) fn prestart_next(&mut self, store: &Store, spec: &Spec) {
        if let Some(prefix) = self.prefix.take() {
            let spawner = &self.reservation.spawner;
            store
                .prestart()
                .prestart_if_repeated(store.runtime(), spawner, spec, prefix);
        }
    }

    /// Whether [`Pending::wait`] would come back at once.
    pub(crate) fn is_over(&self) -> bool {
        self.start.is_over()
    }

    /// Whether it failed; none as long as [`Pending::wait`] would wait.
    pub(crate) fn has_failed(&self) -> Option<bool> {
        self.start.has_failed()
    }

    /// Whether it may never be ready, because of a mount of the machine.
    pub(crate) fn needs_patience(&self) -> bool {
        self.patience.is_some()
    }

    /// Waits until it is ready: a pidfd of its init. To be called once.
    ///
    /// # Errors
    /// The step that failed; nothing is left behind then.
    pub(super) fn wait(&mut self) -> Result<OwnedFd> {
        let ready = self.start.wait(self.patience);
        match &ready {
            Ok(_) => self.reservation.cgroup.close_tasks_files(),
            // What it waits for may not even let it be killed.
            Err(error) if error.errno() == Some(libc::ETIMEDOUT) => {
                let _ = self.end(false);
            }
            Err(_) => {
                self.ended.store(true, Ordering::Relaxed);
                self.reservation.abandon();
            }
        }
        ready
    }

    pub(crate) fn control(&self) -> BorrowedFd<'_> {
        self.start.control()
    }

    /// Itself, unless this process is a forked copy of the one that made it: that has no part in it,
    /// and must not take the messages that are for its parent.
    ///
    /// # Errors
    /// [`crate::Kind::Invalid`], there.
    pub(crate) fn own(&self) -> Result<&Self> {
        if self.spawner.is_own() {
            return Ok(self);
        }
        let why = "it belongs to the process that this one was forked from";
        Err(Error::new(Kind::Invalid, Step::UseSandbox, why).with_cure("open one in this process"))
    }

    /// Ends everything inside, once; with `wait`, comes back when nothing of it is left.
    /// In a forked copy of the process nothing happens.
    ///
    /// # Errors
    /// [`crate::Kind::Broken`] if the spawner is gone.
    pub(crate) fn end(&self, wait: bool) -> Result<()> {
        if !self.spawner.is_own() || self.ended.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        self.swept(self.spawner.close(self.id, wait))
    }

    /// As [`Pending::end`], but does not wait: the descriptor is readable when nothing of it is left.
    ///
    /// # Errors
    /// As [`Pending::end`].
    pub(crate) fn begin_end(&self) -> Result<Option<OwnedFd>> {
        if !self.spawner.is_own() || self.ended.swap(true, Ordering::Relaxed) {
            return Ok(None);
        }
        self.swept(self.spawner.begin_close(self.id)).map(Some)
    }

    /// Waits for what [`Pending::begin_end`] gave: nothing of it is left.
    ///
    /// # Errors
    /// [`Kind::Broken`] if the spawner is gone.
    pub(crate) fn ended(&self, told: &OwnedFd) -> Result<()> {
        self.swept(Spawner::closed(told.as_fd()))
    }
}

/// A scratch directory that the helper removes when it ends, even if this
/// process is killed before it hands the directory over.
fn spawner_scratch(store: &Store, spawner: &Spawner) -> Result<Scratch> {
    let (images, prefix) = (store.images(), spawner.prefix()?);
    let prefix = images.scratch_prefix(prefix)?;
    spawner.watch(Watched::Trees, &prefix, &[&images.scratch_dir()])?;
    images.scratch_named(&prefix)
}

/// What is begun, and how.
#[derive(Clone, Copy)]
pub(super) struct Attempt<'a> {
    pub(super) store: &'a Store,
    pub(super) spawner: &'a Arc<Spawner>,
    pub(super) spec: &'a Spec,
    pub(super) rootfs: &'a Rootfs,
    pub(super) backend: &'static dyn Backend,
    pub(super) empty_ns: bool,
    /// Whether mounts of the machine that may not answer are tried.
    pub(super) may_try: bool,
}

/// Capabilities and filter of its commands.
type Confinement<'a> = (CapSet, Option<&'a Compiled>);

/// A start that was asked for, what of it can be made ahead, how mounts are
/// shown.
type Sent = (Start, Option<Prefix>, Shown);

/// How mounts of the host are shown, and whether one of them may not answer.
type Shown = (Vec<(PathBuf, ShownAs)>, bool);

/// How long mounts of the host have to answer, those that may not.
const PATIENCE: Duration = Duration::from_secs(5);

impl Attempt<'_> {
    fn start(
        &self,
        reservation: Reservation,
        confinement: Confinement<'_>,
        scratch: Option<Scratch>,
    ) -> Result<Pending> {
        let begun = self.send(&reservation, confinement, scratch);
        let (reservation, sent) = reservation.with(begun)?;
        Ok(self.pending(reservation, confinement, sent))
    }

    /// Plans the start and asks for it.
    fn send(
        &self,
        reservation: &Reservation,
        confinement: Confinement<'_>,
        scratch: Option<Scratch>,
    ) -> Result<Sent> {
        let dir = scratch.as_ref().map(|s| s.path().to_path_buf());
        let mut plan = self.plan(reservation, confinement, dir.unwrap_or_default())?;
        let on_disk = scratch.is_some();
        let mut leaves = Leaves {
            cgroups: reservation.leaves()?,
            ..Leaves::default()
        };
        if let Some(scratch) = scratch {
            // From now on it is the spawner's to remove, or a later sweep's.
            let HandedOver {
                path,
                lock_path,
                lock,
            } = scratch.hand_over()?;
            leaves.scratch = [c_path(&path)?, c_path(&lock_path)?].iter().collect();
            leaves.lock = Some(plan.pass(lock));
        }
        let passed = plan.fds.iter().map(|fd| fd.as_fd());
        let fds: Vec<BorrowedFd<'_>> = plan::cgroup_fds(&reservation.cgroup)
            .chain(passed)
            .collect();
        let start = reservation
            .spawner
            .begin_open(&plan.message(reservation.id, &leaves), &fds)?;
        // What is on disk is made anew each time.
        let split = plan.split().filter(|_| !on_disk);
        Ok((
            start,
            split.map(|(prefix, _)| prefix),
            (plan.shown, plan.is_remote),
        ))
    }

    /// The same from what was made ahead, if that is the beginning of it; nothing has happened if not.
    fn resume(&self, prestarted: Prestarted, confinement: Confinement<'_>) -> Option<Pending> {
        let plan = self
            .plan(prestarted.reservation()?, confinement, PathBuf::new())
            .ok()?;
        let (prefix, rest) = plan.split()?;
        if prefix != *prestarted.prefix() {
            return None;
        }
        let (reservation, mut start) = prestarted.into_parts()?;
        let leaves = Leaves::default();
        let sent = start.resume(&plan.rest(reservation.id, &leaves, &rest));
        let mut pending = self.pending(
            reservation,
            confinement,
            (start, Some(prefix), (plan.shown, plan.is_remote)),
        );
        pending.resumed = true;
        // It is ended if not.
        sent.is_ok().then_some(pending)
    }

    fn plan(
        &self,
        reservation: &Reservation,
        (caps, seccomp): Confinement<'_>,
        scratch: PathBuf,
    ) -> Result<Plan> {
        let size = match self.size() {
            Err(_) if may_leave_out(&self.spec.best_effort, "limits.disk") => None,
            size => size?,
        };
        let request = TreeRequest {
            lower: &self.rootfs.lower,
            write: self.spec.write,
            size,
            ordinary: reservation.spawner.ids().ordinary(),
            scratch,
            spawner: &reservation.spawner,
            may_try: self.may_try,
        };
        self.backend.prepare(&request)?;
        plan::start(&Inputs {
            spec: self.spec,
            ids: reservation.spawner.ids(),
            hostname: &self.hostname(reservation),
            backend: self.backend,
            tree: &request,
            cgroup: &reservation.cgroup,
            cgroup2: self.store.runtime().layout()?.v2().is_some(),
            caps,
            seccomp,
            empty_ns: self.empty_ns,
        })
    }

    fn size(&self) -> Result<Option<ByteSize>> {
        backend::size(self.backend, self.spec.write, self.spec.limits.disk)
    }

    fn hostname(&self, reservation: &Reservation) -> String {
        if !self.spec.namespaces.uts {
            // The caller's own, which no one here sets.
            let name = nix::unistd::gethostname().unwrap_or_default();
            return name.to_string_lossy().into_owned();
        }
        let own = self.spec.hostname.clone();
        own.unwrap_or_else(|| short_name(&reservation.name))
    }

    fn pending(
        &self,
        reservation: Reservation,
        (caps, seccomp): Confinement<'_>,
        (start, prefix, (shown, is_remote)): Sent,
    ) -> Pending {
        Pending {
            hostname: self.hostname(&reservation),
            reservation,
            backend: self.backend.name(),
            unbounded: self.size().err(),
            shown,
            patience: is_remote.then_some(PATIENCE),
            caps,
            seccomp: seccomp.is_some(),
            counts_memory: self.spec.limits.memory.is_some(),
            resumed: false,
            prefix,
            ended: AtomicBool::new(false),
            start,
        }
    }
}

/// Returns twelve hexadecimal digits for a name, as other engines name their
/// hosts. The first is a letter, because inet_aton(3) takes a name of decimal
/// digits for an address.
fn short_name(name: &str) -> String {
    // FNV-1a: nothing depends on its strength.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3)
    });
    format!("{:016x}", hash | 0xa << 60)[..12].to_owned()
}

#[cfg(test)]
mod tests {
    use super::short_name;

    #[test]
    fn short_name_is_never_an_address() {
        for n in 0..100_000 {
            let name = short_name(&format!("tare-{n}"));
            assert_eq!(name.len(), 12, "{name}");
            assert!(name.bytes().all(|b| b.is_ascii_hexdigit()), "{name}");
            assert!(!name.bytes().all(|b| b.is_ascii_digit()), "{name}");
        }
    }
}
