// SPDX-License-Identifier: MIT OR Apache-2.0
//! Begins an instance: plans the start, sends the plan to the helper, and holds
//! the answer.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::attempt::{Attempt, Failed};
use super::prestart::Prestarted;
use super::reservation::Reservation;
use super::{Hold, Instance, Resources, Rootfs, Setup};
use crate::backend::{self, TreeRequest};
use crate::error::Result;
use crate::helper::{Spawner, Start, Watched};
use crate::image::{HandedOver, Scratch};
use crate::ops::c_path;
use crate::parts::caps::CapSet;
use crate::parts::seccomp::{self, Compiled};
use crate::plan::{self, Inputs, Leftovers, Plan, Prefix};
use crate::spec::{ByteSize, Spec, may_leave_out};

/// An instance whose init is not known to be ready. Drop ends the sandbox,
/// without waiting.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) hold: Hold,
    pub(super) setup: Setup,
    /// The most time that the start may take, if file systems of others take
    /// part.
    pub(super) patience: Option<Duration>,
    /// True if a prestarted init was resumed.
    resumed: bool,
    /// The operations that the next sandbox like this one may be prestarted
    /// with.
    prefix: Option<Prefix>,
}

impl Pending {
    /// Prestarts the next sandbox like this one. Called before this one is
    /// ready, because the host has nothing else to do then.
    pub(super) fn prestart_next(&mut self, resources: &Resources, spec: &Spec) {
        if let Some(prefix) = self.prefix.take() {
            let spawner = &self.hold.reservation.spawner;
            let slot = &resources.prestart;
            slot.prestart_if_repeated(&resources.runtime, spawner, spec, prefix);
        }
    }

    /// Returns whether a mount of the machine may keep the init from ever being
    /// ready.
    pub(crate) fn needs_patience(&self) -> bool {
        self.patience.is_some()
    }
}

/// Makes one attempt.
pub(super) struct Opener<'a> {
    pub(super) resources: &'a Resources,
    pub(super) spawner: &'a Arc<Spawner>,
    pub(super) spec: &'a Spec,
    pub(super) rootfs: &'a Rootfs,
    pub(super) attempt: Attempt,
    /// True if mounts of the machine that may not answer are tried.
    pub(super) may_try: bool,
}

/// The capabilities and the filter of commands.
type Confinement<'a> = (CapSet, Option<&'a Compiled>);

/// A start that was asked for, the plan, and the prefix of the plan.
type Sent = (Start, Plan, Option<Prefix>);

/// The time to wait for mounts of the host that may not answer.
const PATIENCE: Duration = Duration::from_secs(5);

