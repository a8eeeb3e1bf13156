// SPDX-License-Identifier: MIT OR Apache-2.0
//! The answers of a filter to a call.
#![forbid(unsafe_code)]

/// The answer to a call, from the least restrictive to the most, seccomp(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(super) enum Action {
    Allow,
    Log,
    Errno(u16),
    Trap,
    KillThread,
    KillProcess,
}

impl Action {
    pub(super) const ENOSYS: Self = Self::Errno(libc::ENOSYS as u16);

    /// The return value of a program for this action.
    pub(super) fn value(self) -> u32 {
        match self {
            Self::Allow => libc::SECCOMP_RET_ALLOW,
            Self::Log => libc::SECCOMP_RET_LOG,
            Self::Errno(errno) => libc::SECCOMP_RET_ERRNO | u32::from(errno),
            Self::Trap => libc::SECCOMP_RET_TRAP,
            Self::KillThread => libc::SECCOMP_RET_KILL_THREAD,
            Self::KillProcess => libc::SECCOMP_RET_KILL_PROCESS,
        }
    }

    /// Returns whether the kernel prefers `self` when two programs disagree.
    /// Two errnos are equal here.
    pub(super) fn is_stricter_than(self, other: Self) -> bool {
        !matches!((self, other), (Self::Errno(_), Self::Errno(_))) && self > other
    }
}
