// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mounts the kernel's file systems and `/dev`, as Docker's default has them.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use super::mask::{is_default, masked, read_only, restrict};
use super::{LOCKED, NOEXEC, NOSUID, RDONLY, STRICTATIME, options, push_size};
use crate::error::Result;
use crate::ops::{Ops, Slot};
use crate::spec::{ByteSize, Network, Profile, Spec};
use crate::wire::{ListBuf, MAKE_DIR, NO_SYMLINKS};

/// Size of `/dev`, as Docker's.
const DEV_SIZE: ByteSize = ByteSize::new(64 << 20);

/// The kernel's file systems and `/dev`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kernel {
    /// procfs of the new pid namespace.
    pub(crate) proc: Slot,
    sys: Slot,
    /// A tmpfs.
    pub(crate) dev: Slot,
    /// Attributes that `sys` gets at its attach, with all below, if `sys` is
    /// the caller's own view.
    sys_attrs: u32,
}

impl Kernel {
    /// Makes all three, detached. `/proc` and `/dev` are new; `/sys` is new or
    /// a recursive clone of the host's.
    pub(crate) fn new(ops: &mut Ops, spec: &Spec, ordinary: bool) -> Self {
        let proc = ops.new_fs(c"proc", &ListBuf::default(), LOCKED);
        // sysfs belongs to the owner of the network namespace: in another's,
        // only the caller's own view can be had.
        let (sys, sys_attrs) = match ordinary && spec.network != Network::None {
            true => (ops.clone_tree(c"/sys", true), LOCKED | RDONLY),
            false => (
                ops.new_fs(c"sysfs", &ListBuf::default(), LOCKED | read_only_fs(spec)),
                0,
            ),
        };
        let mut bounds = options([c"mode", c"755"]);
        push_size(&mut bounds, DEV_SIZE);
        let dev = ops.new_fs(c"tmpfs", &bounds, NOSUID | STRICTATIME);
        Self {
            proc,
            sys,
            dev,
            sys_attrs,
        }
    }

    /// Attaches them inside. No target may be a link in the image
    /// (CVE-2019-19921).
    pub(crate) fn attach(self, ops: &mut Ops, root: Slot) {
        for (slot, path) in [(self.proc, c"proc"), (self.sys, c"sys"), (self.dev, c"dev")] {
            ops.attach(slot, root, path, MAKE_DIR | NO_SYMLINKS);
        }
        if self.sys_attrs != 0 {
            ops.set_attr(self.sys, self.sys_attrs, true);
        }
    }

    /// Makes `/sys/fs/cgroup`, `/dev/pts`, `/dev/shm` and `/dev/mqueue`;
    /// returns the devpts.
    pub(crate) fn fill(self, ops: &mut Ops, spec: &Spec, cgroup2: bool, tty_group: bool) -> Slot {
        if cgroup2 {
            let attrs = LOCKED | read_only_fs(spec);
            let cgroup = ops.new_fs(c"cgroup2", &ListBuf::default(), attrs);
            ops.attach(cgroup, self.sys, c"fs/cgroup", NO_SYMLINKS);
        }
        let mut pts = options([c"ptmxmode", c"0666", c"mode", c"0620"]);
        if tty_group {
            pts.push(c"gid");
            pts.push(c"5");
        }
        let pts = ops.new_fs(c"devpts", &pts, NOSUID | NOEXEC);
        ops.attach(pts, self.dev, c"pts", MAKE_DIR | NO_SYMLINKS);
        let mut shm = options([c"mode", c"1777"]);
        push_size(&mut shm, spec.limits.shm);
        let shm = ops.new_fs(c"tmpfs", &shm, LOCKED);
        ops.attach(shm, self.dev, c"shm", MAKE_DIR | NO_SYMLINKS);
        if spec.namespaces.ipc {
            let mqueue = ops.new_fs(c"mqueue", &ListBuf::default(), LOCKED);
            ops.attach(mqueue, self.dev, c"mqueue", MAKE_DIR | NO_SYMLINKS);
        }
        pts
    }

    /// Hides and protects the paths of the spec that Docker's lists have
    /// (`of_default`). Call with `null` in `/dev`.
    pub(crate) fn restrict(self, ops: &mut Ops, stage: Slot, spec: &Spec) -> Result<()> {
        let paths = [&*masked(spec), &*read_only(spec)];
        restrict(ops, self.dev, stage, paths, |path| self.of_default(path))
    }

    /// The same with all other paths, wherever they are inside; `hidden` are
    /// the spec's and their other names. Docker's defaults are all in the
    /// kernel's.
    pub(crate) fn restrict_rest(
        self,
        ops: &mut Ops,
        root: Slot,
        stage: Slot,
        spec: &Spec,
        hidden: Option<&[PathBuf]>,
    ) -> Result<()> {
        let read_only = spec.security.readonly_paths.as_deref();
        let [hidden, read_only] = [hidden, read_only].map(Option::unwrap_or_default);
        restrict(
            ops,
            self.dev,
            stage,
            [hidden, read_only],
            |path| match self.of_default(path) {
                Some(_) => None,
                None => Some((root, path)),
            },
        )
    }

    /// Returns the place of a path of Docker's defaults in these. Other paths
    /// may be links, so they are resolved in the root.
    fn of_default(self, path: &Path) -> Option<(Slot, &Path)> {
        let text = path.to_str()?;
        let (slot, rest) = match text.strip_prefix("/proc/") {
            Some(rest) => (self.proc, rest),
            None => (self.sys, text.strip_prefix("/sys/")?),
        };
        is_default(text).then(|| (slot, Path::new(rest)))
    }
}

/// The attribute of read-only kernel file systems, else 0.
fn read_only_fs(spec: &Spec) -> u32 {
    match spec.security.profile {
        Profile::Privileged => 0,
        _ => RDONLY,
    }
}
