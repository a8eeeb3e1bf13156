// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether a system call is there, asked with arguments that no call accepts.

use nix::errno::Errno;

/// How the kernel, or a filter before it, refuses to know a call; `None` if it looks at the arguments.
pub(crate) fn refused(call: libc::c_long) -> Option<Errno> {
    // SAFETY: descriptors of -1, null pointers and sizes of 0: nothing of this process is read,
    // written or changed. `refused` is private to the library, whose callers name only calls that
    // take a descriptor, a pointer or a range first.
    let done = unsafe { libc::syscall(call, -1_i64, 0_i64, 0_i64, 0_i64, 0_i64, 0_i64) };
    match Errno::result(done) {
        Err(errno @ (Errno::ENOSYS | Errno::EPERM)) => Some(errno),
        _ => None,
    }
}
