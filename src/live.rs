// SPDX-License-Identifier: MIT OR Apache-2.0
//! What exists of a sandbox from open to close, or from reset to reset.
#![forbid(unsafe_code)]

mod storage;

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Kind, Result};
use crate::image::{HandedOver, Scratch};
use crate::parts::caps::CapSet;
use crate::parts::cgroup::{Cgroup, ChildCgroup, remove_empty};
use crate::parts::ops::c_path;
use crate::parts::seccomp;
use crate::plan::{self, Leaves, Needs};
use crate::spawner::{Spawner, request};
use crate::spec::Spec;
use crate::store::{Base, Store};
use crate::sys::pidfd;
use crate::tree::{Backend, Lower, Request};
use crate::wire::{KILL_REQUEST, Kill};

/// A running init with all that belongs to it outside.
#[derive(Debug)]
pub(crate) struct Live {
    /// `<pid>-<start time>-<spawner>.<number>`: names the cgroups and the scratch directory.
    pub(crate) name: String,
    pub(crate) id: u64,
    pub(crate) hostname: String,
    pub(crate) spawner: Arc<Spawner>,
    pub(crate) control: OwnedFd,
    pub(crate) pidfd: OwnedFd,
    pub(crate) cgroup: Cgroup,
    pub(crate) backend: &'static str,
    pub(crate) caps: CapSet,
    pub(crate) seccomp: bool,
    /// Whether `limits.memory` is set: what it takes is asked for only then.
    pub(crate) counts_memory: bool,
    /// Number of the next command.
    pub(crate) commands: AtomicU64,
    /// Cgroups of commands that have ended and left something inside.
    pub(crate) retired: Mutex<Vec<PathBuf>>,
    /// Whether the spawner was told to end it.
    pub(crate) ended: AtomicBool,
}

impl Drop for Live {
    fn drop(&mut self) {
        // If the spawner is gone, so is the sandbox.
        let _ = self.end(false);
    }
}

impl Live {
    pub(crate) fn control(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }

    /// Itself, unless this process is a forked copy of the one that made it: that has no part in it,
    /// and must not take the messages that are for its parent.
    ///
    /// # Errors
    /// [`crate::Kind::Invalid`], there.
    pub(crate) fn own(&self) -> Result<&Self> {
        if self.spawner.is_own() {
            return Ok(self);
        }
        let why = "it belongs to the process that this one was forked from";
        Err(Error::new(Kind::Invalid, "use sandbox", why).with_cure("open one in this process"))
    }

    pub(crate) fn next_command(&self) -> u64 {
        self.commands.fetch_add(1, Ordering::Relaxed)
    }

    /// Ends everything inside, once; with `wait`, comes back when nothing of it is left.
    /// In a forked copy of the process nothing happens.
    ///
    /// # Errors
    /// [`crate::Kind::Broken`] if the spawner is gone.
    pub(crate) fn end(&self, wait: bool) -> Result<()> {
        if !self.spawner.is_own() || self.ended.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        self.swept(self.spawner.close(self.id, wait))
    }

    /// As [`Live::end`], but does not wait: the descriptor is readable when nothing of it is left.
    ///
    /// # Errors
    /// As [`Live::end`].
    pub(crate) fn begin_end(&self) -> Result<Option<OwnedFd>> {
        if !self.spawner.is_own() || self.ended.swap(true, Ordering::Relaxed) {
            return Ok(None);
        }
        self.swept(self.spawner.begin_close(self.id)).map(Some)
    }

    fn swept<T>(&self, closed: Result<T>) -> Result<T> {
        if closed.is_err() {
            // All inside died with the spawner, which would have removed this. The scratch
            // directory, no longer locked, is swept by the next open of the store.
            let _ = self.cgroup.remove();
        }
        closed
    }

    /// Kills the command `id` with all that it started; `reason` is one of the `BY_*` numbers.
    pub(crate) fn kill(&self, id: u64, reason: u32) -> Result<()> {
        let kill = Kill {
            id,
            signal: libc::SIGKILL as u32,
            tree: 1,
            reason,
        };
        request(self.own()?.control(), KILL_REQUEST, &kill, &[])
    }

    /// A cgroup for one command, where there can be one.
    pub(crate) fn command_cgroup(&self, id: u64) -> Result<Option<ChildCgroup>> {
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        retired.retain(|path| !remove_empty(path));
        drop(retired);
        self.cgroup
            .child(&format!("command-{id}"))
            .map_err(|error| {
                // Its cgroup goes with it.
                match pidfd::has_ended(self.pidfd.as_fd()) {
                    true => gone(),
                    false => error,
                }
            })
    }

    /// Takes a command's cgroup back.
    pub(crate) fn retire(&self, cgroup: ChildCgroup) {
        if let Some(path) = cgroup.retire() {
            let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
            retired.push(path);
        }
    }

    /// Deaths for want of memory so far.
    pub(crate) fn oom_kills(&self) -> u64 {
        match self.counts_memory {
            true => self.cgroup.oom_kills().unwrap_or(0),
            false => 0,
        }
    }

    pub(crate) fn memory_peak(&self) -> Option<u64> {
        match self.counts_memory {
            true => self.cgroup.memory_peak(),
            false => None,
        }
    }
}

/// What a command is told in a sandbox that has died.
pub(crate) fn gone() -> Error {
    Error::new(Kind::Broken, "start command", "the sandbox is gone").with_cure("open or reset it")
}

