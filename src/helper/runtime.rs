// SPDX-License-Identifier: MIT OR Apache-2.0
//! Keeps the parts that an opened store needs once: the helper, compiled
//! filters, the layout of cgroups.
#![forbid(unsafe_code)]

use std::ffi::CStr;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::spawner::{Spawner, Watched};
use crate::error::{Error, Kind, Result, Step};
use crate::image::Chown;
use crate::image::layer::Fixup;
use crate::ops::Ops;
use crate::parts::authority::Authority;
use crate::parts::caps::CapSet;
use crate::parts::cgroup::{
    Cgroup, DeviceGate, DeviceRules, Layout, PREFIX, may_live, sweep_cgroups,
};
use crate::parts::idmap::{Ids, USUAL, more_ids};
use crate::parts::seccomp::{self, SeccompCache};
use crate::spec::{Security, Spec};
use crate::wire::Op;

/// The runtime of a store, shared by all sandboxes.
#[derive(Debug, Default)]
pub(crate) struct Runtime {
    spawner: Mutex<Option<Arc<Spawner>>>,
    pub(crate) seccomp: SeccompCache,
    layout: OnceLock<Layout>,
    /// Loaded device rules, the most recently loaded first.
    gates: Mutex<Vec<(Security, Arc<DeviceGate>)>>,
    /// Set once the cgroups of killed hosts were swept.
    swept: OnceLock<()>,
}

impl Runtime {
    /// Returns the helper. Starts a helper if this process has no live one with
    /// the calling thread's authority.
    ///
    /// A helper with another authority ends with its last sandbox.
    ///
    /// # Errors
    /// As [`Spawner::start`].
    pub(crate) fn spawner(&self) -> Result<Arc<Spawner>> {
        self.spawner_that(None)
    }

    /// As [`Runtime::spawner`], for a sandbox that shares namespaces with the
    /// helper.
    ///
    /// # Errors
    /// As [`Spawner::start`].
    pub(crate) fn spawner_for(&self, spec: &Spec) -> Result<Arc<Spawner>> {
        self.spawner_that(Some(spec))
    }

    fn spawner_that(&self, spec: Option<&Spec>) -> Result<Arc<Spawner>> {
        let fits = |spawner: &Spawner| spec.is_none_or(|spec| spawner.authority.shares(spec));
        let mut slot = self.spawner.lock().unwrap_or_else(PoisonError::into_inner);
        // A forked copy of the process must not talk to the parent's helper,
        // whose replies the parent would read.
        let lives = |s: &&Arc<Spawner>| s.is_own() && s.is_alive();
        let living = slot.as_ref().filter(lives);
        if let Some(spawner) = living.filter(|s| s.authority.is_callers() && fits(s)) {
            return Ok(Arc::clone(spawner));
        }
        // A replaced helper that lives goes on until its last sandbox ends.
        let was_killed = living.is_none();
        let mut spawner = Spawner::start(|ids, authority| {
            // Errors are reported when the sandbox needs the parts.
            if let Some(spec) = spec {
                let _ = self.prepare(spec, ids, authority);
            }
        })?;
        if let Some(before) = &*slot {
            spawner.inherit(before);
            if was_killed && before.is_own() {
                self.clean_up_after(before);
            }
        }
        Ok(Arc::clone(slot.insert(Arc::new(spawner))))
    }

    /// Makes the parts that a sandbox needs and that are made once.
    fn prepare(&self, spec: &Spec, ids: &Ids, authority: &Authority) -> Result<()> {
        let caps = CapSet::of(&spec.security)?.available(ids.ordinary(), authority.effective());
        seccomp::program(&spec.security, caps, &self.seccomp)?;
        if !ids.ordinary() {
            self.gate(self.layout()?, &spec.security)?;
        }
        Ok(())
    }

    /// Removes the cgroups that a killed helper has left. Cgroups of sandboxes
    /// with a handle are locked, and go with the handle.
    fn clean_up_after(&self, killed: &Spawner) {
        let (Ok(layout), Ok(prefix)) = (self.layout(), killed.prefix()) else {
            return;
        };
        sweep_cgroups(layout, |name| !name.starts_with(prefix));
    }

    /// Sweeps cgroups right below this process's cgroup and those above.
    /// Returns the numbers of removed cgroups and of those left; zeros on a
    /// machine without cgroups.
    pub(crate) fn sweep_cgroups(&self) -> (usize, usize) {
        let _ = self.swept.set(());
        let Ok(layout) = self.layout() else {
            return (0, 0);
        };
        let swept = sweep_cgroups(layout, may_live);
        (swept.removed.len(), swept.failed.len())
    }

    /// Sweeps cgroups as [`Runtime::sweep_cgroups`], unless this runtime did
    /// before. Called while the helper makes a sandbox, because this process
    /// has nothing else to do then.
    pub(crate) fn sweep_cgroups_once(&self) {
        if self.swept.get().is_none() {
            self.sweep_cgroups();
        }
    }

    /// Has the helper remove all cgroups of this process at the helper's end,
    /// even a cgroup that the process made just before being killed.
    pub(crate) fn watch_cgroups(&self, spawner: &Spawner) -> Result<()> {
        let prefix = format!("{PREFIX}{}", spawner.prefix()?);
        spawner.watch(Watched::Cgroups, &prefix, &self.layout()?.parents())
    }

    /// Returns where the machine's cgroups are; read once.
    pub(crate) fn layout(&self) -> Result<&Layout> {
        if let Some(layout) = self.layout.get() {
            return Ok(layout);
        }
        // An error is not cached, because the machine may mount cgroups later.
        let layout = Layout::detect()?;
        Ok(self.layout.get_or_init(|| layout))
    }

    /// Makes the cgroups of a new sandbox.
    pub(crate) fn cgroup(&self, name: &str, spec: &Spec, ordinary: bool) -> Result<Cgroup> {
        let layout = self.layout()?;
        if ordinary && !spec.security.device_rules.is_empty() {
            let why = "a user namespace has no device but those of the machine";
            let error = Error::new(Kind::Unsupported, Step::SetSecurityDeviceRules, why);
            return Err(error.with_cure("security.devices"));
        }
        let gate = match ordinary {
            // A user namespace makes no device, and opens none of an image.
            true => None,
            false => self.gate(layout, &spec.security)?,
        };
        Cgroup::create(
            layout,
            name,
            &spec.limits,
            &spec.best_effort,
            gate.as_deref(),
        )
    }

    /// Returns the device rules as the kernel takes them; loaded once for each
    /// set.
    fn gate(&self, layout: &Layout, security: &Security) -> Result<Option<Arc<DeviceGate>>> {
        // A host mostly uses a few sets, and each holds a loaded program.
        const KEPT: usize = 8;
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        // Keys that do not concern devices may differ: the program is the same.
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

impl Drop for Runtime {
    fn drop(&mut self) {
        self.sweep_cgroups_once();
    }
}

/// Gives files to subordinate ids by the helper, which is root of these ids.
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
        // The caller may not remove files of subordinate ids; the helper, which
        // is root of these ids, may.
        let mut ops = Ops::default();
        ops.push(Op::RemoveTree {
            root: 1,
            path: name,
        });
        self.0.spawner()?.job(&ops, 0, &[parent])
    }
}

/// Refuses owners beyond the caller's ids, before the first file changes its
/// owner.
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
