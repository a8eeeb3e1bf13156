// SPDX-License-Identifier: MIT OR Apache-2.0
//! What exists of a sandbox from open to close, or from reset to reset.
#![forbid(unsafe_code)]

mod commands;
mod control;
mod fallback;
mod memory;
mod pending;
pub(crate) mod prestart;
mod running;

use std::ops::Deref;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::statfs::{OVERLAYFS_SUPER_MAGIC, statfs};

use crate::backend::{self, Backend, Lower};
use crate::error::{Error, Kind, Result, Step};
use crate::helper::{Spawner, send_request};
use crate::parts::cgroup::{ChildCgroup, remove_empty};
use crate::spec::{Limits, Spec};
use crate::store::{Rootfs, Store};
use crate::sys::pidfd;
use crate::wire::{self, KILL_REQUEST, Kill};

use commands::Commands;
pub(crate) use memory::MemoryMark;
use memory::MemoryUse;
use pending::Attempt;
pub(crate) use pending::Pending;
pub use running::RunningCommand;
pub(crate) use running::{Running, StartContext, StatusFd, no_user};

/// A running init with all that belongs to it outside.
#[derive(Debug)]
pub(crate) struct Instance {
    pending: Pending,
    pub(crate) pidfd: OwnedFd,
    /// Number of the next command.
    next: AtomicU64,
    /// Those that run.
    pub(crate) commands: Commands,
    /// Cgroups of commands that have ended and left something inside.
    retired: Mutex<Vec<PathBuf>>,
    /// Which commands share its memory's count.
    pub(crate) memory: MemoryUse,
    /// Whether everything inside was stopped.
    frozen: AtomicBool,
    /// The limits in force, once they were changed.
    limits: Mutex<Option<Box<Limits>>>,
}

impl Deref for Instance {
    type Target = Pending;

    fn deref(&self) -> &Pending {
        &self.pending
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // A process 1 without a helper is the child of a host that is a
        // subreaper.
        if self.spawner.left_children() {
            pidfd::reap_ended(self.pidfd.as_fd());
        }
    }
}

impl Instance {
    pub(crate) fn next_command(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Has the numbers of commands go on from those of another sandbox, so that
    /// none stands for two.
    pub(crate) fn number_after(&self, other: &Self) {
        let next = other.next.load(Ordering::Relaxed);
        self.next.store(next, Ordering::Relaxed);
    }

    /// As [`Pending::end`].
    pub(crate) fn end(&self, wait: bool) -> Result<()> {
        self.forget_commands();
        self.pending.end(wait)
    }

    /// As [`Pending::begin_end`].
    pub(crate) fn begin_end(&self) -> Result<Option<OwnedFd>> {
        self.forget_commands();
        self.pending.begin_end()
    }

    /// A forked copy of the process leaves them: a lock may be held there for ever.
    fn forget_commands(&self) {
        if self.spawner.is_own() {
            self.commands.end();
        }
    }

    /// Kills the command `id` with all that it started; `reason` is one of the `BY_*` numbers.
    pub(crate) fn kill(&self, id: u64, reason: u32) -> Result<()> {
        let kill = Kill {
            id,
            signal: libc::SIGKILL as u32,
            tree: wire::TO_TREE,
            reason,
        };
        send_request(self.own()?.control(), KILL_REQUEST, &kill, &[])
    }

    /// A cgroup for one command, where there can be one.
    pub(crate) fn command_cgroup(&self, id: u64) -> Result<Option<ChildCgroup>> {
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        retired.retain(|path| !remove_empty(path));
        drop(retired);
        self.cgroup
            .child(&format!("command-{id}"))
            .map_err(|error| {
                // Its cgroup goes with it.
                match pidfd::has_ended(self.pidfd.as_fd()) {
                    true => gone(),
                    false => error,
                }
            })
    }

    /// Takes a command's cgroup back.
    pub(crate) fn retire(&self, cgroup: ChildCgroup) {
        if let Some(path) = cgroup.retire() {
            let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
            retired.push(path);
        }
    }
}

/// What a command is told in a sandbox that has died.
pub(crate) fn gone() -> Error {
    Error::new(Kind::Broken, Step::StartCommand, "the sandbox is gone")
        .with_cure("open or reset it")
}

impl Instance {
    /// Starts one.
    ///
    /// # Errors
    /// As `Sandbox::open`; nothing is left behind then.
    pub(crate) fn start(store: &Store, spec: &Spec, rootfs: &Rootfs) -> Result<Self> {
        let (runtime, lower) = (store.runtime(), &rootfs.lower);
        let spawner = runtime.spawner_for(spec)?;
        let first = fallback::preferred(runtime, spec, lower, spawner.ids().ordinary());
        let started = Self::start_on(store, &spawner, spec, rootfs, first).or_else(|error| {
            // It may have died of it.
            let spawner = runtime.spawner_for(spec)?;
            match fallback::after(runtime, &spawner, spec, lower, &error) {
                Some(next) => Self::start_on(store, &spawner, spec, rootfs, next),
                None => Err(error),
            }
        });
        let started = match started {
            // One of the machine's mounts: from now on each is tried before.
            Err(error) if fallback::is_of_a_view(&error, spec, lower) => {
                let spawner = runtime.spawner_for(spec)?;
                spawner.verdicts().distrust();
                Self::start_on(store, &spawner, spec, rootfs, first)
            }
            other => other,
        };
        started.map_err(|error| explained(error, spec, lower))
    }

