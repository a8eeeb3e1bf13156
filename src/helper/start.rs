// SPDX-License-Identifier: MIT OR Apache-2.0
//! A sandbox that was asked for, until its init is ready.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv};

use super::request::{checked, gone, is_readable_within, receive, send_request};
use crate::error::{Error, Result, Step};
use crate::wire::{self, Field as _, Open, REPLY, Reader, Reply};

/// A sandbox that was asked for: its control socket, on which its init says that it is ready.
#[derive(Debug)]
pub(crate) struct Start {
    control: OwnedFd,
    /// What was sent, to say which of it failed.
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

    /// Asks an init that waits for the rest of a start, see [`Open::ahead`].
    pub(crate) fn resume(&mut self, rest: &Open<'_>) -> Result<()> {
        self.ops = rest.ops.to_vec();
        send_request(self.control(), wire::OPEN_REQUEST, rest, &[])
    }

    /// Whether [`Start::wait`] would come back at once.
    pub(crate) fn is_over(&self) -> bool {
        let mut control = [PollFd::new(self.control(), PollFlags::POLLIN)];
        poll(&mut control, PollTimeout::ZERO).is_ok_and(|n| n > 0)
    }

    /// Whether the start failed; none as long as [`Start::wait`] would wait. The
    /// answer stays for that.
    pub(crate) fn has_failed(&self) -> Option<bool> {
        if !self.is_over() {
            return None;
        }
        let mut bytes = [0; REPLY];
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        // An end without an answer has none to read. Once more: see `socket::receive`.
        let mut peek = || recv(self.control.as_raw_fd(), &mut bytes, flags).unwrap_or(0);
        let n = match peek() {
            0 => peek(),
            n => n,
        };
        let reply = Reply::get(&mut Reader::new(&bytes[..n]));
        Some(reply.is_none_or(|reply| reply.kind == wire::FAILED))
    }

    /// Waits until the init is ready, for so long at most: a pidfd of it. To be
    /// called once.
    pub(crate) fn wait(&self, limit: Option<Duration>) -> Result<OwnedFd> {
        if limit.is_some_and(|limit| !is_readable_within(self.control(), limit)) {
            let subject = "a mounted file system does not answer";
            return Err(Error::os(Step::OpenSandbox, subject, Errno::ETIMEDOUT));
        }
        let (reply, mut received) = receive(self.control())?;
        checked(reply, &self.ops)?.ok_or_else(gone)?;
        received.pop().ok_or_else(gone)
    }
}
