// SPDX-License-Identifier: MIT OR Apache-2.0
//! Processes by descriptor: pidfd_open(2), pidfd_send_signal(2).

use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// A descriptor for the calling process.
pub(crate) fn open_self() -> Result<OwnedFd, Errno> {
    // SAFETY: the call takes two numbers; what it returns is a new descriptor that nobody else owns.
    unsafe {
        let fd = Errno::result(libc::syscall(libc::SYS_pidfd_open, libc::getpid(), 0))?;
        Ok(OwnedFd::from_raw_fd(fd as i32))
    }
}

/// Whether the process has ended; a poll that fails says nothing, so not then.
pub(crate) fn has_ended(process: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(process, PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO) == Ok(1)
}

/// Sends a signal; ESRCH if the process has been waited for.
pub(crate) fn send_signal(process: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    let null = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo is allowed and means that the kernel fills it in.
    let done = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            signal,
            null,
            0,
        )
    };
    Errno::result(done).map(drop)
}
