// SPDX-License-Identifier: MIT OR Apache-2.0
//! Processes by descriptor: pidfd_open(2), pidfd_send_signal(2).

use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::poll::is_readable;

/// A descriptor for the calling process.
pub(crate) fn open_self() -> Result<OwnedFd, Errno> {
    // SAFETY: the call takes two numbers; the result is a new descriptor
    // without another owner.
    unsafe {
        let fd = Errno::result(libc::syscall(libc::SYS_pidfd_open, libc::getpid(), 0))?;
        Ok(OwnedFd::from_raw_fd(fd as i32))
    }
}

/// Returns the process's number in this pid namespace, proc_pid_fdinfo(5); none
/// once it is reaped.
pub(crate) fn number(process: BorrowedFd<'_>) -> Option<u32> {
    let path = format!("/proc/self/fdinfo/{}", process.as_raw_fd());
    let text = std::fs::read_to_string(path).ok()?;
    let number = text.lines().find_map(|line| line.strip_prefix("Pid:"))?;
    number.trim().parse().ok()
}

/// Returns whether the process has ended; false if the poll fails.
pub(crate) fn has_ended(process: BorrowedFd<'_>) -> bool {
    is_readable(process)
}

/// Sends a signal; ESRCH if the process has been waited for.
pub(crate) fn send_signal(process: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    let null = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo is allowed; the kernel then fills in its own.
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

/// Waits until the process has ended, for at most this many milliseconds.
pub(crate) fn await_end(process: BorrowedFd<'_>, most_ms: u16) {
    let mut fds = [PollFd::new(process, PollFlags::POLLIN)];
    // Interrupted or too late: the caller looks for itself.
    let _ = poll(&mut fds, PollTimeout::from(most_ms));
}

/// Returns whether the living process `pid` is a child of this process.
pub(crate) fn is_child(pid: u32) -> bool {
    look(
        libc::P_PID,
        pid,
        libc::WEXITED | libc::WNOHANG | libc::WNOWAIT,
    )
    .is_ok()
}

/// Takes the status of the child `pid` after its end; of no other child.
pub(crate) fn reap(pid: u32) {
    // ECHILD: the host has done so itself.
    let _ = look(libc::P_PID, pid, libc::WEXITED | libc::WNOHANG);
}

fn look(kind: libc::idtype_t, id: u32, options: libc::c_int) -> Result<(), Errno> {
    // SAFETY: zero bytes are an empty `siginfo_t`, which outlives the call.
    let done = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        libc::waitid(kind, id, &raw mut info, options)
    };
    Errno::result(done).map(drop)
}

/// Takes the status of a child that is about to end, as [`await_end`] and
/// [`reap`].
pub(crate) fn reap_ended(process: BorrowedFd<'_>) {
    await_end(process, 2000);
    let number = process.as_raw_fd() as u32;
    // ECHILD: not a child of this process.
    let _ = look(libc::P_PIDFD, number, libc::WEXITED | libc::WNOHANG);
}
