// SPDX-License-Identifier: MIT OR Apache-2.0
//! Operations that may never end: tried in a child, which is killed in time.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Spawner, gone, receive, request};
use crate::error::{Error, Result};
use crate::parts::ops::Ops;
use crate::parts::shown::Verdicts;
use crate::sys::socket;
use crate::wire::{self, Job};

impl Spawner {
    /// Returns what is known of mounts of the host.
    pub(crate) fn verdicts(&self) -> MutexGuard<'_, Verdicts> {
        self.verdicts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tries operations in a child of the spawner, which is killed if they take
    /// longer: what failed, or ETIMEDOUT; none if all is well.
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
            socket::pair().map_err(|e| Error::os("talk to spawner", "socketpair", e))?;
        let socket = self.socket.as_fd();
        request(socket, wire::JOB_REQUEST, &job, &[theirs.as_fd()])?;
        drop(theirs);
        if !is_readable_within(ours.as_fd(), timeout) {
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

/// Waits for input or end of file, at most so long.
pub(super) fn is_readable_within(socket: BorrowedFd<'_>, timeout: Duration) -> bool {
    let end = Instant::now() + timeout;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(socket, PollFlags::POLLIN)], left) {
            Err(Errno::EINTR) => {}
            other => return other != Ok(0),
        }
    }
}
