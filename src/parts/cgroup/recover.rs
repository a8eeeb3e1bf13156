// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finding and removing the cgroups of hosts that are gone.
#![forbid(unsafe_code)]

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::kill::kill_all;
use super::layout::{Hierarchy, Layout};
use super::node::Node;
use super::{PREFIX, directory_name, is_denied};
use crate::error::{Error, Kind, Result};

/// The process that owns a sandbox, as its id begins: `PID-STARTTIME`. The time of start
/// tells it from a later process with the same number.
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
            .map_err(|e| Error::io("read own start time", "/proc/self/stat", e))?;
        let start = start_time(&stat)
            .ok_or_else(|| Error::new(Kind::Broken, "read own start time", "/proc/self/stat"))?;
        Ok(Self {
            pid: std::process::id(),
            start,
        })
    }

    /// The owner of the sandbox `id`, `PID-STARTTIME-N`; `None` for ids of another form.
    pub(crate) fn of(id: &str) -> Option<Self> {
        let mut parts = id.splitn(3, '-');
        let pid = parts.next()?.parse().ok()?;
        let start = parts.next()?.parse().ok()?;
        parts.next().map(|_| Self { pid, start })
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(self) -> bool {
        match fs::read_to_string(format!("/proc/{}/stat", self.pid)) {
            Ok(stat) => start_time(&stat) == Some(self.start),
            // Anything but its absence (hidepid, no descriptors) proves nothing.
            Err(e) => !matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.pid, self.start)
    }
}

/// Field 22, counted behind the name in parentheses, which may hold anything.
fn start_time(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// How far [`recover`] looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sweep {
    /// Where this process would make cgroups itself: right below its own and those above.
    Near,
    /// In every cgroup that is visible; about 10 us for each.
    Everywhere,
}

/// What [`recover`] did.
#[derive(Debug, Default)]
pub(crate) struct Swept {
    /// The directories that are gone.
    pub(crate) removed: Vec<PathBuf>,
    /// Those that should be, but are not.
    pub(crate) failed: Vec<Error>,
}

/// Kills and removes every sandbox's cgroups whose owner is gone: `is_alive` says so of the id
/// (mostly by [`Owner::is_alive`]), and nobody holds the directory's lock. Cgroups of other
/// users that we may not touch are left to them.
pub(crate) fn recover(layout: &Layout, sweep: Sweep, is_alive: impl Fn(&str) -> bool) -> Swept {
    let mut swept = Swept::default();
    for hierarchy in layout.v2().into_iter().chain(layout.v1()) {
        for path in find(hierarchy, sweep) {
            let name = path.file_name().and_then(|n| n.to_str());
            let Some(id) = name.and_then(|n| n.strip_prefix(PREFIX)) else {
                continue;
            };
            if directory_name(id).is_err() || is_alive(id) {
                continue;
            }
            match sweep_one(&path) {
                Ok(()) => swept.removed.push(path),
                // Held by a helper that is at it already, or by an owner in another pid
                // namespace; gone meanwhile; or somebody else's.
                Err(Errno::EAGAIN | Errno::ENOENT) => {}
                Err(errno) if is_denied(errno) => {}
                Err(errno) => swept
                    .failed
                    .push(Error::os("recover cgroup", path.display(), errno)),
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

fn find(hierarchy: &Hierarchy, sweep: Sweep) -> Vec<PathBuf> {
    let mut found = Vec::new();
    match sweep {
        Sweep::Near => {
            let above = hierarchy.own.ancestors();
            for dir in above.take_while(|d| d.starts_with(&hierarchy.mount)) {
                found.extend(ours_in(dir));
            }
        }
        Sweep::Everywhere => walk(&hierarchy.mount, 0, &mut found),
    }
    found
}

/// The directories below `dir`. One that cannot be listed holds nothing that we could remove.
fn directories(dir: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
        .map(|e| e.path())
}

fn is_ours(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|n| n.as_encoded_bytes().starts_with(PREFIX.as_bytes()))
}

fn ours_in(dir: &Path) -> impl Iterator<Item = PathBuf> {
    directories(dir).filter(|p| is_ours(p))
}

/// A sandbox's own cgroups are not looked into: they go with it.
fn walk(dir: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    const DEEPEST: usize = 32;
    for path in directories(dir) {
        if is_ours(&path) {
            found.push(path);
        } else if depth < DEEPEST {
            walk(&path, depth + 1, found);
        }
    }
}