impl Opener<'_> {
    /// Makes the attempt and waits for the end.
    pub(super) fn open(&self) -> Result<Instance, Failed> {
        let failed = |error, resumed| Failed {
            error,
            resumed,
            empty_ns: self.attempt.empty_ns,
        };
        let mut pending = self.begin().map_err(|error| failed(error, false))?;
        if self.attempt.may_resume {
            pending.prestart_next(self.resources, self.spec);
        }
        let resumed = pending.resumed;
        Instance::complete(pending).map_err(|error| failed(error, resumed))
    }

    /// Begins the attempt: resumes a prestarted init if there is one that fits,
    /// else starts from scratch.
    ///
    /// # Errors
    /// Failures that show without a trial; nothing is left behind then.
    pub(super) fn begin(&self) -> Result<Pending> {
        let (resources, spawner, spec) = (self.resources, self.spawner, self.spec);
        // Checked before anything is made, so that a wrong spec leaves nothing
        // behind.
        let own = spawner.authority.effective();
        let caps = CapSet::of(&spec.security)?.available(spawner.ids.ordinary(), own);
        let filter = seccomp::program(&spec.security, caps, &resources.runtime.seccomp)?;
        let confinement = (caps, filter.as_deref());
        let scratch = match self.attempt.backend.on_disk(spec.write) {
            true => Some(self.scratch()?),
            false => None,
        };
        // A tree on disk has a path that no prefix can name.
        if self.attempt.may_resume
            && scratch.is_none()
            && let Some(prestarted) = resources.prestart.take(spawner, spec)
            && let Some(pending) = self.resume(prestarted, confinement)
        {
            return Ok(pending);
        }
        let reservation = Reservation::new(&resources.runtime, spawner, spec)?;
        let sent = self.send(&reservation, confinement, scratch);
        let (reservation, (start, plan, prefix)) = reservation.with(sent)?;
        resources.runtime.sweep_cgroups_once();
        let hold = Hold::new(reservation, start);
        Ok(self.pending(hold, confinement, plan, prefix))
    }

    /// Makes a scratch directory. The helper removes the directory in the end,
    /// even if this process is killed before the request names the directory.
    fn scratch(&self) -> Result<Scratch> {
        let (images, prefix) = (&self.resources.images, self.spawner.prefix()?);
        let prefix = images.scratch_prefix(prefix)?;
        let parent = images.scratch_dir();
        self.spawner.watch(Watched::Trees, &prefix, &[&parent])?;
        images.scratch_named(&prefix)
    }

    /// Plans the start and asks the helper for the start.
    fn send(
        &self,
        reservation: &Reservation,
        confinement: Confinement<'_>,
        scratch: Option<Scratch>,
    ) -> Result<Sent> {
        let dir = scratch.as_ref().map(|s| s.path().to_path_buf());
        let mut plan = self.plan(reservation, confinement, dir.unwrap_or_default())?;
        let on_disk = scratch.is_some();
        let mut leftovers = Leftovers {
            cgroups: reservation.leftovers()?,
            ..Leftovers::default()
        };
        if let Some(scratch) = scratch {
            // From now on the helper removes the directory, or a later sweep of
            // the store.
            let HandedOver {
                path,
                lock_path,
                lock,
            } = scratch.hand_over()?;
            leftovers.scratch = [c_path(&path)?, c_path(&lock_path)?].iter().collect();
            leftovers.lock = Some(plan.pass(lock));
        }
        // In the order of the slots that the operations name.
        let passed = plan.fds.iter().map(|fd| fd.as_fd());
        let cgroups = plan::cgroup_fds(&reservation.cgroup);
        let fds: Vec<BorrowedFd<'_>> = cgroups.chain(passed).collect();
        let message = plan.message(reservation.id, &leftovers);
        let start = reservation.spawner.begin_open(&message, &fds)?;
        // A tree on disk is made anew each time, and so is the plan.
        let split = plan.split().filter(|_| !on_disk);
        let prefix = split.map(|(prefix, _)| prefix);
        Ok((start, plan, prefix))
    }

    /// Resumes `prestarted` if its operations are the prefix of this plan;
    /// otherwise drops `prestarted`, which kills the parked init.
    fn resume(&self, prestarted: Prestarted, confinement: Confinement<'_>) -> Option<Pending> {
        let reservation = &prestarted.hold.reservation;
        // An error is reported by the start from scratch that follows.
        let plan = self.plan(reservation, confinement, PathBuf::new()).ok()?;
        let (prefix, rest) = plan.split()?;
        if prefix != prestarted.key.prefix {
            return None;
        }
        let mut hold = prestarted.hold;
        let leftovers = Leftovers::default();
        // If nothing was sent, the hold is dropped here, which ends the init.
        let rest = plan.rest(hold.reservation.id, &leftovers, &rest);
        hold.start.resume(&rest).ok()?;
        let mut pending = self.pending(hold, confinement, plan, Some(prefix));
        pending.resumed = true;
        Some(pending)
    }

    fn plan(
        &self,
        reservation: &Reservation,
        (caps, seccomp): Confinement<'_>,
        scratch: PathBuf,
    ) -> Result<Plan> {
        let size = match self.size() {
            // `Setup::unbounded` tells the caller that the key is left out.
            Err(_) if may_leave_out(&self.spec.best_effort, "limits.disk") => None,
            size => size?,
        };
        let request = TreeRequest {
            lower: &self.rootfs.lower,
            write: self.spec.write,
            size,
            ordinary: reservation.spawner.ids.ordinary(),
            scratch,
            spawner: &reservation.spawner,
            may_try: self.may_try,
        };
        let backend = self.attempt.backend;
        backend.prepare(&request)?;
        plan::start(&Inputs {
            spec: self.spec,
            ids: &reservation.spawner.ids,
            hostname: &self.hostname(reservation),
            backend,
            tree: &request,
            cgroup: &reservation.cgroup,
            cgroup2: self.resources.runtime.layout()?.v2().is_some(),
            caps,
            seccomp,
            may_use_empty_ns: self.attempt.empty_ns,
        })
    }

    fn size(&self) -> Result<Option<ByteSize>> {
        backend::size(self.attempt.backend, self.spec.write, self.spec.limits.disk)
    }

    fn hostname(&self, reservation: &Reservation) -> String {
        if !self.spec.namespaces.uts {
            // Without a UTS namespace the name is the caller's, and no
            // operation sets another.
            let name = nix::unistd::gethostname().unwrap_or_default();
            return name.to_string_lossy().into_owned();
        }
        let own = self.spec.hostname.clone();
        own.unwrap_or_else(|| short_name(&reservation.name))
    }

    fn pending(
        &self,
        hold: Hold,
        (caps, seccomp): Confinement<'_>,
        plan: Plan,
        prefix: Option<Prefix>,
    ) -> Pending {
        let setup = Setup {
            hostname: self.hostname(&hold.reservation),
            backend: self.attempt.backend.name(),
            unbounded: self.size().err(),
            shown: plan.shown,
            caps,
            seccomp: seccomp.is_some(),
            counts_memory: self.spec.limits.memory.is_some(),
        };
        Pending {
            hold,
            setup,
            patience: plan.is_remote.then_some(PATIENCE),
            resumed: false,
            prefix,
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
            let digits = name.bytes().all(|b| b.is_ascii_hexdigit()) && name.len() == 12;
            assert!(digits && name.starts_with(['a', 'b', 'e', 'f']), "{name}");
        }
    }
}
