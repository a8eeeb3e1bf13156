// SPDX-License-Identifier: MIT OR Apache-2.0
//! Descriptors by number: fcntl(2).

use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};

use nix::errno::Errno;

/// A copy of its own of whatever has this number; close-on-exec, and none of the standard streams.
pub(crate) fn duplicate(number: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: the call takes numbers only; what it returns is a new descriptor that nobody else owns.
    unsafe {
        let fd = Errno::result(libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}
