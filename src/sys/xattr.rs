// SPDX-License-Identifier: MIT OR Apache-2.0
//! Extended attributes by descriptor: fsetxattr(2), fremovexattr(2).

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// Sets `name` to `value`, creating or replacing the attribute.
pub(crate) fn set(fd: BorrowedFd<'_>, name: &CStr, value: &[u8]) -> nix::Result<()> {
    // SAFETY: `name` is NUL-terminated and `value` is readable for its length
    // by their types; both borrows outlive the call, and the kernel writes to
    // neither.
    let rc = unsafe {
        libc::fsetxattr(
            fd.as_raw_fd(),
            name.as_ptr(),
            value.as_ptr().cast(),
            value.len(),
            0,
        )
    };
    Errno::result(rc).map(drop)
}

/// Removes `name`; `ENODATA` if there is none.
pub(crate) fn remove(fd: BorrowedFd<'_>, name: &CStr) -> nix::Result<()> {
    // SAFETY: `name` is NUL-terminated by its type and outlives the call.
    let rc = unsafe { libc::fremovexattr(fd.as_raw_fd(), name.as_ptr()) };
    Errno::result(rc).map(drop)
}
