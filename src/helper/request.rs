// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sends requests to the helper and to inits, and receives their replies.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::unistd::read;

use super::failure::failure;
use crate::error::{Error, Kind, Result, Step};
use crate::sys::poll::is_readable;
use crate::sys::{memfd, socket};
use crate::wire::{self, Field, Header, INLINE, MAGIC, REPLY, Reader, Reply};

/// Sends a request. A big body goes into a sealed memory file.
pub(crate) fn send_request<'a>(
    socket: BorrowedFd<'_>,
    kind: u32,
    body: &impl Field<'a>,
    fds: &[BorrowedFd<'_>],
) -> Result<()> {
    let broken = |e| match e {
        Errno::EPIPE | Errno::ECONNRESET => gone(),
        e => Error::os(Step::TalkToSpawner, "sendmsg", e),
    };
    let mut bytes = Vec::new();
    body.put(&mut bytes);
    // The header counts the bytes of the body in 32 bits.
    let len = u32::try_from(bytes.len())
        .map_err(|_| Error::new(Kind::Invalid, Step::TalkToSpawner, "more than 4 GiB"))?;
    let header = |in_memfd| {
        let magic = MAGIC;
        let header = Header {
            magic,
            kind,
            len,
            in_memfd,
        };
        let mut bytes = Vec::new();
        header.put(&mut bytes);
        bytes
    };
    if bytes.len() <= INLINE {
        match socket::send(socket, &[&header(0), &bytes], fds) {
            // The socket's buffer is smaller than usual, net.core.wmem_default.
            // The body goes into a memory file then.
            Err(Errno::EMSGSIZE) => {}
            other => return other.map_err(broken),
        }
    }
    let file = memfd::sealed(c"tare-request", &bytes, false).map_err(broken)?;
    let mut all = fds.to_vec();
    all.push(file.as_fd());
    socket::send(socket, &[&header(1)], &all).map_err(broken)
}

/// Sends a request with a socket for the reply as the first descriptor.
/// Returns this end of the socket.
pub(crate) fn send_for_reply<'a>(
    step: Step,
    to: BorrowedFd<'_>,
    kind: u32,
    body: &impl Field<'a>,
    fds: &[BorrowedFd<'_>],
) -> Result<OwnedFd> {
    // The other end closes on return. If the receiver dies without a word, its
    // copy closes as well, and the wait for the reply finds end of file.
    let (ours, theirs) = socket::pair().map_err(|e| Error::os(step, "socketpair", e))?;
    let all = [&[theirs.as_fd()], fds].concat();
    send_request(to, kind, body, &all)?;
    Ok(ours)
}

/// Receives a reply, or `None` at end of file, and the descriptors.
pub(crate) fn receive(socket: BorrowedFd<'_>) -> Result<(Option<Reply>, Vec<OwnedFd>)> {
    loop {
        match receive_now(socket, true) {
            // The reply is close. A caller that gave up here would leave a
            // sandbox or a command without a handle.
            Err(Errno::EINTR) => {}
            // The other side died with the request unread.
            Err(Errno::ECONNRESET) => return Err(gone()),
            other => return other.map_err(|e| Error::os(Step::TalkToSpawner, "recvmsg", e)),
        }
    }
}

/// As [`receive`]; EAGAIN without a message if `wait` is false.
pub(crate) fn receive_now(
    socket: BorrowedFd<'_>,
    wait: bool,
) -> Result<(Option<Reply>, Vec<OwnedFd>), Errno> {
    let mut bytes = [0u8; REPLY];
    let (n, fds) = socket::receive(socket, &mut bytes, wait)?;
    Ok((Reply::get(&mut Reader::new(&bytes[..n])), fds))
}

/// As [`receive_now`] from a pipe, into which replies are written whole,
/// pipe(7).
pub(crate) fn read_now(pipe: BorrowedFd<'_>, wait: bool) -> Result<Option<Reply>, Errno> {
    // The pipe is blocking, because a caller with `wait` needs no second call.
    if !wait && !is_readable(pipe) {
        return Err(Errno::EAGAIN);
    }
    let mut bytes = [0u8; REPLY];
    let n = read(pipe, &mut bytes)?;
    Ok(Reply::get(&mut Reader::new(&bytes[..n])))
}

pub(super) fn gone() -> Error {
    Error::new(Kind::Broken, Step::TalkToSpawner, "it ended")
}

/// Returns a failed reply as an error; `ops` are the operations that were sent,
/// for its words.
pub(crate) fn checked(reply: Option<Reply>, ops: &[u8]) -> Result<Option<Reply>> {
    match reply {
        Some(reply) if reply.kind == wire::FAILED => Err(failure(&reply, ops)),
        other => Ok(other),
    }
}
