// SPDX-License-Identifier: MIT OR Apache-2.0
//! Opens instances: makes the attempts in turn, and explains the last failure.
#![forbid(unsafe_code)]

use nix::sys::statfs::{OVERLAYFS_SUPER_MAGIC, statfs};

use super::attempt::{Attempt, Failed, attempts};
use super::pending::{Opener, Pending};
use super::{Instance, Resources, Rootfs, fallback};
use crate::backend::{self, Lower};
use crate::error::{Error, Result, Step};
use crate::spec::Spec;

impl Instance {
    /// Opens an instance: makes the attempts in turn until one succeeds.
    ///
    /// # Errors
    /// The last attempt's, as `Sandbox::open`; nothing is left behind then.
    pub(crate) fn open(resources: &Resources, spec: &Spec, rootfs: &Rootfs) -> Result<Self> {
        let (runtime, lower) = (&*resources.runtime, &rootfs.lower);
        let mut last: Option<Failed> = None;
        let mut spawner = runtime.spawner_for(spec)?;
        for attempt in attempts(&spawner, spec, lower) {
            if !attempt.is_due(last.as_ref(), spec, lower) {
                continue;
            }
            if last.is_some() {
                // The helper may have died of the failure.
                spawner = runtime.spawner_for(spec)?;
            }
            attempt.prepare(&spawner);
            let opener = Opener {
                resources,
                spawner: &spawner,
                spec,
                rootfs,
                attempt,
                may_try: true,
            };
            match opener.open() {
                Ok(instance) => {
                    attempt.remember(&spawner, last.as_ref());
                    return Ok(instance);
                }
                Err(failed) => last = Some(failed),
            }
        }
        let last = last.expect("the first attempt is always due");
        Err(explained(last.error, spec, lower))
    }

    /// Waits for an instance that was begun before; opens one if it failed, for
    /// any reason: it may have waited for long.
    ///
    /// # Errors
    /// As [`Instance::open`].
    pub(crate) fn open_begun(
        resources: &Resources,
        spec: &Spec,
        rootfs: &Rootfs,
        begun: Option<Pending>,
    ) -> Result<Self> {
        match begun.map(Self::complete) {
            Some(Ok(instance)) => Ok(instance),
            _ => Self::open(resources, spec, rootfs),
        }
    }

    /// Begins the first attempt, for a pool. If the attempt fails,
    /// [`Instance::open_begun`] starts over with the first attempt.
    ///
    /// # Errors
    /// Failures that show without a trial; nothing is left behind then.
    pub(crate) fn begin(resources: &Resources, spec: &Spec, rootfs: &Rootfs) -> Result<Pending> {
        let first = First {
            // The prestarted init is for a caller that wants a sandbox now.
            may_resume: false,
            may_try: true,
        };
        first.begin(resources, spec, rootfs)
    }

    /// As [`Instance::begin`], for a sandbox that is wanted now: resumes a
    /// prestarted init. Returns `None` where mounts of the machine have to be
    /// tried first, which takes a second for each that does not answer.
    ///
    /// # Errors
    /// As [`Instance::begin`].
    pub(crate) fn begin_now(
        resources: &Resources,
        spec: &Spec,
        rootfs: &Rootfs,
    ) -> Result<Option<Pending>> {
        let first = First {
            may_resume: true,
            may_try: false,
        };
        match first.begin(resources, spec, rootfs) {
            Ok(mut pending) => {
                pending.prestart_next(resources, spec);
                Ok(Some(pending))
            }
            Err(error) if backend::is_trial(&error) => Ok(None),
            Err(error) => Err(explained(error, spec, &rootfs.lower)),
        }
    }
}

/// The first attempt alone, whose end the caller does not wait for.
struct First {
    may_resume: bool,
    /// True if mounts of the machine that may not answer are tried.
    may_try: bool,
}

impl First {
    fn begin(self, resources: &Resources, spec: &Spec, rootfs: &Rootfs) -> Result<Pending> {
        let runtime = &resources.runtime;
        let spawner = runtime.spawner_for(spec)?;
        let mut attempts = attempts(&spawner, spec, &rootfs.lower);
        let first = attempts.next().expect("there is always a first attempt");
        let opener = Opener {
            resources,
            spawner: &spawner,
            spec,
            rootfs,
            attempt: Attempt {
                may_resume: self.may_resume,
                ..first
            },
            may_try: self.may_try,
        };
        opener.begin()
    }
}

fn is_overlay(path: &str) -> bool {
    statfs(path).is_ok_and(|fs| fs.filesystem_type() == OVERLAYFS_SUPER_MAGIC)
}

/// Adds the cure where step and errno alone do not name it.
fn explained(error: Error, spec: &Spec, lower: &Lower) -> Error {
    if error.cure().is_some() {
        return error;
    }
    if fallback::is_refused(&error) {
        let is_stacked = *lower == Lower::Host && is_overlay("/");
        let instead = match (lower, fallback::has_cow(spec)) {
            (_, true) => "a bind instead of cow",
            (Lower::Host, false) if is_stacked => {
                return error
                    .with_cure("an image: the kernel stacks overlays two deep, and / is one");
            }
            (Lower::Host, false) => "an image",
            (_, false) => "storage \"copy\"",
        };
        return error.with_cure(format!(
            "{instead}; or modprobe overlay, for an ordinary user kernel 5.11 or newer"
        ));
    }
    match (error.at(), error.errno()) {
        (Step::AttachMount | Step::AttachKernelMount, Some(libc::ELOOP)) => {
            error.with_cure("an image whose /proc, /sys and /dev are directories, not links")
        }
        (Step::AttachMount | Step::AttachKernelMount, Some(libc::EXDEV)) => {
            error.with_cure("an image whose links do not lead into /proc or /sys, nor to /dev/null")
        }
        (Step::MountProc | Step::MountSysfs, Some(libc::EPERM)) => error.with_cure(
            "nothing that covers parts of /proc and /sys: \
             --security-opt systempaths=unconfined for the outer sandbox or container",
        ),
        (Step::ChangeRoot | Step::PivotRoot, Some(libc::EBUSY)) => {
            error.with_cure("an image whose links do not lead to its own root")
        }
        (Step::PivotRoot, Some(libc::EINVAL)) => {
            error.with_cure("a root that is not the initial ramfs: switch_root(8)")
        }
        _ => error,
    }
}
