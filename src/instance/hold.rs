// SPDX-License-Identifier: MIT OR Apache-2.0
//! Keeps a sandbox that the helper makes, or has made, until it is ended.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::reservation::Reservation;
use crate::error::{Error, Kind, Result, Step};
use crate::helper::{Spawner, Start};
use crate::parts::cgroup::Cgroup;

/// A reservation whose init was asked for. Dropping it ends the sandbox,
/// without waiting.
#[derive(Debug)]
pub(crate) struct Hold {
    reservation: Reservation,
    start: Start,
    /// True once the helper was told to end the sandbox.
    ended: AtomicBool,
}

impl Drop for Hold {
    fn drop(&mut self) {
        // Harmless if it fails: then the helper is gone, and the sandbox with
        // it.
        let _ = self.end(false);
    }
}

impl Hold {
    pub(super) fn new(reservation: Reservation, start: Start) -> Self {
        Self {
            reservation,
            start,
            ended: AtomicBool::new(false),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.reservation.name
    }

    pub(crate) fn cgroup(&self) -> &Cgroup {
        &self.reservation.cgroup
    }

    pub(crate) fn spawner(&self) -> &Arc<Spawner> {
        &self.reservation.spawner
    }

    /// The socket on which the init takes requests.
    pub(crate) fn control(&self) -> BorrowedFd<'_> {
        self.start.control()
    }

    /// Returns whether [`Hold::wait`] would return at once.
    pub(crate) fn is_over(&self) -> bool {
        self.start.is_over()
    }

    /// Returns whether the start failed, `None` as long as [`Hold::wait`] would
    /// wait.
    pub(crate) fn has_failed(&self) -> Option<bool> {
        self.start.has_failed()
    }

    /// Waits at most `limit` for the init to be ready and returns a pidfd of
    /// it. Called once.
    ///
    /// # Errors
    /// The step that failed; nothing is left behind then.
    pub(super) fn wait(&mut self, limit: Option<Duration>) -> Result<OwnedFd> {
        let ready = self.start.wait(limit);
        match &ready {
            Ok(_) => self.reservation.cgroup.close_tasks_files(),
            // Not waited for: a process that waits for a dead file server may
            // not even die when it is killed.
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

    /// Checks that this process is the one that opened the sandbox. A forked
    /// copy of it must not take the messages that are for its parent.
    ///
    /// # Errors
    /// [`Kind::Invalid`] in a forked copy.
    pub(crate) fn own(&self) -> Result<&Self> {
        if self.spawner().is_own() {
            return Ok(self);
        }
        let why = "it belongs to the process that this one was forked from";
        Err(Error::new(Kind::Invalid, Step::UseSandbox, why).with_cure("open one in this process"))
    }

    /// Returns whether the caller is to end the sandbox: for the first call in
    /// the process that opened it.
    fn take_end(&self) -> bool {
        self.spawner().is_own() && !self.ended.swap(true, Ordering::Relaxed)
    }

    /// Ends everything inside, once; with `wait`, returns when nothing of it is
    /// left. Does nothing in a forked copy of the process.
    ///
    /// # Errors
    /// [`Kind::Broken`] if the helper is gone.
    pub(crate) fn end(&self, wait: bool) -> Result<()> {
        if !self.take_end() {
            return Ok(());
        }
        let closed = self.spawner().close(self.reservation.id, wait);
        self.reservation.swept(closed)
    }

    /// As [`Hold::end`], but returns a descriptor that is readable when nothing
    /// of the sandbox is left; `None` if it was ended before.
    ///
    /// # Errors
    /// As [`Hold::end`].
    pub(crate) fn begin_end(&self) -> Result<Option<OwnedFd>> {
        if !self.take_end() {
            return Ok(None);
        }
        let begun = self.spawner().begin_close(self.reservation.id);
        self.reservation.swept(begun).map(Some)
    }

    /// Waits on the descriptor of [`Hold::begin_end`] until nothing of the
    /// sandbox is left.
    ///
    /// # Errors
    /// [`Kind::Broken`] if the helper is gone.
    pub(crate) fn ended(&self, notice: &OwnedFd) -> Result<()> {
        self.reservation.swept(Spawner::closed(notice.as_fd()))
    }
}