    /// Without a copy of the host's mount namespace, unless that is known not to work here, or now seen.
    fn start_on(
        store: &Store,
        spawner: &Arc<Spawner>,
        spec: &Spec,
        rootfs: &Rootfs,
        backend: &'static dyn Backend,
    ) -> Result<Self> {
        let runtime = store.runtime();
        let empty_ns = !runtime.empty_ns_is_missing();
        let start = |empty_ns| {
            let attempt = Attempt {
                store,
                spawner,
                spec,
                rootfs,
                backend,
                empty_ns,
                may_try: true,
            };
            Self::start_as(&attempt)
        };
        match start(empty_ns) {
            Err(error) if empty_ns && may_need_copy(&error) => {
                let instance = start(false)?;
                // Nothing was wrong with the sandbox, so it is this kernel, or where this process is in it.
                runtime.set_empty_ns_missing();
                Ok(instance)
            }
            other => other,
        }
    }

    /// If what goes on from what was made ahead fails, whyever, all is made anew.
    fn start_as(attempt: &Attempt<'_>) -> Result<Self> {
        let mut pending = Pending::begin(attempt, true)?;
        pending.prestart_next(attempt.store, attempt.spec);
        let resumed = pending.resumed;
        match Self::complete(pending) {
            Err(_) if resumed => {
                // It may have failed because the helper died.
                let spawner = &attempt.store.runtime().spawner_for(attempt.spec)?;
                Pending::begin(
                    &Attempt {
                        spawner,
                        ..*attempt
                    },
                    false,
                )
                .and_then(Self::complete)
            }
            other => other,
        }
    }

    /// Has one begun. Where its back end turns out not to work, it fails; [`Instance::start`] tries another.
    ///
    /// # Errors
    /// What can be known to fail without trying; nothing is left behind then.
    pub(crate) fn begin(store: &Store, spec: &Spec, rootfs: &Rootfs) -> Result<Pending> {
        Self::begin_as(store, spec, rootfs, true)
    }

    /// As [`Instance::begin`], of one that is wanted now: goes on from what was made
    /// ahead. None where mounts of the machine would have to be tried first, which
    /// takes a second for each that does not answer.
    ///
    /// # Errors
    /// As [`Instance::begin`].
    pub(crate) fn begin_now(
        store: &Store,
        spec: &Spec,
        rootfs: &Rootfs,
    ) -> Result<Option<Pending>> {
        match Self::begin_as(store, spec, rootfs, false) {
            Ok(mut pending) => {
                pending.prestart_next(store, spec);
                Ok(Some(pending))
            }
            Err(error) if backend::is_trial(&error) => Ok(None),
            Err(error) => Err(explained(error, spec, &rootfs.lower)),
        }
    }

    fn begin_as(store: &Store, spec: &Spec, rootfs: &Rootfs, is_ahead: bool) -> Result<Pending> {
        let runtime = store.runtime();
        let spawner = runtime.spawner_for(spec)?;
        let first = fallback::preferred(runtime, spec, &rootfs.lower, spawner.ids().ordinary());
        let attempt = Attempt {
            store,
            spawner: &spawner,
            spec,
            rootfs,
            backend: first,
            empty_ns: !runtime.empty_ns_is_missing(),
            may_try: is_ahead,
        };
        Pending::begin(&attempt, !is_ahead)
    }

    /// Waits for one to be ready.
    ///
    /// # Errors
    /// The step that failed; nothing is left behind then.
    pub(crate) fn complete(mut pending: Pending) -> Result<Self> {
        let pidfd = pending.wait()?;
        Ok(Self {
            pending,
            pidfd,
            next: AtomicU64::new(1),
            commands: Commands::default(),
            retired: Mutex::default(),
            memory: MemoryUse::default(),
            frozen: AtomicBool::new(false),
            limits: Mutex::default(),
        })
    }
}

/// Whether an init may have failed so for want of a copy of the host's mount namespace. KERNEL(6.15): overlays take no layer
/// that is attached nowhere, and nothing is attached to what is. In a user namespace a procfs must be there for another one to be
/// mounted.
fn may_need_copy(error: &Error) -> bool {
    const STEPS: [Step; 9] = [
        Step::MakeBareMountNamespace,
        Step::EnterBareMountNamespace,
        Step::MountOverlay,
        Step::Bind,
        // /dev/pts and /sys/fs/cgroup are the first that are attached to a tree that is
        // attached nowhere. What stands in the way of another mount is the image's, and
        // may be something else the next time.
        Step::AttachKernelMount,
        Step::AttachRoot,
        Step::ChangeRoot,
        Step::MountProc,
        Step::MountSysfs,
    ];
    const ERRNOS: [i32; 4] = [libc::EINVAL, libc::ENOSYS, libc::EPERM, libc::EOPNOTSUPP];
    STEPS.contains(&error.at()) && error.errno().is_some_and(|e| ERRNOS.contains(&e))
}

fn is_overlay(path: &str) -> bool {
    statfs(path).is_ok_and(|fs| fs.filesystem_type() == OVERLAYFS_SUPER_MAGIC)
}

/// Adds the cure where a step's errno alone does not tell what the matter is.
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

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::*;

    #[test]
    fn empty_ns_is_not_missing_because_of_what_the_image_has_at_a_target() {
        let failed = |step, errno| may_need_copy(&Error::os(step, "", errno));
        assert!(failed(Step::AttachKernelMount, Errno::EINVAL));
        assert!(failed(Step::AttachRoot, Errno::EINVAL));
        assert!(!failed(Step::AttachMount, Errno::EINVAL));
        assert!(!failed(Step::AttachKernelMount, Errno::ENOMEM));
    }
}
