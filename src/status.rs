// SPDX-License-Identifier: MIT OR Apache-2.0
//! The end of a command: its status, the reason, and what it used.
#![forbid(unsafe_code)]

use serde::Serialize;

/// The end of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Status {
    /// The exit code, unless a signal ended the command or its output was cut.
    pub exit_code: Option<i32>,
    /// The signal that ended the command.
    pub signal: Option<i32>,
    /// True if the command left a core file, which takes `limits.rlimits.core`.
    pub core_dumped: bool,
    /// The reason of the end.
    pub reason: Reason,
    /// The resources that the command used.
    pub usage: Usage,
}

/// The reason of a command's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// By itself, with an exit code.
    Exited,
    /// By a signal from inside.
    Signaled,
    /// Its time was up.
    Timeout,
    /// The kernel killed it for want of memory.
    Oom,
    /// Wrote more than is captured; the rest of its output is lost.
    Output,
    /// The caller killed it, or closed the sandbox.
    Killed,
}

/// The resources that a command used, with the children that it waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Usage {
    /// Nanoseconds from start to end.
    pub wall_ns: u64,
    /// Microseconds of processor time in programs.
    pub user_us: u64,
    /// Microseconds of processor time in the kernel for them.
    pub system_us: u64,
    /// Most memory in use at once while it ran, bytes: the sandbox's where
    /// `limits.memory` counts it, else the largest process's. `None` where that
    /// is not known of this command alone: another ran in the sandbox at the
    /// same time, or the kernel cannot start the count anew (v2 before 6.12)
    /// and it was not the first.
    pub memory_peak: Option<u64>,
    /// Bytes read from disks.
    pub io_read: u64,
    /// Bytes written to disks.
    pub io_written: u64,
    /// Processes of the sandbox that the kernel killed for want of memory while
    /// it ran, its children included. `None` without `limits.memory`, which
    /// counts them.
    pub oom_kills: Option<u64>,
}

impl Status {
    /// Exit status as a shell shows it: the code, or 128 plus the signal; 123
    /// where output was cut, 124 after a timeout.
    pub fn shell_code(&self) -> i32 {
        match (self.reason, self.exit_code, self.signal) {
            (Reason::Output, ..) => 123,
            (Reason::Timeout, ..) => 124,
            (_, Some(code), _) => code,
            (_, None, signal) => 128 + signal.unwrap_or(libc::SIGKILL),
        }
    }

    /// Marks the output as cut: the reason is [`Reason::Output`], there is no
    /// exit code, and the signal is SIGKILL, also where the command ended
    /// first.
    #[must_use]
    pub(crate) fn with_output_cut(self) -> Self {
        Self {
            exit_code: None,
            signal: Some(libc::SIGKILL),
            reason: Reason::Output,
            ..self
        }
    }

    /// Returns whether it ended by itself with exit code 0.
    pub fn success(&self) -> bool {
        self.reason == Reason::Exited && self.exit_code == Some(0)
    }
}
