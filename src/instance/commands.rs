// SPDX-License-Identifier: MIT OR Apache-2.0
//! Keeps the commands of a sandbox by number until this process has seen their
//! end.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::running::Running;
use super::{Instance, gone};
use crate::error::{Error, Kind, Result, Step};
use crate::helper::{checked, receive, send_for_reply};
use crate::wire::{Find, PIDFD_REQUEST};

/// The running commands. The table holds each until the end was seen, so that a
/// command without a handle is found again.
#[derive(Debug, Default)]
pub(crate) struct Commands(Mutex<CommandTable>);

#[derive(Debug, Default)]
struct CommandTable {
    /// In the order of their numbers.
    running: Vec<Arc<Running>>,
    /// The number that was left by the last sweep.
    left: usize,
    /// True once the sandbox has ended.
    over: bool,
}

/// The number of commands from which on the table is swept.
const FEW: usize = 16;

impl Commands {
    fn table(&self) -> MutexGuard<'_, CommandTable> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a command that was sent.
    pub(crate) fn add(&self, command: &Arc<Running>) {
        let mut table = self.table();
        if table.over {
            // The table would hold the command, and the command the instance.
            return;
        }
        let at = table.running.partition_point(|r| r.id < command.id);
        table.running.insert(at, Arc::clone(command));
        // Sweeps cost time for each command, so the table doubles between two.
        let doubled = table.running.len() >= FEW.max(2 * table.left);
        drop(table);
        if doubled {
            self.sweep();
        }
    }

    /// Takes out a command whose end was seen.
    pub(crate) fn remove(&self, id: u64) {
        let mut table = self.table();
        let found = table.running.binary_search_by_key(&id, |r| r.id);
        let removed = found.map(|at| table.running.remove(at));
        // After the lock: the last reference to a command drops others, which
        // lock this table.
        drop(table);
        drop(removed);
    }

    /// Takes out ended commands without a handle. A handle would see the end.
    fn sweep(&self) {
        let mut table = self.table();
        let unheld = |r: &&Arc<Running>| Arc::strong_count(r) == 1;
        let unheld: Vec<_> = table.running.iter().filter(unheld).cloned().collect();
        table.left = table.running.len();
        drop(table);
        // Outside of the lock: the end of a command takes the lock to remove
        // the command from the table.
        for command in unheld {
            command.let_go();
        }
        let mut table = self.table();
        table.left = table.running.len();
    }

    /// Returns the running commands in the order of their numbers.
    pub(crate) fn all(&self) -> Vec<Arc<Running>> {
        // A copy, because the status of an ended command takes the lock to
        // remove the command.
        let all = self.table().running.clone();
        let runs = |r: &Arc<Running>| matches!(r.status(false), Ok(None));
        all.into_iter().filter(runs).collect()
    }

    /// Forgets all commands, and those that are added later.
    pub(super) fn end(&self) {
        let mut table = self.table();
        table.over = true;
        let all = std::mem::take(&mut table.running);
        // As in `remove`: the commands are dropped after the lock.
        drop(table);
        drop(all);
    }
}

impl Instance {
    /// Returns a running command by number, with a pidfd.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if no command of that number runs.
    pub(crate) fn find(&self, id: u64) -> Result<(Arc<Running>, OwnedFd)> {
        const STEP: Step = Step::FindCommand;
        let instance = self.awake(STEP)?;
        let none = || {
            let why = format_args!("none with number {id} runs");
            Error::new(Kind::NotFound, STEP, why)
        };
        let all = instance.commands.all();
        let found = all.into_iter().find(|r| r.id == id).ok_or_else(none)?;
        let ours = send_for_reply(STEP, instance.control(), PIDFD_REQUEST, &Find { id }, &[])?;
        let (reply, mut fds) = receive(ours.as_fd())?;
        match checked(reply, &[]) {
            // The command has ended meanwhile.
            Err(error) if error.errno() == Some(libc::ESRCH) => Err(none()),
            Err(error) => Err(error),
            Ok(_) => fds.pop().map(|pidfd| (found, pidfd)).ok_or_else(gone),
        }
    }
}
