// SPDX-License-Identifier: MIT OR Apache-2.0
//! The mounts of the machine at the time of one start, and how each can be
//! shown.
#![forbid(unsafe_code)]

use std::path::Path;
use std::sync::Arc;

use nix::errno::Errno;

use super::class::Class;
use super::trial;
use crate::backend::TreeRequest;
use crate::error::{Error, Result, Step};
use crate::helper::Spawner;
use crate::parts::idmap::Ids;
use crate::parts::mounts::{RDONLY, overlay_flags};
use crate::parts::shown::ShownAs;
use crate::sys::mountinfo::{self, Mount, Mounts};
use crate::wire::OF_MACHINE;

/// Directories that every sandbox has for itself, so the host's are not shown.
const OWN: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Returns whether the sandbox has a directory of its own at `path` or above,
/// in a view of `dir`.
pub(super) fn is_own(path: &Path, dir: &Path) -> bool {
    dir == Path::new("/") && OWN.iter().any(|own| path.starts_with(own))
}

/// Returns the mounts below a directory that may be shown, parents first.
/// Leaves out pseudo file systems, roots of other containers, all mounts below
/// these, and the sandbox's own directories.
fn others(mounts: &Mounts, dir: &Path) -> Vec<Mount> {
    let mut hidden: Option<&Path> = None;
    let each = mounts.below(dir).filter(|mount| {
        if is_own(&mount.point, dir) || hidden.is_some_and(|dir| mount.point.starts_with(dir)) {
            return false;
        }
        let is_shown = !matches!(Class::of(mount), Class::Pseudo | Class::Container);
        if !is_shown {
            hidden = Some(&mount.point);
        }
        is_shown
    });
    each.cloned().collect()
}

/// The mounts of the machine.
pub(crate) struct Survey<'a> {
    spawner: &'a Spawner,
    pub(super) mounts: Arc<Mounts>,
    /// Mounts that may be shown in a view of `/`.
    others: Arc<[Mount]>,
    pub(super) ordinary: bool,
    may_try: bool,
}

impl<'a> Survey<'a> {
    /// Reads the table of mounts.
    ///
    /// # Errors
    /// When there is no procfs.
    pub(crate) fn new(request: &TreeRequest<'a>, ordinary: bool) -> Result<Self> {
        let wrong = |e| Error::io(Step::ListMounts, mountinfo::OWN, e);
        let table = mountinfo::read().map_err(wrong)?;
        let spawner = request.spawner;
        let (mounts, others) = spawner
            .verdicts()
            .follow(table, |mounts| others(mounts, Path::new("/")));
        Ok(Self {
            spawner,
            mounts,
            others,
            ordinary,
            may_try: request.may_try,
        })
    }

    /// Returns the mounts below a directory that may be shown, parents first.
    pub(super) fn others(&self, dir: &Path) -> Arc<[Mount]> {
        match dir == Path::new("/") {
            true => Arc::clone(&self.others),
            false => others(&self.mounts, dir).into(),
        }
    }

    /// Returns the MOUNT_ATTR_* bits of the mount that shows a path. The mount
    /// of `dir`, a directory that is shown, can be written to even if it is
    /// read-only outside.
    pub(crate) fn attrs(&self, path: &Path, dir: &Path) -> u32 {
        let Some(mount) = self.mounts.showing(path) else {
            return 0;
        };
        match self.mounts.showing(dir) {
            Some(top) if top.id == mount.id => mount.attrs & !RDONLY,
            _ => mount.attrs,
        }
    }

    /// The ids that the sandbox has.
    pub(super) fn ids(&self) -> &'a Ids {
        &self.spawner.ids
    }

    /// Returns the flags of an overlay whose only layer is a directory of the
    /// machine.
    pub(crate) fn overlay_flags(&self) -> u32 {
        match self.ordinary {
            true => overlay_flags(true),
            // Root opens the directory once and through no link, because others
            // may move the directory meanwhile.
            false => OF_MACHINE,
        }
    }

    /// Returns whether anything is mounted below a directory.
    pub(crate) fn has_mounts_below(&self, dir: &Path) -> bool {
        self.mounts.below(dir).next().is_some()
    }

    /// Classifies a mount. A mount below a remote one is remote, because its
    /// path leads through the remote one.
    pub(super) fn class(&self, mount: &Mount) -> Class {
        let class = Class::of(mount);
        let is_reached_by_remote = || {
            let above = mount.point.ancestors().skip(1);
            // Without an answer from the root itself there is no machine.
            let above = above.take_while(|dir| *dir != Path::new("/"));
            above
                .filter_map(|dir| self.mounts.at(dir))
                .any(|mount| Class::of(mount) == Class::Remote)
        };
        match class {
            Class::Local | Class::Refusable if is_reached_by_remote() => Class::Remote,
            class => class,
        }
    }

    /// Returns whether the mount at a path may not answer.
    pub(super) fn is_remote(&self, path: &Path) -> bool {
        let mount = self.mounts.showing(path);
        mount.is_some_and(|mount| self.class(mount) == Class::Remote)
    }

    /// Returns how a directory can be shown, by its mount; tries the mount if
    /// the type does not tell.
    ///
    /// # Errors
    /// When the helper is gone; an error that
    /// [`is_trial`](crate::backend::is_trial) knows if no trial is allowed.
    pub(super) fn verdict(&self, path: &Path) -> Result<ShownAs> {
        let Some(mount) = self.mounts.showing(path) else {
            return Ok(ShownAs::Cow);
        };
        let class = self.class(mount);
        let is_local = class == Class::Local && !mount.unbindable;
        let is_sure = is_local && !self.spawner.verdicts().distrusts();
        // Without the root's own file system there is no view.
        if is_sure || mount.point == Path::new("/") {
            return Ok(ShownAs::Cow);
        }
        if mount.unbindable && !self.ordinary {
            // The kernel refuses a bind, and a layer whose copy of the mount
            // was not made private.
            return Ok(ShownAs::LeftOut("unbindable".into()));
        }
        if let Some(known) = self.spawner.verdicts().get(mount) {
            return Ok(known.clone());
        }
        if !self.may_try {
            let subject = format_args!("{path:?}");
            return Err(Error::os(Step::TryMount, subject, Errno::EAGAIN));
        }
        let (found, is_silent) = trial::of(self.spawner, path, self.overlay_flags())?;
        if is_silent {
            self.spawner.verdicts().insert_silent(mount, &found);
        }
        // What answers now may be dead at the next open.
        if class != Class::Remote || matches!(found, ShownAs::LeftOut(_)) {
            self.spawner.verdicts().insert(mount, &found);
        }
        Ok(found)
    }
}
