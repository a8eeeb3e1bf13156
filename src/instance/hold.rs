// SPDX-License-Identifier: MIT OR Apache-2.0
//! Keeps a sandbox that the helper makes, or has made, until the sandbox is
//! ended.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::reservation::Reservation;
use crate::error::{Error, Kind, Result, Step};
use crate::helper::{Spawner, Start};

/// A reservation whose init was asked for. Dropping a hold ends the sandbox,
/// without waiting.
#[derive(Debug)]
pub(crate) struct Hold {
    pub(crate) reservation: Reservation,
    pub(crate) start: Start,
    /// True once the helper was told to end the sandbox.
    ended: AtomicBool,
}

impl Drop for Hold {
    fn drop(&mut self) {
        // An error is harmless: then the helper is gone, and the sandbox died
        // with the helper.
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

    /// Waits at most `limit` for the init to be ready, and returns a pidfd of
    /// the init. Called once.
    ///
    /// # Errors
    /// The step that failed; nothing is left behind then.
    pub(super) fn wait(&mut self, limit: Option<Duration>) -> Result<OwnedFd> {
        let ready = self.start.wait(limit);
        match &ready {
            Ok(_) => self.reservation.cgroup.close_tasks_files(),
            // Not waited for: a process that waits for a dead file server may
            // not even die when killed.
            Err(error) if error.errno() == Some(libc::ETIMEDOUT) => {
                let _ = self.end(false);
            }
            Err(_) => {
                // `abandon` waits for the end, which drop then need not.
                self.ended.store(true, Ordering::Relaxed);
                self.reservation.abandon();
            }
        }
        ready
    }

    /// Checks that this process opened the sandbox. A forked copy of the
    /// process must not take the messages that are for the parent.
    ///
    /// # Errors
    /// [`Kind::Invalid`] in a forked copy.
    pub(crate) fn own(&self) -> Result<&Self> {
        if self.reservation.spawner.is_own() {
            return Ok(self);
        }
        let why = "it belongs to the process that this one was forked from";
        Err(Error::new(Kind::Invalid, Step::UseSandbox, why).with_cure("open one in this process"))
    }

    /// Returns whether the caller is to end the sandbox: true for the first
    /// call, in the process that opened the sandbox.
    fn take_end(&self) -> bool {
        // The swap lets a single thread of many send the request.
        self.reservation.spawner.is_own() && !self.ended.swap(true, Ordering::Relaxed)
    }

    /// Ends everything inside, once; with `wait`, returns when nothing of the
    /// sandbox is left. Does nothing in a forked copy of the process.
    ///
    /// # Errors
    /// [`Kind::Broken`] if the helper is gone.
    pub(crate) fn end(&self, wait: bool) -> Result<()> {
        if !self.take_end() {
            return Ok(());
        }
        let Reservation { spawner, id, .. } = &self.reservation;
        self.reservation.swept(spawner.close(*id, wait))
    }

    /// As [`Hold::end`], but returns a descriptor that is readable when nothing
    /// of the sandbox is left; `None` if the sandbox was ended before.
    ///
    /// # Errors
    /// As [`Hold::end`].
    pub(crate) fn begin_end(&self) -> Result<Option<OwnedFd>> {
        if !self.take_end() {
            return Ok(None);
        }
        let Reservation { spawner, id, .. } = &self.reservation;
        self.reservation.swept(spawner.begin_close(*id)).map(Some)
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
