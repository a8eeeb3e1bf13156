// SPDX-License-Identifier: MIT OR Apache-2.0
//! Signals: sending, blocking, and their actions.

use super::fd::opened;
use super::{Fd, O_CLOEXEC, O_NONBLOCK, Result, calls, syscall};

pub(crate) const SIGKILL: u32 = 9;
pub(crate) const SIGCHLD: u32 = 17;
pub(crate) const SIGSTOP: u32 = 19;

/// Bytes of the kernel's signal set.
pub(super) const SET_BYTES: usize = 8;

calls! {
    /// Sends a signal to a process, or to a group if negative.
    fn kill(pid: i32, signal: u32) = KILL(pid, signal);
}

/// Blocks every signal, or unblocks all.
pub(crate) fn block_signals(all: bool) {
    const SIG_SETMASK: u32 = 2;
    let set: u64 = if all { !0 } else { 0 };
    // SIG_SETMASK of a valid set cannot fail.
    // SAFETY: the kernel reads one set; a null old set is allowed.
    let _ = unsafe { syscall!(RT_SIGPROCMASK, SIG_SETMASK, &raw const set, 0, SET_BYTES) };
}

/// `struct sigaction` of the kernel: handler, flags, restorer, mask.
type Action = [u64; 4];

const SIG_IGN: u64 = 1;

/// Sets every signal to its default action, because ignored signals survive
/// execve(2); returns the ignored ones, signal 1 as bit 0.
pub(crate) fn default_signals() -> u64 {
    let default: Action = [0; 4];
    let mut ignored = 0;
    for signal in 1..=64u32 {
        let mut old: Action = [0; 4];
        let (new, old_at) = (default.as_ptr(), old.as_mut_ptr());
        // SIGKILL and SIGSTOP cannot be set and need not be.
        // SAFETY: the kernel reads one action and writes another; the default
        // action runs no code of this program.
        let _ = unsafe { syscall!(RT_SIGACTION, signal, new, old_at, SET_BYTES) };
        if old[0] == SIG_IGN {
            ignored |= 1 << (signal - 1);
        }
    }
    ignored
}

/// Ignores these signals, as [`default_signals`] returns them.
pub(crate) fn ignore_signals(mut set: u64) {
    let ignore: Action = [SIG_IGN, 0, 0, 0];
    while set != 0 {
        let signal = set.trailing_zeros() + 1;
        // The set has only signals that were ignored before.
        // SAFETY: the kernel reads one action, which runs no code; a null old
        // action is allowed.
        let _ = unsafe { syscall!(RT_SIGACTION, signal, ignore.as_ptr(), 0, SET_BYTES) };
        set &= set - 1;
    }
}

/// Opens a descriptor that is readable while SIGCHLD is pending.
pub(crate) fn signalfd_child() -> Result<Fd> {
    let set: u64 = 1 << (SIGCHLD - 1);
    let flags = O_CLOEXEC | O_NONBLOCK;
    // SAFETY: the kernel reads a set; with -1 signalfd4(2) opens the returned
    // descriptor.
    unsafe { opened(syscall!(SIGNALFD4, -1i32, &raw const set, SET_BYTES, flags)) }
}
