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
                    // Only the success shows that the other way works here.
                    attempt.remember(&spawner, last.as_ref());
                    return Ok(instance);
                }
                Err(failed) => last = Some(failed),
            }
        }
        let last = last.expect("the first attempt is always due");
        Err(explained(last.error, spec, lower))
    }

    /// Waits for an instance that was begun before. Opens another if the first
    /// failed, for any reason: the first may have waited for long.
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
        Self::begin_first(resources, spec, rootfs, false)
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
        match Self::begin_first(resources, spec, rootfs, true) {
            Ok(mut pending) => {
                pending.prestart_next(resources, spec);
                Ok(Some(pending))
            }
            Err(error) if backend::is_trial(&error) => Ok(None),
            Err(error) => Err(explained(error, spec, &rootfs.lower)),
        }
    }

    fn begin_first(
        resources: &Resources,
        spec: &Spec,
        rootfs: &Rootfs,
        wanted_now: bool,
    ) -> Result<Pending> {
        let spawner = resources.runtime.spawner_for(spec)?;
        let mut attempts = attempts(&spawner, spec, &rootfs.lower);
        let first = attempts.next().expect("there is always a first attempt");
        let opener = Opener {
            resources,
            spawner: &spawner,
            spec,
            rootfs,
            attempt: Attempt {
                // A pool leaves the prestarted init to callers that wait.
                may_resume: wanted_now,
                ..first
            },
            may_try: !wanted_now,
        };
        opener.begin()
    }
}

/// Adds a cure that depends on the spec or the root file system.
fn explained(error: Error, spec: &Spec, lower: &Lower) -> Error {
    // The module of the step has named a cure, from facts that are lost here.
    if error.cure().is_some() {
        return error;
    }
    if fallback::is_refused(&error) {
        let is_overlay =
            |path| statfs(path).is_ok_and(|fs| fs.filesystem_type() == OVERLAYFS_SUPER_MAGIC);
        let instead = match (lower, fallback::has_cow(spec)) {
            (_, true) => "a bind instead of cow",
            (Lower::Host, false) if is_overlay("/") => {
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
    let cure = match (error.at(), error.errno()) {
        (Step::AttachMount | Step::AttachKernelMount, Some(libc::ELOOP)) => {
            "an image whose /proc, /sys and /dev are directories, not links"
        }
        (Step::AttachMount | Step::AttachKernelMount, Some(libc::EXDEV)) => {
            "an image whose links do not lead into /proc or /sys, nor to /dev/null"
        }
        (Step::MountProc | Step::MountSysfs, Some(libc::EPERM)) => {
            "nothing that covers parts of /proc and /sys: \
             --security-opt systempaths=unconfined for the outer sandbox or container"
        }
        (Step::ChangeRoot | Step::PivotRoot, Some(libc::EBUSY)) => {
            "an image whose links do not lead to its own root"
        }
        (Step::PivotRoot, Some(libc::EINVAL)) => {
            "a root that is not the initial ramfs: switch_root(8)"
        }
        _ => return error,
    };
    error.with_cure(cure)
}
