// SPDX-License-Identifier: MIT OR Apache-2.0
//! The cgroups of a sandbox: limits, kill, freeze, usage and the count of
//! deaths for want of memory.
//!
//! Limits live where the machine has their controller: in one v1 hierarchy
//! each, or in v2. A v2 hierarchy without any controller (hybrid) still serves
//! to start in, kill and freeze. Everything is written before the first process
//! is inside.
#![forbid(unsafe_code)]

mod change;
mod child;
mod create;
mod devices;
mod events;
mod kill;
mod layout;
mod limit;
mod node;
mod recover;
mod usage;
mod v1;
mod v2;
mod weight;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use serde::Serialize;

use crate::error::{Error, Result, Step};
use crate::spec::LeftOut;

pub(crate) use child::{ChildCgroup, remove_empty};
pub(crate) use devices::{DeviceGate, DeviceRules};
pub(crate) use events::OomNotice;
pub(crate) use layout::Layout;
pub(crate) use recover::{Owner, may_live, sweep_cgroups};
pub use usage::SandboxUsage;

use node::Node;

/// The cure where no cgroup v2 is mounted. Its place is in sysfs, which may be
/// missing itself.
pub(crate) fn mount_v2() -> &'static str {
    match Path::new("/sys/fs/cgroup").is_dir() {
        true => "as root: mount -t cgroup2 none /sys/fs/cgroup",
        false => "as root: mount -t sysfs none /sys; mount -t cgroup2 none /sys/fs/cgroup",
    }
}

/// The beginning of the name of every cgroup of the library, before its id.
pub(crate) const PREFIX: &str = "tare-";

/// The cgroups of a sandbox: a cgroup in each needed hierarchy, if any.
///
/// A drop removes nothing: [`Cgroup::remove`] does, or the helper, by
/// [`Cgroup::paths`].
#[derive(Debug, Default)]
pub(crate) struct Cgroup {
    version: &'static str,
    v2: Option<Node>,
    v1: Vec<V1>,
    /// The open `tasks` of each of `v1`, in the same order.
    tasks: Vec<OwnedFd>,
    written: Vec<Written>,
    devices: Option<&'static str>,
    left_out: Vec<LeftOut>,
}

/// A cgroup of the sandbox in a v1 hierarchy.
#[derive(Debug)]
struct V1 {
    controllers: Vec<String>,
    node: Node,
}

/// A limit that was written, and where.
#[derive(Debug)]
struct Written {
    key: &'static str,
    /// Index into `Cgroup::v1`; `None` for v2.
    v1: Option<usize>,
    file: &'static str,
}

/// The restrictions in force, for the sandbox's `effective`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Effective {
    /// `v1`, `v2`, `hybrid`, or `none` where there is no cgroup.
    pub(crate) version: &'static str,
    /// The cgroup's directories.
    pub(crate) paths: Vec<PathBuf>,
    /// Each limit, as the kernel now shows it.
    pub(crate) limits: Vec<EffectiveLimit>,
    /// The restriction of devices: `ebpf`, `v1`, or `None` without a cgroup.
    pub(crate) devices: Option<&'static str>,
}

/// A limit in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct EffectiveLimit {
    /// The key in the spec, for example `limits.memory`.
    pub(crate) key: &'static str,
    /// The control file.
    pub(crate) file: PathBuf,
    /// The content of the file.
    pub(crate) value: String,
}

impl Cgroup {
    /// The v2 directory, to start a process in with `CLONE_INTO_CGROUP` (kernel
    /// 5.7).
    pub(crate) fn v2_dir(&self) -> Option<BorrowedFd<'_>> {
        self.v2.as_ref().map(Node::fd)
    }

    /// The open `tasks` files of v1. A single-threaded process that writes `0`
    /// to each moves itself in. It may be another process than this one: the
    /// kernel asks who opened the file and (KERNEL(<5.16): instead) who writes.
    pub(crate) fn tasks_files(&self) -> &[OwnedFd] {
        &self.tasks
    }

    /// Closes [`Cgroup::tasks_files`] once the sandbox's first process is
    /// inside; those it starts are inside by birth.
    pub(crate) fn close_tasks_files(&mut self) {
        self.tasks.clear();
    }

    /// Every directory that has to be removed in the end, for a cleaner that
    /// outlives this process.
    pub(crate) fn paths(&self) -> Vec<&Path> {
        self.nodes().map(Node::path).collect()
    }

    /// Returns keys of the spec that no cgroup enforces, because `best_effort`
    /// names them.
    pub(crate) fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// Reads back from the kernel which restrictions are in force.
    ///
    /// # Errors
    /// When a control file cannot be read: the cgroup is gone.
    pub(crate) fn effective(&self) -> Result<Effective> {
        let mut limits = Vec::new();
        for Written { key, v1, file } in &self.written {
            let node = match v1 {
                Some(index) => &self.v1[*index].node,
                None => self.v2.as_ref().expect("a limit was written there"),
            };
            let path = node.path().join(file);
            let value = node
                .read(file)
                .map_err(|e| Error::os(Step::ReadBack.named(key), path.display(), e))?;
            limits.push(EffectiveLimit {
                key,
                file: path,
                value: value.trim().to_owned(),
            });
        }
        Ok(Effective {
            version: if self.paths().is_empty() {
                "none"
            } else {
                self.version
            },
            paths: self.paths().into_iter().map(Path::to_path_buf).collect(),
            limits,
            devices: self.devices,
        })
    }

    /// Removes the cgroups, leaves first. Waits at most two seconds for
    /// processes that are killed but not yet gone; so kill first. Those that
    /// are gone already are no error.
    ///
    /// # Errors
    /// [`crate::Kind::Busy`] when a process is still inside; the other cgroups
    /// are removed all the same.
    pub(crate) fn remove(&self) -> Result<()> {
        let mut result = Ok(());
        for node in self.nodes() {
            if let Err(errno) = node.remove() {
                result = Err(Error::os(Step::RemoveCgroup, node.path().display(), errno));
            }
        }
        result
    }

    fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.v2.iter().chain(self.v1.iter().map(|v| &v.node))
    }

    /// Our cgroup in the v1 hierarchy that has `controller`.
    fn v1_node(&self, controller: &str) -> Option<&Node> {
        let has = |v: &&V1| v.controllers.iter().any(|c| c == controller);
        self.v1.iter().find(has).map(|v| &v.node)
    }
}

/// The directory name for `id`, which is to be a plain name: 1 to 64 of `a-z
/// A-Z 0-9 _ . -`.
fn directory_name(id: &str) -> Result<String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    if (1..=64).contains(&id.len()) && id.bytes().all(plain) {
        return Ok(format!("{PREFIX}{id}"));
    }
    let why = format_args!("{id:?} is not 1 to 64 letters, digits, dots, hyphens and underscores");
    Err(Error::invalid(Step::NameCgroup, why))
}

/// Returns whether the machine has any swap now.
fn has_swap() -> bool {
    // Without /proc/swaps the kernel has no swap at all.
    std::fs::read_to_string("/proc/swaps").is_ok_and(|text| text.lines().count() > 1)
}

/// Returns whether `errno` says that this user may not, rather than that this
/// is wrong.
fn is_denied(errno: Errno) -> bool {
    matches!(errno, Errno::EACCES | Errno::EPERM | Errno::EROFS)
}

#[cfg(test)]
mod tests;
