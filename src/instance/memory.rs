// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counts the commands that run at once in a sandbox, and measures the memory
//! of each: a mark at the start, a reading at the end.
#![forbid(unsafe_code)]

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Instance;

/// Commands that run at once, which share the count of the sandbox's memory.
#[derive(Debug, Default)]
pub(crate) struct MemoryUse(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// Commands whose end is not yet known.
    running: u64,
    /// Commands started so far.
    started: u64,
    /// True if ended commands may have left processes.
    left: bool,
}

/// Start of a command in the count of the sandbox's memory.
#[derive(Debug, Default)]
pub(crate) struct MemoryMark {
    /// Kills for want of memory before the start; `None` without
    /// `limits.memory`.
    oom_kills: Option<u64>,
    /// True if the command began beside others, or beside processes that others
    /// left.
    pub(crate) beside: bool,
    /// Number of the command, if the peak is this command's alone until the
    /// next starts.
    alone: Option<u64>,
    /// KERNEL(6.12): descriptor of `memory.peak` whose peak began with the
    /// command.
    peak: Option<OwnedFd>,
    /// True while the command counts as running.
    counted: AtomicBool,
}

impl MemoryUse {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a command as ended; a second call for the same command does
    /// nothing. `left` is true if processes may be left in the sandbox, `None`
    /// if that is as before.
    pub(crate) fn leave(&self, mark: &MemoryMark, left: Option<bool>) {
        // The reply counts the command as ended, and the drop does so again.
        if mark.counted.swap(false, Ordering::Relaxed) {
            let mut counts = self.counts();
            counts.running -= 1;
            counts.left = left.unwrap_or(counts.left);
        }
    }
}

impl Instance {
    /// Marks the start of a command; makes no system call without
    /// `limits.memory`.
    pub(crate) fn mark_memory(&self) -> MemoryMark {
        // Outside of the lock, which other starts wait for.
        let oom_kills = self.setup.counts_memory.then(|| self.cgroup().oom_kills());
        let mut counts = self.memory.counts();
        counts.started += 1;
        counts.running += 1;
        let mut mark = MemoryMark {
            oom_kills: oom_kills.flatten(),
            counted: AtomicBool::new(true),
            beside: counts.running > 1 || counts.left,
            ..MemoryMark::default()
        };
        if self.setup.counts_memory && counts.running == 1 {
            // Under the lock, so that no later command resets the peak of this
            // command.
            let reset = self.cgroup().reset_memory_peak();
            // KERNEL(6.12): before, v2 cannot reset the peak. The first command
            // has the peak for itself all the same.
            let own = reset.is_ok() || counts.started == 1;
            mark.alone = own.then_some(counts.started);
            mark.peak = reset.unwrap_or_default();
        }
        mark
    }

    /// Kills for want of memory since `mark`.
    pub(crate) fn oom_kills_since(&self, mark: &MemoryMark) -> Option<u64> {
        let before = mark.oom_kills?;
        Some(self.cgroup().oom_kills()?.saturating_sub(before))
    }

    /// Most memory in use at once since `mark`; `None` if other commands ran
    /// meanwhile.
    pub(crate) fn memory_peak_since(&self, mark: &MemoryMark) -> Option<u64> {
        let number = mark.alone?;
        let peak = match &mark.peak {
            Some(file) => self.cgroup().memory_peak_of(file),
            None => self.cgroup().memory_peak(),
        };
        // Read after the peak: a command that started before then may be part
        // of the peak.
        (self.memory.counts().started == number).then_some(peak)?
    }
}
