// SPDX-License-Identifier: MIT OR Apache-2.0
//! Holds a sandbox from open to close, or from reset to reset.
//!
//! An [`Instance`] is a running init with cgroups, commands and limits. `open`
//! makes the attempts of `attempt` in turn; each begins with a `Reservation`,
//! becomes `Pending` when the helper was asked, and an instance when its init
//! is ready. `prestart` keeps the next init ready.
#![forbid(unsafe_code)]

mod attempt;
mod commands;
mod control;
mod fallback;
mod hold;
mod memory;
mod open;
mod pending;
mod prestart;
mod reservation;
mod rootfs;
mod running;

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Kind, Result, Step};
use crate::helper::{Runtime, Spawner, send_request};
use crate::image::Images;
use crate::parts::caps::CapSet;
use crate::parts::cgroup::{Cgroup, ChildCgroup, remove_empty};
use crate::parts::shown::ShownAs;
use crate::spec::{LeftOut, Limits};
use crate::sys::pidfd;
use crate::wire::{self, KILL_REQUEST, Kill};

use commands::Commands;
pub(crate) use hold::Hold;
pub(crate) use memory::MemoryMark;
use memory::MemoryUse;
pub(crate) use pending::Pending;
use prestart::PrestartSlot;
pub(crate) use rootfs::Rootfs;
pub use running::RunningCommand;
pub(crate) use running::{Running, StartContext, StatusFd, no_user};

/// The images, the helper and the prestarted init of a store.
///
/// Stores clone the resources, so that an instance needs no store.
#[derive(Debug, Clone)]
pub(crate) struct Resources {
    pub(crate) images: Images,
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) prestart: Arc<PrestartSlot>,
}

/// The facts of a sandbox that do not change until its end.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) hostname: String,
    pub(crate) backend: &'static str,
    /// The reason if `limits.disk` was let go.
    pub(crate) unbounded: Option<Error>,
    /// Mounts of the host, and how they are shown.
    pub(crate) shown: Vec<(PathBuf, ShownAs)>,
    pub(crate) caps: CapSet,
    pub(crate) seccomp: bool,
    /// True if `limits.memory` is set: the memory in use is read only then.
    pub(crate) counts_memory: bool,
}

/// A running init with the parts outside.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) hold: Hold,
    pub(crate) setup: Setup,
    /// A pidfd of the init.
    pub(crate) pidfd: OwnedFd,
    /// Number of the next command.
    next: AtomicU64,
    /// The running commands.
    pub(crate) commands: Commands,
    /// Cgroups of ended commands that have left processes inside.
    retired: Mutex<Vec<PathBuf>>,
    /// Commands that share the count of the sandbox's memory.
    pub(crate) memory: MemoryUse,
    /// True while everything inside is stopped.
    frozen: AtomicBool,
    /// The limits in force, once they were changed.
    limits: Mutex<Option<Box<Limits>>>,
}

impl Drop for Instance {
    fn drop(&mut self) {
        // If the helper was killed, the init is the child of a host that is
        // process 1 or a subreaper, and would stay a zombie.
        if self.spawner().left_children() {
            pidfd::reap_ended(self.pidfd.as_fd());
        }
    }
}

impl Instance {
    /// Waits for a begun instance to be ready.
    ///
    /// # Errors
    /// The step that failed; nothing is left behind then.
    pub(crate) fn complete(pending: Pending) -> Result<Self> {
        let (mut hold, setup) = (pending.hold, pending.setup);
        let pidfd = hold.wait(pending.patience)?;
        Ok(Self {
            hold,
            setup,
            pidfd,
            next: AtomicU64::new(1),
            commands: Commands::default(),
            retired: Mutex::default(),
            memory: MemoryUse::default(),
            frozen: AtomicBool::new(false),
            limits: Mutex::default(),
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.hold.reservation.name
    }

    pub(crate) fn cgroup(&self) -> &Cgroup {
        &self.hold.reservation.cgroup
    }

    pub(crate) fn spawner(&self) -> &Arc<Spawner> {
        &self.hold.reservation.spawner
    }

    /// Lists the keys of the spec that are not in force, because `best_effort`
    /// names them.
    pub(crate) fn left_out(&self) -> Vec<LeftOut> {
        // The plan leaves out the disk, and the cgroup its own keys.
        let of_disk = self.setup.unbounded.iter().map(|error| LeftOut {
            key: "limits.disk",
            why: error.to_string(),
        });
        let of_cgroup = self.cgroup().left_out().iter().cloned();
        of_cgroup.chain(of_disk).collect()
    }

    pub(crate) fn control(&self) -> BorrowedFd<'_> {
        self.hold.start.control()
    }

    /// As [`Hold::own`].
    pub(crate) fn own(&self) -> Result<&Self> {
        self.hold.own()?;
        Ok(self)
    }

    pub(crate) fn next_command(&self) -> u64 {
        // Relaxed: only the number has to differ between threads.
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Numbers commands after those of `other`, so that a number stands for the
    /// same command before and after a reset.
    pub(crate) fn number_after(&self, other: &Self) {
        let next = other.next.load(Ordering::Relaxed);
        self.next.store(next, Ordering::Relaxed);
    }

    /// As [`Hold::end`].
    pub(crate) fn end(&self, wait: bool) -> Result<()> {
        self.forget_commands();
        self.hold.end(wait)
    }

    /// As [`Hold::begin_end`].
    pub(crate) fn begin_end(&self) -> Result<Option<OwnedFd>> {
        self.forget_commands();
        self.hold.begin_end()
    }

    /// Forgets the commands, which hold the instance.
    fn forget_commands(&self) {
        // In a forked copy of the process the lock may be held for ever.
        if self.spawner().is_own() {
            self.commands.end();
        }
    }

    /// Kills the command `id` with all its descendants; `reason` is a `BY_*`
    /// number.
    pub(crate) fn kill(&self, id: u64, reason: u32) -> Result<()> {
        self.send_kill(id, libc::SIGKILL, wire::TO_TREE, reason)
    }

    /// Has the init send a signal to the command `id`, with its group or tree
    /// as `to`, a `TO_*` number, says.
    pub(crate) fn send_kill(&self, id: u64, signal: i32, to: u32, reason: u32) -> Result<()> {
        let kill = Kill {
            id,
            signal: signal as u32,
            tree: to,
            reason,
        };
        send_request(self.own()?.control(), KILL_REQUEST, &kill, &[])
    }

    /// Makes a cgroup for a command, where the machine allows.
    pub(crate) fn command_cgroup(&self, id: u64) -> Result<Option<ChildCgroup>> {
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        // A cgroup can be removed only after the last process inside has ended,
        // and the kernel does not tell that moment.
        retired.retain(|path| !remove_empty(path));
        drop(retired);
        self.cgroup()
            .child(&format!("command-{id}"))
            .map_err(|error| {
                // The sandbox's cgroup is removed with the sandbox.
                match pidfd::has_ended(self.pidfd.as_fd()) {
                    true => gone(),
                    false => error,
                }
            })
    }

    /// Takes the cgroup of an ended command back.
    pub(crate) fn retire(&self, cgroup: ChildCgroup) {
        // A process that is left inside keeps the directory busy.
        if let Some(path) = cgroup.retire() {
            let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
            retired.push(path);
        }
    }
}

/// The error of a command whose sandbox has died.
pub(crate) fn gone() -> Error {
    Error::new(Kind::Broken, Step::StartCommand, "the sandbox is gone")
        .with_cure("open or reset it")
}
