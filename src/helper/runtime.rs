// SPDX-License-Identifier: MIT OR Apache-2.0
//! What this process needs once to run sandboxes: the helper, compiled filters, where cgroups are.
#![forbid(unsafe_code)]

use std::ffi::CStr;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::spawner::{Spawner, Watched};
use crate::error::{Error, Kind, Result, Step};
use crate::image::Chown;
use crate::image::layer::Fixup;
use crate::ops::Ops;
use crate::parts::cgroup::{Cgroup, DeviceGate, DeviceRules, Layout, PREFIX, Sweep, recover};
use crate::parts::idmap::{Ids, USUAL, more_ids};
use crate::parts::seccomp::SeccompCache;
use crate::spec::{Security, Spec};
use crate::wire::Op;

/// Made with a store, shared by its sandboxes.
#[derive(Debug, Default)]
pub(crate) struct Runtime {
    spawner: Mutex<Option<Arc<Spawner>>>,
    pub(crate) seccomp: SeccompCache,
    layout: OnceLock<Layout>,
    /// Loaded device rules, the latest used first.
    gates: Mutex<Vec<(Security, Arc<DeviceGate>)>>,
    /// Whether this kernel was seen to make no overlay for this caller.
    overlay_missing: AtomicBool,
    /// Whether starts were seen to need a copy of the host's mount namespace.
    empty_ns_missing: AtomicBool,
}

impl Runtime {
    /// The helper process; started if there is none of this process's own that
    /// still runs and works with the calling thread's authority.
    ///
    /// One with another authority ends with the last sandbox that it has made.
    ///
    /// # Errors
    /// As [`Spawner::start`].
    pub(crate) fn spawner(&self) -> Result<Arc<Spawner>> {
        self.spawner_that(|_| true)
    }

    /// The same for a sandbox, which may share more with the helper.
    ///
    /// # Errors
    /// As [`Spawner::start`].
    pub(crate) fn spawner_for(&self, spec: &Spec) -> Result<Arc<Spawner>> {
        self.spawner_that(|spawner| spawner.authority().shares(spec))
    }

    fn spawner_that(&self, fits: impl FnOnce(&Spawner) -> bool) -> Result<Arc<Spawner>> {
        let mut slot = self.spawner.lock().unwrap_or_else(PoisonError::into_inner);
        let own = slot.as_ref().filter(|s| s.is_own() && s.is_alive());
        if let Some(spawner) = own.filter(|s| s.authority().is_callers() && fits(s)) {
            return Ok(Arc::clone(spawner));
        }
        let lives = own.is_some();
        let spawner = Arc::new(Spawner::start()?);
        let before = slot.replace(Arc::clone(&spawner));
        if lives {
            // Another caller may get what this one did not, and the other way
            // round.
            self.overlay_missing.store(false, Ordering::Relaxed);
            self.empty_ns_missing.store(false, Ordering::Relaxed);
        } else if let Some(killed) = before.filter(|s| s.is_own()) {
            self.clean_up_after(&killed);
        }
        Ok(spawner)
    }

    /// Removes the cgroups that a helper was told to remove and did not live to. Those of
    /// sandboxes that are still held are locked, and go with their handles.
    fn clean_up_after(&self, killed: &Spawner) {
        let (Ok(layout), Ok(prefix)) = (self.layout(), killed.prefix()) else {
            return;
        };
        recover(layout, Sweep::Near, |name| !name.starts_with(prefix));
    }

    /// Whether [`Runtime::set_overlay_missing`] was called.
    pub(crate) fn overlay_is_missing(&self) -> bool {
        self.overlay_missing.load(Ordering::Relaxed)
    }

    /// Remembers that no overlay can be made.
    pub(crate) fn set_overlay_missing(&self) {
        self.overlay_missing.store(true, Ordering::Relaxed);
    }

    /// Whether [`Runtime::set_empty_ns_missing`] was called.
    pub(crate) fn empty_ns_is_missing(&self) -> bool {
        self.empty_ns_missing.load(Ordering::Relaxed)
    }

    /// Remembers that every start needs a copy of the host's mount namespace.
    pub(crate) fn set_empty_ns_missing(&self) {
        self.empty_ns_missing.store(true, Ordering::Relaxed);
    }

