// SPDX-License-Identifier: MIT OR Apache-2.0
//! Asks whether a system call exists, with arguments that no call accepts.

use nix::errno::Errno;

/// The errno with which the kernel, or a filter before it, refuses an unknown
/// call; `None` if the arguments were examined.
pub(crate) fn refused(call: libc::c_long) -> Option<Errno> {
    // SAFETY: descriptors of -1, null pointers and sizes of 0: nothing of this
    // process is read, written or changed. `refused` is private to the library,
    // whose callers name only calls that take a descriptor, a pointer or a
    // range first.
    let done = unsafe { libc::syscall(call, -1_i64, 0_i64, 0_i64, 0_i64, 0_i64, 0_i64) };
    match Errno::result(done) {
        Err(errno @ (Errno::ENOSYS | Errno::EPERM)) => Some(errno),
        _ => None,
    }
}
