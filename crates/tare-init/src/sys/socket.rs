// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sockets and waiting for input.

use super::signal::SET_BYTES;
use super::time::Timeout;
use super::{Errno, Fd, Result, calls, exit, syscall};

pub(crate) const MSG_CTRUNC: i32 = 0x8;
pub(crate) const MSG_TRUNC: i32 = 0x20;
pub(crate) const MSG_DONTWAIT: u32 = 0x40;
const AF_INET: u32 = 2;
const SOCK_DGRAM_CLOEXEC: u32 = 2 | 0x80000;
const MSG_NOSIGNAL: u32 = 0x4000;
const MSG_CMSG_CLOEXEC: u32 = 0x4000_0000;

/// `struct iovec`: address and length.
type IoVec = [usize; 2];

/// `struct msghdr`.
#[repr(C)]
#[derive(Default)]
struct MsgHdr {
    name: [usize; 2],
    iov: usize,
    iov_len: usize,
    control: usize,
    control_len: usize,
    flags: i32,
}

impl MsgHdr {
    /// Describes a buffer and control data of `control_len` bytes.
    fn new(iov: &IoVec, control: *mut u64, control_len: usize) -> Self {
        Self {
            iov: iov.as_ptr() as usize,
            iov_len: 1,
            control: control as usize,
            control_len,
            ..Self::default()
        }
    }
}

/// Result of recvmsg(2).
pub(crate) struct Received {
    /// Bytes of the message; 0 at end of file.
    pub(crate) len: usize,
    /// Bytes of the control data.
    pub(crate) control_len: usize,
    /// `MSG_TRUNC` and the like.
    pub(crate) flags: i32,
}

/// Receives a message. Descriptors are close-on-exec, and only `control` names
/// them.
pub(crate) fn recvmsg(
    socket: i32,
    buffer: &mut [u8],
    control: &mut [u64],
    flags: u32,
) -> Result<Received> {
    let iov = [buffer.as_mut_ptr() as usize, buffer.len()];
    let mut header = MsgHdr::new(&iov, control.as_mut_ptr(), size_of_val(control));
    let flags = MSG_CMSG_CLOEXEC | flags;
    // SAFETY: the kernel writes at most as many bytes as both buffers have, and
    // the header.
    let len = unsafe { syscall!(RECVMSG, socket, &raw mut header, flags) }?;
    Ok(Received {
        len,
        control_len: header.control_len,
        flags: header.flags,
    })
}

/// Sends a message with control data; never waits.
pub(crate) fn sendmsg(socket: i32, bytes: &[u8], control: &mut [u64]) -> Result<()> {
    let iov = [bytes.as_ptr() as usize, bytes.len()];
    let header = MsgHdr::new(&iov, control.as_mut_ptr(), size_of_val(control));
    let flags = MSG_NOSIGNAL | MSG_DONTWAIT;
    // SAFETY: sendmsg(2) only reads, at most as many bytes as both buffers
    // have.
    unsafe { syscall!(SENDMSG, socket, &raw const header, flags) }.map(drop)
}

calls! {
    /// Opens a socket to configure interfaces, netdevice(7).
    fn interface_socket() -> Fd = SOCKET(AF_INET, SOCK_DGRAM_CLOEXEC, 0);
}

/// Sets the flags of an interface: SIOCSIFFLAGS.
pub(crate) fn set_interface_flags(socket: &Fd, name: &[u8; 16], flags: u16) -> Result<()> {
    const SIOCSIFFLAGS: u32 = 0x8914;
    /// `struct ifreq`: the name, then a union of 24 bytes.
    const IFREQ: usize = 40;
    let mut request = [0u8; IFREQ];
    request[..16].copy_from_slice(name);
    request[16..18].copy_from_slice(&flags.to_ne_bytes());
    // SAFETY: the kernel reads and writes one `struct ifreq`.
    unsafe { syscall!(IOCTL, socket.raw(), SIOCSIFFLAGS, request.as_mut_ptr()) }.map(drop)
}

/// `struct pollfd`.
#[repr(C)]
pub(crate) struct PollFd {
    pub(crate) fd: i32,
    events: i16,
    pub(crate) revents: i16,
}

impl PollFd {
    /// Waits for input of a descriptor; a negative number is ignored.
    pub(crate) fn input(fd: i32) -> Self {
        const POLLIN: i16 = 1;
        Self {
            fd,
            events: POLLIN,
            revents: 0,
        }
    }
}

/// Waits for input, for ever with `None`; returns the number of ready
/// descriptors.
pub(crate) fn poll(fds: &mut [PollFd], timeout_ns: Option<u64>) -> Result<usize> {
    let (time, at, n) = (Timeout::new(timeout_ns), fds.as_mut_ptr(), fds.len());
    // SAFETY: the kernel writes `n` entries; the time is null or two integers;
    // a null signal mask changes none.
    unsafe { syscall!(PPOLL, at, n, time.as_ptr(), 0, SET_BYTES) }
}

/// Waits for input as [`poll`]; may return without input after a signal.
///
/// Ends the process if an outer filter refuses to wait, because the process
/// could only spin.
pub(crate) fn await_input(fds: &mut [PollFd], timeout_ns: Option<u64>) {
    match poll(fds, timeout_ns) {
        Err(errno) if errno != Errno::INTR && !errno.is_of_machine() => exit(errno.0),
        _ => {}
    }
}
