// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finds and removes the cgroups of sandboxes that [`may_live`] excludes: the
//! host is gone, or the helper was killed.
#![forbid(unsafe_code)]

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use super::kill::kill_all;
use super::layout::{Hierarchy, Layout};
use super::node::Node;
use super::{PREFIX, directory_name, is_denied};
use crate::error::{Error, Kind, Result, Step};

/// The process that owns a sandbox, as its id begins: `PID-STARTTIME`. The time
/// of start tells it from a later process with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    pid: u32,
    /// Field 22 of `/proc/PID/stat`: clock ticks since boot.
    start: u64,
}

impl Owner {
    /// This process.
    ///
    /// # Errors
    /// When `/proc/self/stat` cannot be read.
    pub(crate) fn current() -> Result<Self> {
        let stat = fs::read_to_string("/proc/self/stat")
            .map_err(|e| Error::io(Step::ReadOwnStartTime, "/proc/self/stat", e))?;
        let stat = Stat::parse(&stat)
            .ok_or_else(|| Error::new(Kind::Broken, Step::ReadOwnStartTime, "/proc/self/stat"))?;
        Ok(Self {
            pid: std::process::id(),
            start: stat.start,
        })
    }

    /// The owner of the sandbox `id`, `PID-STARTTIME-HELPER.NUMBER`; `None` for
    /// ids of another form.
    pub(crate) fn of(id: &str) -> Option<Self> {
        let mut parts = id.splitn(3, '-');
        let pid = parts.next()?.parse().ok()?;
        let start = parts.next()?.parse().ok()?;
        parts.next().map(|_| Self { pid, start })
    }

    /// Returns whether it still runs.
    pub(crate) fn is_alive(self) -> bool {
        match Stat::of(self.pid) {
            Ok(stat) => stat.start == self.start && !stat.is_dead,
            Err(gone) => !gone,
        }
    }
}

/// Returns whether the sandbox `id` may be in use, as far as process numbers
/// say it: its host runs, and if that is this process, so does the helper that
/// its name goes on with (`HELPER.NUMBER`). Of a helper that was killed, only
/// handles are left, and those hold locks.
pub(crate) fn may_live(id: &str) -> bool {
    let Some(owner) = Owner::of(id) else {
        return true;
    };
    let helper = || id.splitn(3, '-').nth(2)?.split_once('.')?.0.parse().ok();
    let is_own = owner.pid == std::process::id();
    match helper().filter(|_| is_own).map(Stat::of) {
        Some(Ok(stat)) => !stat.is_dead && owner.is_alive(),
        Some(Err(true)) => false,
        Some(Err(false)) | None => owner.is_alive(),
    }
}

/// Fields of `/proc/PID/stat`, proc(5).
struct Stat {
    start: u64,
    /// True if no thread runs any more, and the process waits to be reaped.
    is_dead: bool,
}

impl Stat {
    /// The error says whether there is no such process. That its file cannot be
    /// read (hidepid, no descriptors) proves nothing.
    fn of(pid: u32) -> std::result::Result<Self, bool> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"));
        match text.map(|text| Self::parse(&text)) {
            Ok(stat) => stat.ok_or(false),
            Err(_) => match i32::try_from(pid) {
                Ok(pid @ 1..) => Err(kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH)),
                // 0 and greater numbers are no process's.
                _ => Err(true),
            },
        }
    }

    /// Counted behind the name in parentheses, which may hold anything.
    fn parse(stat: &str) -> Option<Self> {
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?;
        // Fields 20 and 22. A main thread that has ended before the others
        // looks dead, too.
        let threads: u64 = fields.nth(16)?.parse().ok()?;
        let start = fields.nth(1)?.parse().ok()?;
        let is_dead = matches!(state, "Z" | "X") && threads <= 1;
        Some(Self { start, is_dead })
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.pid, self.start)
    }
}

/// Result of [`sweep_cgroups`].
#[derive(Debug, Default)]
pub(crate) struct SweptCgroups {
    /// The directories that are gone.
    pub(crate) removed: Vec<PathBuf>,
    /// Those that should be, but are not.
    pub(crate) failed: Vec<Error>,
}

/// Kills and removes the cgroups of each sandbox for which `keeps` (mostly
/// [`may_live`]) returns false, if no process holds the directory's lock.
/// Leaves cgroups of other users that this process may not change.
pub(crate) fn sweep_cgroups(layout: &Layout, keeps: impl Fn(&str) -> bool) -> SweptCgroups {
    let mut swept = SweptCgroups::default();
    for hierarchy in layout.v2().into_iter().chain(layout.v1()) {
        for path in find(hierarchy) {
            let name = path.file_name().and_then(|n| n.to_str());
            let Some(id) = name.and_then(|n| n.strip_prefix(PREFIX)) else {
                continue;
            };
            if directory_name(id).is_err() || keeps(id) {
                continue;
            }
            match sweep_one(&path) {
                Ok(()) => swept.removed.push(path),
                // Held by a helper that is at it already, or by an owner in
                // another pid namespace; gone meanwhile; or another user's.
                Err(Errno::EAGAIN | Errno::ENOENT) => {}
                Err(errno) if is_denied(errno) => {}
                Err(errno) => {
                    let error = Error::os(Step::RecoverCgroup, path.display(), errno);
                    swept.failed.push(error);
                }
            }
        }
    }
    swept
}

fn sweep_one(path: &Path) -> nix::Result<()> {
    let node = Node::seize(path.to_path_buf())?;
    // Mostly empty, and then rmdir alone does it.
    if !node.processes()?.is_empty() {
        kill_all(&node)?;
    }
    node.remove()
}

/// Returns the cgroups of the library right below this process's own cgroup and
/// those above, in v1 as well. A directory that cannot be listed holds none
/// that this process could remove.
fn find(hierarchy: &Hierarchy) -> impl Iterator<Item = PathBuf> {
    let above = hierarchy.own.ancestors();
    let in_sight = above.take_while(|dir| dir.starts_with(&hierarchy.mount));
    let entries = in_sight.flat_map(|dir| fs::read_dir(dir).into_iter().flatten().flatten());
    let ours = entries.filter(|entry| {
        let name = entry.file_name();
        name.as_encoded_bytes().starts_with(PREFIX.as_bytes())
            && entry.file_type().is_ok_and(|kind| kind.is_dir())
    });
    ours.map(|entry| entry.path())
}
