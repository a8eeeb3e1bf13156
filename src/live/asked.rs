// SPDX-License-Identifier: MIT OR Apache-2.0
//! A sandbox from the moment it is asked for: what the host holds of it, ready or not.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Kind, Result};
use crate::image::{HandedOver, Scratch};
use crate::parts::caps::CapSet;
use crate::parts::cgroup::Cgroup;
use crate::parts::ops::c_path;
use crate::parts::seccomp;
use crate::plan::{self, Leaves, Needs};
use crate::spawner::{Spawner, Start};
use crate::spec::Spec;
use crate::store::{Base, Store};
use crate::tree::{Backend, Request};

/// What the spawner was asked for. Dropping it ends it, without waiting.
#[derive(Debug)]
pub(crate) struct Asked {
    /// `<pid>-<start time>-<spawner>.<number>`: names the cgroups and the scratch directory.
    pub(crate) name: String,
    pub(crate) id: u64,
    pub(crate) hostname: String,
    pub(crate) spawner: Arc<Spawner>,
    pub(crate) cgroup: Cgroup,
    pub(crate) backend: &'static str,
    pub(crate) caps: CapSet,
    pub(crate) seccomp: bool,
    /// Whether `limits.memory` is set: what it takes is asked for only then.
    pub(crate) counts_memory: bool,
    /// Whether the spawner was told to end it.
    ended: AtomicBool,
    start: Start,
}

impl Drop for Asked {
    fn drop(&mut self) {
        // If the spawner is gone, so is the sandbox.
        let _ = self.end(false);
    }
}

impl Asked {
    /// Has a sandbox begun on a back end.
    ///
    /// # Errors
    /// What can be known to fail without trying; nothing is left behind then.
    pub(super) fn begin(
        store: &Store,
        spec: &Spec,
        base: &Base,
        backend: &'static dyn Backend,
        bare: bool,
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
        let cgroup = store.runtime().cgroup(&name, spec, ordinary)?;
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
            bare,
        };
        let start = match send(&needs, id, scratch) {
            Ok(start) => start,
            Err(error) => {
                abandon(&spawner, id, &cgroup);
                return Err(error);
            }
        };
        Ok(Self {
            name,
            id,
            hostname,
            cgroup,
            backend: backend.name(),
            caps,
            seccomp: filter.is_some(),
            counts_memory: spec.limits.memory.is_some(),
            ended: AtomicBool::new(false),
            spawner,
            start,
        })
    }

    /// Whether [`Asked::wait`] would come back at once.
    pub(crate) fn is_over(&self) -> bool {
        self.start.is_over()
    }

    /// Waits until it is ready: a pidfd of its init. To be called once.
    ///
    /// # Errors
    /// The step that failed; nothing is left behind then.
    pub(super) fn wait(&mut self) -> Result<OwnedFd> {
        let ready = self.start.wait();
        match ready {
            Ok(_) => self.cgroup.close_tasks_files(),
            Err(_) => {
                self.ended.store(true, Ordering::Relaxed);
                abandon(&self.spawner, self.id, &self.cgroup);
            }
        }
        ready
    }

    pub(crate) fn control(&self) -> BorrowedFd<'_> {
        self.start.control()
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

    /// As [`Asked::end`], but does not wait: the descriptor is readable when nothing of it is left.
    ///
    /// # Errors
    /// As [`Asked::end`].
    pub(crate) fn begin_end(&self) -> Result<Option<OwnedFd>> {
        if !self.spawner.is_own() || self.ended.swap(true, Ordering::Relaxed) {
            return Ok(None);
        }
        self.swept(self.spawner.begin_close(self.id)).map(Some)
    }

    /// Waits for what [`Asked::begin_end`] gave: nothing of it is left.
    ///
    /// # Errors
    /// [`Kind::Broken`] if the spawner is gone.
    pub(crate) fn ended(&self, told: &OwnedFd) -> Result<()> {
        self.swept(Spawner::closed(told.as_fd()))
    }

    fn swept<T>(&self, closed: Result<T>) -> Result<T> {
        if closed.is_err() {
            // All inside died with the spawner, which would have removed this. The scratch
            // directory, no longer locked, is swept by the next open of the store.
            let _ = self.cgroup.remove();
        }
        closed
    }
}

/// Ends what may have begun of a sandbox, and removes what was made for it.
fn abandon(spawner: &Spawner, id: u64, cgroup: &Cgroup) {
    // Comes back when whatever the spawner has begun is gone; without a spawner nothing is.
    let _ = spawner.close(id, true);
    // The error that is told is the first one; what stays is removed by `Store::recover`.
    let _ = cgroup.remove();
}

/// Plans the start and asks for it.
fn send(needs: &Needs<'_>, id: u64, scratch: Option<Scratch>) -> Result<Start> {
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
    let message = plan.message(id, &leaves);
    needs.tree.spawner.begin_open(&message, &fds)
}

/// The first twelve digits that stand for a name, as other engines name their hosts.
fn short_name(name: &str) -> String {
    // FNV-1a: nothing depends on its strength.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3)
    });
    format!("{hash:016x}")[..12].to_owned()
}
