// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages: a recvmsg(2) for a request with its file descriptors, a sendmsg(2)
//! for a reply.

use crate::mapping::{Bytes, Mapping};
use crate::sys::{self, Errno, Fd, MSG_CTRUNC, MSG_DONTWAIT, MSG_TRUNC, Result};
use crate::wire::{self, Field, HEADER, Header, INLINE, MAGIC, MAX_FDS, Reader, Reply};

const CMSG_HEADER: usize = 16;
const SOL_SOCKET: u32 = 1;
const SCM_RIGHTS: u32 = 1;
const SCM_CREDENTIALS: u32 = 2;
/// Bytes of `struct ucred`, unix(7): process, real user and group.
const UCRED: usize = 12;

/// Size of the largest request: header and inline body.
pub(crate) const BUFFER: usize = HEADER + INLINE;

/// Sender of a request by the kernel's word: process, real user and real group;
/// zeros if the socket passes no credentials.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sender([u32; 3]);

/// Place of a failure, an `AT_*` number, and its error.
pub(crate) type Failure = (u32, Errno);

pub(crate) type Outcome<T> = core::result::Result<T, Failure>;

/// Returns a function that adds the place to an error.
pub(crate) fn at(place: u32) -> impl Fn(Errno) -> Failure {
    move |errno| (place, errno)
}

/// Makes the reply about a failure.
pub(crate) fn failed((place, errno): Failure) -> Reply {
    Reply::new(wire::FAILED, place, 0, errno.0)
}

/// A request: kind, body, and file descriptors, of which the untaken are
/// closed.
pub(crate) struct Request<'a> {
    pub(crate) kind: u32,
    pub(crate) fds: Fds,
    pub(crate) sender: Sender,
    body: Bytes<'a>,
}

impl Request<'_> {
    pub(crate) fn body(&self) -> &[u8] {
        self.body.as_slice()
    }

    /// Reads the record that is the body.
    pub(crate) fn read<'s, T: Field<'s>>(&'s self) -> Outcome<T> {
        T::get(&mut Reader::new(self.body())).ok_or((wire::AT_MESSAGE, Errno::PROTO))
    }

    /// The body, and the descriptors to be taken or closed.
    pub(crate) fn parts(&mut self) -> (&[u8], &mut Fds) {
        (self.body.as_slice(), &mut self.fds)
    }
}

/// The file descriptors of a request; those not taken are closed.
pub(crate) struct Fds {
    fds: [i32; MAX_FDS],
    len: usize,
}

impl Fds {
    pub(crate) fn as_slice(&self) -> &[i32] {
        &self.fds[..self.len]
    }

    /// Returns the nth, still owned by the request.
    pub(crate) fn get(&self, n: usize) -> Result<i32> {
        self.as_slice()
            .get(n)
            .copied()
            .filter(|fd| *fd >= 0)
            .ok_or(Errno::BADF)
    }

    /// Takes the nth out of the request.
    pub(crate) fn take(&mut self, n: usize) -> Result<Fd> {
        let fd = self.get(n)?;
        self.fds[n] = -1;
        // SAFETY: the kernel opened the descriptor for this request, whose
        // entry is empty now.
        Ok(unsafe { Fd::from_raw(fd) })
    }

    /// Forgets all but the first `len`, which the caller has closed.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Closes all that were not taken.
    pub(crate) fn clear(&mut self) {
        for fd in self.as_slice() {
            // SAFETY: the kernel opened the descriptor for this request; -1
            // stands for a taken descriptor.
            unsafe { sys::close(*fd) };
        }
        self.len = 0;
    }

    /// Takes the last out of the request.
    fn pop(&mut self) -> Option<Fd> {
        let last = self.len.checked_sub(1)?;
        let fd = self.take(last).ok()?;
        self.len = last;
        Some(fd)
    }
}

impl Drop for Fds {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Receives a request; returns `None` at end of file.
pub(crate) fn receive<'a>(
    socket: i32,
    buffer: &'a mut [u8; BUFFER],
) -> Result<Option<Request<'a>>> {
    receive_with(socket, buffer, 0)
}

/// Receives a request as [`receive`], but returns EAGAIN instead of waiting.
pub(crate) fn receive_now<'a>(
    socket: i32,
    buffer: &'a mut [u8; BUFFER],
) -> Result<Option<Request<'a>>> {
    receive_with(socket, buffer, MSG_DONTWAIT)
}

