// SPDX-License-Identifier: MIT OR Apache-2.0
//! Holds a sandbox from open to close, or from reset to reset.
//!
//! An [`Instance`] is a running init with its cgroups, its commands and its
//! limits. `open` makes the attempts of `attempt` in turn; each begins with a
//! `Reservation`, becomes `Pending` when the helper was asked, and an instance
//! when its init is ready. `prestart` keeps the next init ready.
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
mod resources;
mod rootfs;
mod running;
mod setup;

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Kind, Result, Step};
use crate::helper::{Spawner, send_request};
use crate::parts::cgroup::{Cgroup, ChildCgroup, remove_empty};
use crate::spec::{LeftOut, Limits};
use crate::sys::pidfd;
use crate::wire::{self, KILL_REQUEST, Kill};

use commands::Commands;
pub(crate) use hold::Hold;
pub(crate) use memory::MemoryMark;
use memory::MemoryUse;
pub(crate) use pending::Pending;
pub(crate) use resources::Resources;
pub(crate) use rootfs::Rootfs;
pub use running::RunningCommand;
pub(crate) use running::{Running, StartContext, StatusFd, no_user};
pub(crate) use setup::Setup;

/// A running init with its parts outside.
#[derive(Debug)]
pub(crate) struct Instance {
    hold: Hold,
    pub(crate) setup: Setup,
    pub(crate) pidfd: OwnedFd,
    /// Number of the next command.
    next: AtomicU64,
    /// The running commands.
    pub(crate) commands: Commands,
    /// Cgroups of ended commands that have left processes inside.
    retired: Mutex<Vec<PathBuf>>,
    /// Commands that share the count of its memory.
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
        let (hold, setup, pidfd) = pending.wait()?;
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

    pub(crate) fn hold(&self) -> &Hold {
        &self.hold
    }

    pub(crate) fn name(&self) -> &str {
        self.hold.name()
    }

    pub(crate) fn cgroup(&self) -> &Cgroup {
        self.hold.cgroup()
    }

    pub(crate) fn spawner(&self) -> &Arc<Spawner> {
        self.hold.spawner()
    }

    /// Lists the keys of the spec that are not in force, because `best_effort`
    /// names them.
    pub(crate) fn left_out(&self) -> Vec<LeftOut> {
        let of_disk = self.setup.unbounded.iter().map(|error| LeftOut {
            key: "limits.disk",
            why: error.to_string(),
        });
        let of_cgroup = self.cgroup().left_out().iter().cloned();
        of_cgroup.chain(of_disk).collect()
    }

    pub(crate) fn control(&self) -> BorrowedFd<'_> {
        self.hold.control()
    }

    /// As [`Hold::own`].
    pub(crate) fn own(&self) -> Result<&Self> {
        self.hold.own()?;
        Ok(self)
    }

    pub(crate) fn next_command(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Numbers commands after those of `other`, so that a number stands for one
    /// command before and after a reset.
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
        let kill = Kill {
            id,
            signal: libc::SIGKILL as u32,
            tree: wire::TO_TREE,
            reason,
        };
        send_request(self.own()?.control(), KILL_REQUEST, &kill, &[])
    }

    /// Makes a cgroup for a command, where the machine allows.
    pub(crate) fn command_cgroup(&self, id: u64) -> Result<Option<ChildCgroup>> {
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        // A cgroup can be removed only after its last process has ended.
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
