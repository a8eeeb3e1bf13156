// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sequenced-packet sockets that carry descriptors, unix(7).

use std::io::IoSlice;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, Shutdown, SockFlag, SockType, UnixAddr, sendmsg,
    setsockopt, shutdown, socketpair, sockopt,
};

/// A connected pair, close-on-exec.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )
}

/// Makes the kernel name the sender of each packet that arrives here, unix(7).
pub(crate) fn tell_senders(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    setsockopt(&socket, sockopt::PassCred, &true)
}

/// Ends the connection in both directions, also for other processes with a
/// descriptor.
pub(crate) fn shut_down(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    shutdown(socket.as_raw_fd(), Shutdown::Both)
}

/// Sends a packet.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    parts: &[&[u8]],
    fds: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    let slices: Vec<IoSlice<'_>> = parts.iter().map(|p| IoSlice::new(p)).collect();
    let raw: Vec<RawFd> = fds.iter().map(|fd| fd.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &[][..] } else { &rights };
    loop {
        match sendmsg::<UnixAddr>(
            socket.as_raw_fd(),
            &slices,
            control,
            MsgFlags::MSG_NOSIGNAL,
            None,
        ) {
            Err(Errno::EINTR) => {}
            other => return other.map(drop),
        }
    }
}

/// Receives a packet of at most `into.len()` bytes and two descriptors; 0 bytes
/// at end of file.
///
/// # Errors
/// `EMFILE` when this process has no number left for a descriptor of the
/// packet; the rest of the packet is lost.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    into: &mut [u8],
    wait: bool,
) -> Result<(usize, Vec<OwnedFd>), Errno> {
    match receive_once(socket, into, wait)? {
        // The kernel looks for a packet first, then whether the other end is
        // closed. A packet sent just before the close is reported as end of
        // file, and is still there.
        (0, _) => receive_once(socket, into, wait),
        received => Ok(received),
    }
}

fn receive_once(
    socket: BorrowedFd<'_>,
    into: &mut [u8],
    wait: bool,
) -> Result<(usize, Vec<OwnedFd>), Errno> {
    // A header of two words and two descriptors.
    let mut control = [0u64; 3];
    let mut part = libc::iovec {
        iov_base: into.as_mut_ptr().cast(),
        iov_len: into.len(),
    };
    // SAFETY: zero bytes are an empty message.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    let flags = libc::MSG_CMSG_CLOEXEC | if wait { 0 } else { libc::MSG_DONTWAIT };
    // SAFETY: the message points to `into` and `control`, both exclusively
    // borrowed, with their lengths.
    let bytes = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
    let bytes = Errno::result(bytes)?;
    // Not by nix, which gives up on truncated control data and so loses the
    // descriptors.
    let fds = descriptors(&message);
    match message.msg_flags & libc::MSG_CTRUNC {
        0 => Ok((bytes as usize, fds)),
        _ => Err(Errno::EMFILE),
    }
}

/// The descriptors that came with a message, cmsg(3).
fn descriptors(message: &libc::msghdr) -> Vec<OwnedFd> {
    let mut fds = Vec::new();
    // SAFETY: the kernel has filled the control buffer, whose headers these
    // walk; the descriptors inside were installed for this message and have no
    // other owner.
    unsafe {
        let mut at = libc::CMSG_FIRSTHDR(message);
        while let Some(part) = at.as_ref() {
            if (part.cmsg_level, part.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
                let len = part.cmsg_len - libc::CMSG_LEN(0) as usize;
                let first = libc::CMSG_DATA(at).cast::<RawFd>();
                for n in 0..len / size_of::<RawFd>() {
                    fds.push(OwnedFd::from_raw_fd(first.add(n).read_unaligned()));
                }
            }
            at = libc::CMSG_NXTHDR(message, at);
        }
    }
    fds
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;
    use std::sync::mpsc::sync_channel;
    use std::thread::{scope, spawn};

    use super::*;

    /// Enough for the kernel to tell the end of the file too early some ten
    /// times (6.18, two processors, more threads than those).
    const ROUNDS: usize = 20_000;
    const THREADS: usize = 4;

    /// A command's result comes right before its socket closes.
    #[test]
    fn receive_last_packet_comes_before_the_end_of_the_file() {
        scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(receive_last_packets);
            }
        });
    }

    fn receive_last_packets() {
        let (hand, given) = sync_channel::<OwnedFd>(1);
        let other_end = spawn(move || {
            for socket in given {
                send(socket.as_fd(), &[b"last"], &[]).unwrap();
            }
        });
        for round in 0..ROUNDS {
            let (ours, theirs) = pair().unwrap();
            hand.send(theirs).unwrap();
            let mut bytes = [0; 8];
            let n = loop {
                match receive(ours.as_fd(), &mut bytes, false) {
                    Err(Errno::EAGAIN) => {}
                    other => break other.unwrap().0,
                }
            };
            assert_eq!(&bytes[..n], b"last", "in round {round}");
            let end = receive(ours.as_fd(), &mut bytes, true);
            assert!(matches!(end, Ok((0, _))), "{end:?}");
        }
        drop(hand);
        other_end.join().unwrap();
    }
}