impl Live {
    /// Starts one.
    ///
    /// # Errors
    /// As `Sandbox::open`; nothing is left behind then.
    pub(crate) fn start(store: &Store, spec: &Spec, base: &Base) -> Result<Self> {
        let (runtime, lower) = (store.runtime(), &base.lower);
        let spawner = runtime.spawner()?;
        let first = storage::first(runtime, spec, lower, spawner.ids().ordinary());
        let started =
            Self::start_on(store, spec, base, first).or_else(|error| {
                match storage::next(runtime, &spawner, spec, lower, &error) {
                    Some(next) => Self::start_on(store, spec, base, next),
                    None => Err(error),
                }
            });
        started.map_err(|error| explained(error, spec, lower))
    }

    fn start_on(
        store: &Store,
        spec: &Spec,
        base: &Base,
        backend: &'static dyn Backend,
    ) -> Result<Self> {
        let spawner = store.runtime().spawner()?;
        let id = spawner.next_id();
        let name = store.runtime().sandbox_name(&spawner, id)?;
        let hostname = spec.hostname.clone().unwrap_or_else(|| short_name(&name));
        let ordinary = spawner.ids().ordinary();
        let caps = CapSet::of(&spec.security)?.available(ordinary)?;
        let filter = seccomp::program(&spec.security, caps, &store.runtime().seccomp)?;
        let scratch = match backend.on_disk(spec.write) {
            true => Some(store.images().scratch()?),
            false => None,
        };
        let request = Request {
            lower: &base.lower,
            write: spec.write,
            ordinary,
            scratch: scratch
                .as_ref()
                .map_or_else(PathBuf::new, |s| s.path().to_path_buf()),
            spawner: &spawner,
        };
        let mut cgroup = store.runtime().cgroup(&name, spec, ordinary)?;
        let needs = Needs {
            spec,
            ids: spawner.ids(),
            hostname: &hostname,
            backend,
            tree: &request,
            cgroup: &cgroup,
            cgroup2: store.runtime().layout()?.v2().is_some(),
            caps,
            seccomp: filter.as_deref(),
        };
        let (control, pidfd) = match begin(&needs, id, scratch) {
            Ok(pair) => pair,
            Err(error) => {
                // Comes back when whatever the spawner has begun is gone; without a spawner nothing is.
                let _ = spawner.close(id, true);
                // The error that is told is the first one; what stays is removed by `Store::recover`.
                let _ = cgroup.remove();
                return Err(error);
            }
        };
        cgroup.close_tasks_files();
        Ok(Self {
            name,
            id,
            hostname,
            control,
            pidfd,
            cgroup,
            backend: backend.name(),
            caps,
            seccomp: filter.is_some(),
            counts_memory: spec.limits.memory.is_some(),
            commands: AtomicU64::new(1),
            retired: Mutex::default(),
            ended: AtomicBool::new(false),
            spawner,
        })
    }
}

/// Plans the start and has it done: the control socket and a pidfd of the init.
fn begin(needs: &Needs<'_>, id: u64, scratch: Option<Scratch>) -> Result<(OwnedFd, OwnedFd)> {
    needs.backend.prepare(needs.tree)?;
    let mut plan = plan::start(needs)?;
    let cgroups: Result<Vec<_>> = needs.cgroup.paths().into_iter().map(c_path).collect();
    let mut leaves = Leaves {
        cgroups: cgroups?.iter().collect(),
        ..Leaves::default()
    };
    if let Some(scratch) = scratch {
        // From now on it is the spawner's to remove, or a later sweep's.
        let HandedOver {
            path,
            lock_path,
            lock,
        } = scratch.hand_over()?;
        leaves.scratch = [c_path(&path)?, c_path(&lock_path)?].iter().collect();
        leaves.lock = Some(plan.pass(lock));
    }
    let fds: Vec<BorrowedFd<'_>> = plan.fds.iter().map(|fd| fd.as_fd()).collect();
    needs.tree.spawner.open(&plan.message(id, &leaves), &fds)
}

/// Adds the cure where a step's errno alone does not tell what the matter is.
fn explained(error: Error, spec: &Spec, lower: &Lower) -> Error {
    if error.cure().is_some() {
        return error;
    }
    if storage::is_refused(&error) {
        let instead = match (lower, storage::has_cow(spec)) {
            (_, true) => "a bind instead of cow",
            (Lower::Host, false) => "an image",
            (_, false) => "storage \"copy\"",
        };
        return error.with_cure(format!(
            "{instead}; or modprobe overlay, for an ordinary user kernel 5.11 or newer"
        ));
    }
    match (error.step(), error.errno()) {
        ("attach mount", Some(libc::ELOOP)) => {
            error.with_cure("an image whose /proc, /sys and /dev are directories, not links")
        }
        ("attach mount", Some(libc::EXDEV)) => {
            error.with_cure("an image whose links do not lead into /proc or /sys")
        }
        ("mount proc" | "mount sysfs", Some(libc::EPERM)) => error.with_cure(
            "a machine, or an outer container, in which nothing covers parts of /proc and /sys",
        ),
        ("pivot root", Some(libc::EINVAL)) => {
            error.with_cure("a root that is not the initial ramfs: switch_root(8)")
        }
        _ => error,
    }
}

/// The first twelve digits that stand for a name, as other engines name their hosts.
fn short_name(name: &str) -> String {
    // FNV-1a: nothing depends on its strength.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3)
    });
    format!("{hash:016x}")[..12].to_owned()
}