    /// Names what a sandbox uses outside, so that whoever finds it knows whether its owner lives.
    pub(crate) fn sandbox_name(&self, spawner: &Spawner, id: u64) -> Result<String> {
        Ok(format!("{}{id}", spawner.prefix()?))
    }

    /// Has the helper remove every cgroup that this process makes, even if the
    /// process is killed between making one and saying so.
    pub(crate) fn watch_cgroups(&self, spawner: &Spawner) -> Result<()> {
        let prefix = format!("{PREFIX}{}", spawner.prefix()?);
        spawner.watch(Watched::Cgroups, &prefix, &self.layout()?.parents())
    }

    /// Where this machine's cgroups are; read once.
    pub(crate) fn layout(&self) -> Result<&Layout> {
        if let Some(layout) = self.layout.get() {
            return Ok(layout);
        }
        let layout = Layout::detect()?;
        Ok(self.layout.get_or_init(|| layout))
    }

    /// The cgroups of a new sandbox.
    pub(crate) fn cgroup(&self, name: &str, spec: &Spec, ordinary: bool) -> Result<Cgroup> {
        let layout = self.layout()?;
        if ordinary && !spec.security.device_rules.is_empty() {
            let why = "a user namespace has no device but those of the machine";
            let error = Error::new(Kind::Unsupported, Step::SetSecurityDeviceRules, why);
            return Err(error.with_cure("security.devices"));
        }
        let gate = if ordinary {
            // No device can be made in a user namespace, and none of an image's can be opened.
            None
        } else {
            self.gate(layout, &spec.security)?
        };
        Cgroup::create(
            layout,
            name,
            &spec.limits,
            &spec.best_effort,
            gate.as_deref(),
        )
    }

    /// The device rules as the kernel takes them; loaded once for each set.
    fn gate(&self, layout: &Layout, security: &Security) -> Result<Option<Arc<DeviceGate>>> {
        const KEPT: usize = 8;
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |s: &Security| s.device_keys() == security.device_keys();
        if let Some((_, gate)) = gates.iter().find(|(s, _)| same(s)) {
            return Ok(Some(Arc::clone(gate)));
        }
        let Some(rules) = DeviceRules::of(security)? else {
            return Ok(None);
        };
        let gate = Arc::new(DeviceGate::load(layout, rules));
        gates.truncate(KEPT - 1);
        gates.insert(0, (security.clone(), Arc::clone(&gate)));
        Ok(Some(gate))
    }
}

/// Gives files to subordinate ids by way of the helper, which is root among them.
pub(crate) struct ByHelper(pub(crate) Arc<Runtime>);

impl Chown for ByHelper {
    fn apply(&mut self, root: BorrowedFd<'_>, fixups: &[Fixup]) -> Result<()> {
        check_ids(&Ids::detect(), fixups)?;
        let mut ops = Ops::default();
        for fixup in fixups {
            ops.push(Op::Chown {
                root: 1,
                path: &fixup.path,
                uid: fixup.uid,
                gid: fixup.gid,
                mode: fixup.mode,
                capability: fixup.capability.as_deref().unwrap_or_default(),
            });
        }
        self.0.spawner()?.job(&ops, 0, &[root])
    }

    fn remove_tree(&mut self, parent: BorrowedFd<'_>, name: &CStr) -> Result<()> {
        let mut ops = Ops::default();
        ops.push(Op::RemoveTree {
            root: 1,
            path: name,
        });
        self.0.spawner()?.job(&ops, 0, &[parent])
    }
}

/// Refuses owners that the caller has no ids for, before the first file is given away.
fn check_ids(ids: &Ids, fixups: &[Fixup]) -> Result<()> {
    let missing = fixups.iter().map(|fixup| ids.missing(fixup.uid, fixup.gid));
    let Some((missing, fixup)) = missing.zip(fixups).max_by_key(|(missing, _)| *missing) else {
        return Ok(());
    };
    if missing == 0 {
        return Ok(());
    }
    let (uid, gid) = (fixup.uid, fixup.gid);
    let why = format!(
        "{:?}: owner {uid}:{gid} is beyond the caller's subordinate ids",
        fixup.path
    );
    let error = Error::new(Kind::Permission, Step::ChangeOwner, why);
    // Ranges are given as whole ones.
    let more = missing.div_ceil(USUAL).saturating_mul(USUAL);
    Err(error.with_cure(more_ids(more)))
}
