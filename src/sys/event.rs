// SPDX-License-Identifier: MIT OR Apache-2.0
//! Descriptors to poll that this process makes readable itself, eventfd(2).

use std::os::fd::{BorrowedFd, FromRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::unistd::write;

/// A descriptor that is not readable yet, and never blocks.
pub(crate) fn event() -> Result<OwnedFd, Errno> {
    // SAFETY: the call takes two numbers; the result is a new descriptor that
    // nothing else owns.
    unsafe { owned(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK)) }
}

/// Makes it readable.
pub(crate) fn raise(event: BorrowedFd<'_>) {
    // It can fail only where the count is full, and then it is readable.
    let _ = write(event, &1u64.to_ne_bytes());
}

/// # Safety
/// `fd` is an error or a new descriptor that nothing else owns.
unsafe fn owned(fd: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: this function's own.
    Ok(unsafe { OwnedFd::from_raw_fd(Errno::result(fd)?) })
}
