// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tells whose a process is that left its command's session and lost its
//! parents.
//!
//! Process 1 adopts each such process, and its descent is lost. Three marks
//! remain:
//!
//! - A command may have a cgroup v2 of its own, which nothing inside leaves.
//! - A command that began in an empty sandbox owns all in the sandbox's own
//!   cgroup, as long as no other one began there.
//! - Each other command gets a hard RLIMIT_LOCKS of its own, which it inherits
//!   to all that it starts. The kernel enforces no such limit since 2.4.25.
//!   Raising it takes CAP_SYS_RESOURCE; a process may lower it, and so pass for
//!   another command's.

use core::ffi::CStr;

use crate::decimal;
use crate::dir;
use crate::sys::{self, O_RDONLY, RLIMIT_LOCKS, Result};

/// Marks that the commands of a sandbox were given since it was last empty.
#[derive(Default)]
pub(crate) struct Marks {
    /// Number of the command that began in the empty sandbox, 0 for none; it
    /// has no tag.
    first: u64,
    /// Some command began in the sandbox's own cgroup beside what was there.
    shared: bool,
    /// Some command could not be given its tag.
    lost: bool,
    /// What the hard limit is without a tag; 0 if no tag was given yet.
    top: u64,
    /// Largest number of a command with a tag.
    last: u64,
}

impl Marks {
    /// Notes a command that begins in the sandbox's own cgroup; true if it
    /// needs a tag.
    pub(crate) fn begin(&mut self, id: u64, empty: bool) -> bool {
        if empty {
            *self = Self {
                first: id,
                ..Self::default()
            };
        }
        self.shared |= !empty;
        !empty
    }

    /// Notes the tag of a command, if it could be given one.
    pub(crate) fn tagged(&mut self, id: u64, tag: Option<u64>) {
        match tag {
            Some(tag) => (self.top, self.last) = (tag + id + 1, self.last.max(id)),
            None => self.lost = true,
        }
    }

    /// What a command owns; also of one that has ended.
    pub(crate) fn owner(&self, id: u64) -> Owner {
        let base = match self {
            Self { lost: true, .. } => Base::Nothing,
            Self {
                first,
                shared: false,
                ..
            } if *first == id => Base::All,
            Self { first, .. } if *first == id => {
                Base::Untagged(self.top.saturating_sub(self.last + 1)..self.top)
            }
            _ => Base::Tag(self.top.saturating_sub(id + 1)),
        };
        Owner { id, base }
    }
}

/// Gives the calling process the tag of a command: its hard limit, less the
/// command's number.
pub(crate) fn tag(id: u64) -> Option<u64> {
    let [soft, hard] = sys::getrlimit(RLIMIT_LOCKS).ok()?;
    let tag = hard.checked_sub(id + 1)?;
    sys::setrlimit(RLIMIT_LOCKS, &[soft.min(tag), tag]).ok()?;
    Some(tag)
}

/// Of the processes in the sandbox's own cgroup, those that a command owns.
enum Base {
    Nothing,
    All,
    /// Those whose limit is none of these.
    Untagged(core::ops::Range<u64>),
    /// Those whose limit is this; 0 is no tag.
    Tag(u64),
}

/// What a command owns of the processes that process 1 adopted.
pub(crate) struct Owner {
    id: u64,
    base: Base,
}

impl Owner {
    /// Whether the command owns this process; `proc` is a procfs, `home` the
    /// cgroup of process 1 in it.
    pub(crate) fn owns(&self, proc: i32, name: &CStr, home: &Cgroup) -> bool {
        // A process that cannot be read has ended.
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

/// The path of a process in the cgroup v2 hierarchy, cgroups(7); empty without
/// one.
pub(crate) struct Cgroup {
    text: [u8; Self::SIZE],
    path: (usize, usize),
}

impl Cgroup {
    /// A path, and a line for each hierarchy of v1.
    const SIZE: usize = 8192;

    pub(crate) fn of(proc: i32, process: &[u8]) -> Result<Self> {
        let mut path = [0u8; 32];
        let file = sys::openat(
            proc,
            dir::join(&mut path, &[process, b"/cgroup"])?,
            O_RDONLY,
            0,
        )?;
        let mut text = [0u8; Self::SIZE];
        let n = sys::read(file.raw(), &mut text)?;
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

    /// The number of the command whose cgroup, a child of `home`, this is, or
    /// is below.
    fn command_below(&self, home: &Self) -> Option<u64> {
        let home = home.path();
        let below = self
            .path()
            .strip_prefix(home.strip_suffix(b"/").unwrap_or(home))?;
        let number = below.strip_prefix(b"/tare-command-")?;
        // A removed one has " (deleted)" behind it.
        let number = number.split(|b| !b.is_ascii_digit()).next()?;
        decimal::number(number).and_then(|n| u64::try_from(n).ok())
    }
}

/// The hard RLIMIT_LOCKS of a process, from its proc_pid_limits(5).
fn hard_locks(proc: i32, name: &CStr) -> Option<u64> {
    let mut path = [0u8; 32];
    let file = sys::openat(
        proc,
        dir::join(&mut path, &[name.to_bytes(), b"/limits"]).ok()?,
        O_RDONLY,
        0,
    )
    .ok()?;
    let mut text = [0u8; 4096];
    let n = sys::read(file.raw(), &mut text).ok()?;
    let line = text[..n]
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
