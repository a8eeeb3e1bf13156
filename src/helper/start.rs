// SPDX-License-Identifier: MIT OR Apache-2.0
//! Follows a start that the helper was asked for, until the init is ready.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};

use super::request::{checked, gone, receive, send_request};
use crate::error::{Error, Result, Step};
use crate::sys::poll::{is_readable, is_readable_within};
use crate::wire::{self, Field as _, Open, REPLY, Reader, Reply};

/// A start that the helper was asked for: the control socket, on which the init
/// replies when ready.
#[derive(Debug)]
pub(crate) struct Start {
    control: OwnedFd,
    /// The operations that were sent, to name one that fails.
    ops: Vec<u8>,
}

impl Start {
    pub(super) fn new(control: OwnedFd, ops: Vec<u8>) -> Self {
        Self { control, ops }
    }

    /// The control socket.
    pub(crate) fn control(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }

    /// Sends a prestarted init the rest of the operations, see [`Open::ahead`].
    pub(crate) fn resume(&mut self, rest: &Open<'_>) -> Result<()> {
        self.ops = rest.ops.to_vec();
        send_request(self.control(), wire::OPEN_REQUEST, rest, &[])
    }

    /// Returns whether [`Start::wait`] would return at once.
    pub(crate) fn is_over(&self) -> bool {
        is_readable(self.control())
    }

    /// Returns whether the start failed, `None` as long as [`Start::wait`]
    /// would wait. Leaves the reply to that call.
    pub(crate) fn has_failed(&self) -> Option<bool> {
        if !self.is_over() {
            return None;
        }
        let mut bytes = [0; REPLY];
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        // An end without a reply has nothing to read. Once more: see
        // `socket::receive`.
        let mut peek = || recv(self.control.as_raw_fd(), &mut bytes, flags).unwrap_or(0);
        let n = match peek() {
            0 => peek(),
            n => n,
        };
        let reply = Reply::get(&mut Reader::new(&bytes[..n]));
        Some(reply.is_none_or(|reply| reply.kind == wire::FAILED))
    }

    /// Waits at most `limit` until the init is ready, and returns its pidfd.
    /// Called once.
    pub(crate) fn wait(&self, limit: Option<Duration>) -> Result<OwnedFd> {
        if limit.is_some_and(|limit| is_readable_within(self.control(), limit) == Ok(false)) {
            let subject = "a mounted file system does not answer";
            return Err(Error::os(Step::OpenSandbox, subject, Errno::ETIMEDOUT));
        }
        // Without a limit: the helper ends a start that fails, and a dead
        // helper or init is end of file.
        let (reply, mut received) = receive(self.control())?;
        checked(reply, &self.ops)?.ok_or_else(gone)?;
        received.pop().ok_or_else(gone)
    }
}
