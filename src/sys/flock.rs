// SPDX-License-Identifier: MIT OR Apache-2.0
//! flock(2): nix's safe form unlocks when dropped, which must not happen in a
//! fork's copy.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::errno::Errno;

/// Operations on the lock of an open file description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Hold the lock together with other holders of this kind.
    Shared,
    /// Hold the lock alone.
    Exclusive,
    /// Release the lock, for every descriptor of this open file description.
    Unlock,
}

/// Takes, changes or drops the lock without waiting; false if another holder is
/// in the way. A change between the kinds is not atomic.
pub(crate) fn try_flock(fd: BorrowedFd<'_>, operation: Operation) -> nix::Result<bool> {
    let operation = match operation {
        Operation::Shared => libc::LOCK_SH,
        Operation::Exclusive => libc::LOCK_EX,
        Operation::Unlock => libc::LOCK_UN,
    };
    loop {
        // SAFETY: flock takes no pointers; the borrow keeps the descriptor
        // open.
        match Errno::result(unsafe { libc::flock(fd.as_raw_fd(), operation | libc::LOCK_NB) }) {
            Ok(_) => return Ok(true),
            Err(Errno::EWOULDBLOCK) => return Ok(false),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}