fn receive_with<'a>(
    socket: i32,
    buffer: &'a mut [u8; BUFFER],
    flags: u32,
) -> Result<Option<Request<'a>>> {
    let mut control =
        [0u64; (CMSG_HEADER + UCRED).div_ceil(8) + (CMSG_HEADER + MAX_FDS * 4).div_ceil(8)];
    let received = sys::recvmsg(socket, buffer, &mut control, flags)?;
    let len = received.len;
    if len == 0 {
        return Ok(None);
    }
    let (mut fds, sender) = attached(&control, received.control_len);
    if received.flags & (MSG_TRUNC | MSG_CTRUNC) != 0 {
        return Err(Errno::TOOBIG);
    }
    let mut reader = Reader::new(&buffer[..len]);
    let head = Header::get(&mut reader)
        .filter(|h| h.magic == MAGIC)
        .ok_or(Errno::PROTO)?;
    let size = head.len as usize;
    let body = if head.in_memfd == 1 {
        let memfd = fds.pop().ok_or(Errno::PROTO)?;
        Bytes::Own(Mapping::file(memfd.raw(), size)?, size)
    } else {
        let body = buffer.get(HEADER..len).filter(|b| b.len() == size);
        Bytes::Given(body.ok_or(Errno::PROTO)?)
    };
    Ok(Some(Request {
        kind: head.kind,
        fds,
        sender,
        body,
    }))
}

/// Reads descriptors and sender from a control buffer, cmsg(3).
fn attached(control: &[u64], len: usize) -> (Fds, Sender) {
    let (mut fds, mut sender) = (
        Fds {
            fds: [-1; MAX_FDS],
            len: 0,
        },
        Sender::default(),
    );
    let word = |n: usize| (control[n / 2] >> (n % 2 * 32)) as u32;
    let mut at = 0;
    while len >= at + CMSG_HEADER {
        // Eight bytes of length, level, type, then the data.
        let first = at / 4;
        let size = (control[at / 8] as usize).min(len - at);
        let words = size.saturating_sub(CMSG_HEADER) / 4;
        match (word(first + 2), word(first + 3)) {
            (SOL_SOCKET, SCM_RIGHTS) => {
                for n in 0..words.min(MAX_FDS) {
                    fds.fds[n] = word(first + CMSG_HEADER / 4 + n) as i32;
                    fds.len = n + 1;
                }
            }
            (SOL_SOCKET, SCM_CREDENTIALS) if words == UCRED / 4 => {
                sender = Sender(core::array::from_fn(|n| word(first + CMSG_HEADER / 4 + n)));
            }
            _ => {}
        }
        at += size.next_multiple_of(8).max(CMSG_HEADER);
    }
    (fds, sender)
}

/// Sends a reply with up to two file descriptors. Ignores errors: a host may be
/// gone, or not read. A host that waits sees the socket close.
pub(crate) fn reply(socket: i32, reply: &Reply, fds: &[i32]) {
    let _ = tell(socket, reply, fds);
}

/// Writes a reply to the status socket or pipe of a command. Both have room for
/// two replies, so the write does not wait.
pub(crate) fn note(status: i32, reply: &Reply) {
    // As in `reply`.
    let _ = sys::write(status, &reply.to_bytes());
}

/// Sends a reply as [`reply`], but returns errors, for callers that keep the
/// socket open: the host would wait for ever.
pub(crate) fn tell(socket: i32, reply: &Reply, fds: &[i32]) -> Result<()> {
    send(socket, &reply.to_bytes(), fds)
}

/// Sends bytes with up to two file descriptors.
pub(crate) fn send(socket: i32, bytes: &[u8], fds: &[i32]) -> Result<()> {
    let mut control = [0u64; 3];
    let n = fds.len().min(2);
    control[0] = (CMSG_HEADER + 4 * n) as u64;
    control[1] = u64::from(SOL_SOCKET) | u64::from(SCM_RIGHTS) << 32;
    for (at, fd) in fds.iter().take(n).enumerate() {
        control[2] |= u64::from(*fd as u32) << (32 * at);
    }
    sys::sendmsg(socket, bytes, if n == 0 { &mut [] } else { &mut control })
}
