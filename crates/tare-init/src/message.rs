// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages in and out: one recvmsg(2) for a request with its file descriptors, one sendmsg(2) for a reply.

use crate::mapping::Mapping;
use crate::sys::{self, Errno, Fd, MSG_CTRUNC, MSG_DONTWAIT, MSG_TRUNC, Result};
use crate::wire::{Field as _, HEADER, Header, INLINE, MAGIC, MAX_FDS, Reader, Reply};

const CMSG_HEADER: usize = 16;
const SOL_SOCKET: u32 = 1;
const SCM_RIGHTS: u32 = 1;
const SCM_CREDENTIALS: u32 = 2;
/// Of `struct ucred`, unix(7): process, real user and group.
const UCRED: usize = 12;

/// Room for the largest request: header and inline body.
pub(crate) const BUFFER: usize = HEADER + INLINE;

/// Who sent a request, as the kernel has it: process, real user and real group;
/// zeros where the socket is not told.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sender([u32; 3]);

/// A request: its kind, its body, its file descriptors (closed by whoever takes it).
pub(crate) struct Request<'a> {
    pub(crate) kind: u32,
    pub(crate) fds: Fds,
    pub(crate) sender: Sender,
    body: Body<'a>,
}

enum Body<'a> {
    Inline(&'a [u8]),
    Mapped(Mapping, usize),
}

impl Request<'_> {
    pub(crate) fn body(&self) -> &[u8] {
        self.body.bytes()
    }

    /// The body, and the descriptors to be taken or closed.
    pub(crate) fn parts(&mut self) -> (&[u8], &mut Fds) {
        (self.body.bytes(), &mut self.fds)
    }
}

impl Body<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Body::Inline(bytes) => bytes,
            Body::Mapped(mapping, len) => &mapping.bytes()[..*len],
        }
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

    /// The nth, still owned here.
    pub(crate) fn get(&self, n: usize) -> Result<i32> {
        self.as_slice()
            .get(n)
            .copied()
            .filter(|fd| *fd >= 0)
            .ok_or(Errno::BADF)
    }

    /// The nth, owned by the caller from now on.
    pub(crate) fn take(&mut self, n: usize) -> Result<Fd> {
        let fd = self.get(n)?;
        self.fds[n] = -1;
        // SAFETY: the kernel opened it for this request, and its place is empty now.
        Ok(unsafe { Fd::from_raw(fd) })
    }

    /// Forgets all but the first `len`, which the caller has closed.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Closes those that nobody has taken.
    pub(crate) fn clear(&mut self) {
        for fd in self.as_slice() {
            // SAFETY: the kernel opened it for this request; -1 is a taken one.
            unsafe { sys::close(*fd) };
        }
        self.len = 0;
    }

    /// The last one, owned by the caller from now on.
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

/// Receives one request; `None` at end of file.
pub(crate) fn receive<'a>(
    socket: i32,
    buffer: &'a mut [u8; BUFFER],
) -> Result<Option<Request<'a>>> {
    receive_with(socket, buffer, 0)
}

/// As [`receive`], but EAGAIN if there is no request yet.
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
    let body = if head.in_memfd == 1 {
        let memfd = fds.pop().ok_or(Errno::PROTO)?;
        Body::Mapped(
            Mapping::file(memfd.raw(), head.len as usize)?,
            head.len as usize,
        )
    } else {
        Body::Inline(
            buffer
                .get(HEADER..len)
                .filter(|b| b.len() == head.len as usize)
                .ok_or(Errno::PROTO)?,
        )
    };
    Ok(Some(Request {
        kind: head.kind,
        fds,
        sender,
        body,
    }))
}

/// Takes descriptors and sender out of a control buffer, cmsg(3).
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

/// Sends a reply with up to two file descriptors. A host that is gone or does not read is no
/// reason to stop, and one that waits for what cannot be sent sees the socket close.
pub(crate) fn reply(socket: i32, reply: &Reply, fds: &[i32]) {
    let _ = tell(socket, reply, fds);
}

/// Writes a reply to where the host hears of a command: a socket, or a pipe. There is always room: it holds two.
pub(crate) fn note(status: i32, reply: &Reply) {
    // As in `reply`.
    let _ = sys::write(status, &reply.to_bytes());
}

/// The same, for whoever keeps the socket: a host would wait for what was not sent.
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
    let control_len = if n == 0 { 0 } else { CMSG_HEADER + 8 };
    sys::sendmsg(socket, bytes, &mut control, control_len)
}
