// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tries operations that may never end in a child, which is killed in time.
#![forbid(unsafe_code)]

use std::os::fd::AsFd as _;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;

use super::request::{gone, receive, send_request};
use super::spawner::Spawner;
use crate::error::{Error, Result, Step};
use crate::ops::Ops;
use crate::parts::shown::Verdicts;
use crate::sys::poll::is_readable_within;
use crate::sys::socket;
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
        let id = self.next_id();
        let job = Job {
            id,
            ops: ops.bytes(),
            namespaces,
        };
        let (ours, theirs) =
            socket::pair().map_err(|e| Error::os(Step::TalkToSpawner, "socketpair", e))?;
        let socket = self.socket.as_fd();
        send_request(socket, wire::JOB_REQUEST, &job, &[theirs.as_fd()])?;
        drop(theirs);
        if is_readable_within(ours.as_fd(), timeout) == Ok(false) {
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
