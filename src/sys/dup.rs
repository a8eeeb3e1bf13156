// SPDX-License-Identifier: MIT OR Apache-2.0
//! Descriptors by number: fcntl(2).

use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};

use nix::errno::Errno;

/// Copies the descriptor of this number; close-on-exec, and never a standard
/// stream.
pub(crate) fn duplicate(number: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: the call takes numbers only; the result is a new descriptor
    // without another owner.
    unsafe {
        let fd = Errno::result(libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}
