// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finds the command of a process that left the command's session and lost its
//! parents.
//!
//! Process 1 adopts such processes, and their descent is lost. Three marks
//! remain:
//!
//! - A command may have a cgroup v2 of its own, which no process inside leaves.
//! - A command that began in an empty sandbox owns all processes in the
//!   sandbox's own cgroup, as long as no other command began there.
//! - Each other command gets a hard RLIMIT_LOCKS of its own, which all its
//!   processes inherit. No kernel since 2.4.25 enforces this limit. Raising it
//!   takes CAP_SYS_RESOURCE. A process may lower the limit, and so pass for a
//!   process of another command.
#![forbid(unsafe_code)]

use core::ffi::CStr;

use crate::decimal;
use crate::dir;
use crate::sys::{self, RLIMIT_LOCKS, Result};

/// Marks of the commands since the sandbox was last empty.
#[derive(Default)]
pub(crate) struct Marks {
    /// Number of the command that began in the empty sandbox, 0 for no command.
    /// That command has no tag.
    first: u64,
    /// True after a command began in the sandbox's own cgroup beside others.
    shared: bool,
    /// True after a tag could not be set.
    lost: bool,
    /// Hard limit without a tag; 0 before the first tag.
    top: u64,
    /// Largest number of a command with a tag.
    last: u64,
}

impl Marks {
    /// Notes a command that begins in the sandbox's own cgroup; returns true if
    /// the command needs a tag.
    pub(crate) fn begin(&mut self, id: u64, empty: bool) -> bool {
        if empty {
            *self = Self::default();
            self.first = id;
        }
        self.shared |= !empty;
        !empty
    }

    /// Notes the tag of a command, if it was set.
    pub(crate) fn tagged(&mut self, id: u64, tag: Option<u64>) {
        match tag {
            Some(tag) => (self.top, self.last) = (tag + id + 1, self.last.max(id)),
            None => self.lost = true,
        }
    }

    /// Returns the owner of a running or ended command.
    pub(crate) fn owner(&self, id: u64) -> Owner {
        let base = match self {
            Self { lost: true, .. } => Base::Nothing,
            _ if self.first != id => Base::Tag(self.top.saturating_sub(id + 1)),
            Self { shared: false, .. } => Base::All,
            _ => Base::Untagged(self.top.saturating_sub(self.last + 1)..self.top),
        };
        Owner { id, base }
    }
}

/// Sets the tag of the calling process: its hard limit, less the number of the
/// command.
pub(crate) fn tag(id: u64) -> Option<u64> {
    let [soft, hard] = sys::getrlimit(RLIMIT_LOCKS).ok()?;
    let tag = hard.checked_sub(id + 1)?;
    sys::setrlimit(RLIMIT_LOCKS, &[soft.min(tag), tag]).ok()?;
    Some(tag)
}

/// Processes in the sandbox's own cgroup that a command owns.
enum Base {
    Nothing,
    All,
    /// Processes whose limit is outside this range.
    Untagged(core::ops::Range<u64>),
    /// Processes with this limit; 0 is no tag.
    Tag(u64),
}

/// The set of adopted processes that a command owns.
pub(crate) struct Owner {
    id: u64,
    base: Base,
}

impl Owner {
    /// Returns whether the command owns this process; `proc` is a procfs,
    /// `home` the cgroup of process 1.
    pub(crate) fn owns(&self, proc: i32, name: &CStr, home: &Cgroup) -> bool {
        // An unreadable process has ended.
        let Ok(cgroup) = Cgroup::of(proc, name.to_bytes()) else {
            return false;
        };
        match (cgroup.command_below(home), &self.base) {
            (Some(command), _) => command == self.id,
            (None, Base::All) => true,
            (None, Base::Nothing | Base::Tag(0)) => false,
            (None, Base::Tag(tag)) => hard_locks(proc, name) == Some(*tag),
            (None, Base::Untagged(tags)) => {
                hard_locks(proc, name).is_some_and(|limit| !tags.contains(&limit))
            }
        }
    }
}

/// Path of a process in the cgroup v2 hierarchy, cgroups(7); empty without such
/// a hierarchy.
pub(crate) struct Cgroup {
    text: [u8; Self::SIZE],
    path: (usize, usize),
}

impl Cgroup {
    /// A path, and a line for each hierarchy of v1.
    const SIZE: usize = 8192;

    pub(crate) fn of(proc: i32, process: &[u8]) -> Result<Self> {
        let mut text = [0u8; Self::SIZE];
        let n = dir::read_file(proc, &[process, b"/cgroup"], &mut text)?.len();
        let mut at = 0;
        for line in text[..n].split_inclusive(|b| *b == b'\n') {
            if line.starts_with(b"0::") && line.ends_with(b"\n") {
                let path = (at + 3, at + line.len() - 1);
                return Ok(Self { text, path });
            }
            at += line.len();
        }
        Ok(Self { text, path: (0, 0) })
    }

    fn path(&self) -> &[u8] {
        &self.text[self.path.0..self.path.1]
    }

    /// Returns the number of the command whose cgroup, a child of `home`,
    /// contains this path.
    fn command_below(&self, home: &Self) -> Option<u64> {
        let home = home.path();
        let below = self
            .path()
            .strip_prefix(home.strip_suffix(b"/").unwrap_or(home))?;
        let number = below.strip_prefix(b"/tare-command-")?;
        // The path of a removed cgroup ends with " (deleted)".
        let number = number.split(|b| !b.is_ascii_digit()).next()?;
        decimal::number(number).and_then(|n| u64::try_from(n).ok())
    }
}

/// Reads the hard RLIMIT_LOCKS of a process from proc_pid_limits(5).
fn hard_locks(proc: i32, name: &CStr) -> Option<u64> {
    let mut text = [0u8; 4096];
    let text = dir::read_file(proc, &[name.to_bytes(), b"/limits"], &mut text).ok()?;
    let line = text
        .split(|b| *b == b'\n')
        .find_map(|line| line.strip_prefix(b"Max file locks"))?;
    let hard = line
        .split(|b| *b == b' ')
        .filter(|word| !word.is_empty())
        .nth(1)?;
    match hard {
        b"unlimited" => Some(u64::MAX),
        digits => digits.iter().try_fold(0u64, |n, b| {
            n.checked_mul(10)?
                .checked_add(u64::from(b.checked_sub(b'0').filter(|d| *d < 10)?))
        }),
    }
}
