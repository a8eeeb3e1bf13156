// SPDX-License-Identifier: MIT OR Apache-2.0
//! The end of a command.

use std::ffi::c_char;
use std::ptr;

use tare_core::{Reason, Status};

use crate::input::Input;

/// The command has not ended yet.
pub const TARE_REASON_RUNNING: u32 = 0;
/// The command ended by itself, with an exit code.
pub const TARE_REASON_EXITED: u32 = 1;
/// A signal from inside ended the command.
pub const TARE_REASON_SIGNALED: u32 = 2;
/// The time limit expired.
pub const TARE_REASON_TIMEOUT: u32 = 3;
/// The kernel killed the command for want of memory.
pub const TARE_REASON_OOM: u32 = 4;
/// Wrote more than is kept. No success, also where the command ended by itself
/// first.
pub const TARE_REASON_OUTPUT: u32 = 5;
/// The caller killed the command, or closed or reset the sandbox.
pub const TARE_REASON_KILLED: u32 = 6;

/// In a tare_status, a figure that is not known.
pub const TARE_UNKNOWN: u64 = u64::MAX;

/// The end of a command, and its usage, with that of awaited children.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tare_status {
    /// sizeof(tare_status), set by the caller.
    pub size: u64,
    /// One of TARE_REASON_*.
    pub reason: u32,
    /// The exit code; -1 if a signal ended the command, its output was cut, or
    /// it has not ended.
    pub exit_code: i32,
    /// The signal that ended the command, else 0.
    pub signal: i32,
    /// 1 for a core file, else 0.
    pub core_dumped: u32,
    /// Nanoseconds from start to end.
    pub wall_ns: u64,
    /// Microseconds of processor time in programs.
    pub user_us: u64,
    /// Microseconds of processor time in the kernel for them.
    pub system_us: u64,
    /// Most memory in use at once during the command, bytes: the sandbox's if
    /// `limits.memory` counts it, else the largest process's. TARE_UNKNOWN if
    /// the figure is not this command's alone: another ran in the sandbox at
    /// the same time, or the kernel cannot restart the count (cgroup v2 before
    /// Linux 6.12) and the command was not the first.
    pub memory_peak: u64,
    /// Bytes read from disks.
    pub io_read: u64,
    /// Bytes written to disks.
    pub io_written: u64,
    /// Processes of the sandbox that the kernel killed for want of memory
    /// during the command, its children included; TARE_UNKNOWN without
    /// `limits.memory`, which counts them.
    pub oom_kills: u64,
}

// SAFETY: `repr(C)`, begins with the size, numbers without padding.
unsafe impl Input for tare_status {
    const NAME: &'static str = "tare_status";
}

fn number(reason: Reason) -> u32 {
    match reason {
        Reason::Exited => TARE_REASON_EXITED,
        Reason::Signaled => TARE_REASON_SIGNALED,
        Reason::Timeout => TARE_REASON_TIMEOUT,
        Reason::Oom => TARE_REASON_OOM,
        Reason::Output => TARE_REASON_OUTPUT,
        Reason::Killed => TARE_REASON_KILLED,
    }
}

impl From<Option<Status>> for tare_status {
    /// `None` for a command that still runs.
    fn from(status: Option<Status>) -> Self {
        let usage = status.map(|s| s.usage).unwrap_or_default();
        Self {
            size: 0,
            reason: status.map_or(TARE_REASON_RUNNING, |s| number(s.reason)),
            exit_code: status.and_then(|s| s.exit_code).unwrap_or(-1),
            signal: status.and_then(|s| s.signal).unwrap_or(0),
            core_dumped: status.map_or(0, |s| u32::from(s.core_dumped)),
            wall_ns: usage.wall_ns,
            user_us: usage.user_us,
            system_us: usage.system_us,
            memory_peak: usage.memory_peak.unwrap_or(TARE_UNKNOWN),
            io_read: usage.io_read,
            io_written: usage.io_written,
            oom_kills: usage.oom_kills.unwrap_or(TARE_UNKNOWN),
        }
    }
}

/// The word for one of TARE_REASON_*, for example `timeout`: the same word in
/// every face.
///
/// Returns: text; NULL for an unknown number.
/// Ownership: the text is the library's and stays.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_reason_name(reason: u32) -> *const c_char {
    let word = match reason {
        TARE_REASON_RUNNING => c"running",
        TARE_REASON_EXITED => c"exited",
        TARE_REASON_SIGNALED => c"signaled",
        TARE_REASON_TIMEOUT => c"timeout",
        TARE_REASON_OOM => c"oom",
        TARE_REASON_OUTPUT => c"output",
        TARE_REASON_KILLED => c"killed",
        _ => return ptr::null(),
    };
    word.as_ptr()
}
