// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tries operations that may never end in a child, which is killed in time.
#![forbid(unsafe_code)]

use std::os::fd::AsFd as _;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;

use super::request::{gone, receive, send_for_reply};
use super::spawner::Spawner;
use crate::error::{Result, Step};
use crate::ops::Ops;
use crate::parts::shown::Verdicts;
use crate::sys::poll::is_readable_within;
use crate::wire::{self, Job};

impl Spawner {
    /// Returns what earlier trials showed of mounts of the host.
    pub(crate) fn verdicts(&self) -> MutexGuard<'_, Verdicts> {
        self.verdicts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tries operations in a child of the helper. Returns the errno of the one
    /// that failed, or ETIMEDOUT, after which the child is killed.
    ///
    /// # Errors
    /// [`Kind::Broken`] if the spawner is gone.
    pub(crate) fn job_within(
        &self,
        ops: &Ops,
        namespaces: u64,
        timeout: Duration,
    ) -> Result<Option<Errno>> {
        // By this number `close` can name the job.
        let id = self.next_id();
        let job = Job {
            id,
            ops: ops.bytes(),
            namespaces,
        };
        let (step, socket) = (Step::TalkToSpawner, self.socket.as_fd());
        let ours = send_for_reply(step, socket, wire::JOB_REQUEST, &job, &[])?;
        // An error of the poll is left to the receive that follows.
        if is_readable_within(ours.as_fd(), timeout) == Ok(false) {
            // The child may be stuck in the mount for ever, so no caller waits
            // for its end.
            self.close(id, false)?;
            return Ok(Some(Errno::ETIMEDOUT));
        }
        let (reply, _) = receive(ours.as_fd())?;
        match reply.ok_or_else(gone)? {
            reply if reply.kind == wire::FAILED => Ok(Some(Errno::from_raw(reply.code))),
            _ => Ok(None),
        }
    }
}
