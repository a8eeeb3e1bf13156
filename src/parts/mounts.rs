// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is mounted inside: the kernel's file systems as Docker's default has
//! them, files of names, overlays.
#![forbid(unsafe_code)]

use std::ffi::{CStr, CString};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::error::Result;
use crate::ops::{Ops, Slot, c_inside};
use crate::spec::{ByteSize, Network, Profile, Spec};
use crate::wire::{ListBuf, MAKE_DIR, NO_SYMLINKS, Op, USERXATTR};

/// Mount attributes, mount_setattr(2).
pub(crate) const RDONLY: u32 = 0x01;
/// No set-user-id programs.
pub(crate) const NOSUID: u32 = 0x02;
/// No devices.
pub(crate) const NODEV: u32 = 0x04;
/// No programs.
pub(crate) const NOEXEC: u32 = 0x08;
/// Where nothing is to be run, gained or opened as a device.
pub(crate) const LOCKED: u32 = NOSUID | NODEV | NOEXEC;
/// Access times always.
const STRICTATIME: u32 = 0x20;

/// Docker's masked paths, moby/profiles; per-processor thermal throttling is added by [`masked`].
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Docker's read-only paths.
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Size of `/dev`, as Docker's.
const DEV_SIZE: ByteSize = ByteSize::new(64 << 20);

/// Key and value in turn.
pub(crate) fn options<const N: usize>(pairs: [&CStr; N]) -> ListBuf {
    pairs.into_iter().collect()
}

/// Bytes of a tmpfs for each inode that it may have: the kernel's own ratio
/// where a tmpfs has no options, one inode a page.
const BYTES_PER_INODE: u64 = 4096;
/// Inodes that any tmpfs may have, so that small ones stay usable.
const LEAST_INODES: u64 = 1024;

/// Adds a tmpfs's bounds, tmpfs(5): bytes, and inodes in proportion. Empty
/// files take kernel memory, which no size counts.
pub(crate) fn push_size(options: &mut ListBuf, size: ByteSize) {
    let inodes = (size.bytes() / BYTES_PER_INODE).max(LEAST_INODES);
    for (name, bound) in [(c"size", size.bytes()), (c"nr_inodes", inodes)] {
        // The digits of the largest number, and the NUL that is left behind
        // them.
        let mut text = [0; 21];
        write!(&mut text[..20], "{bound}").expect("a u64 has 20 digits at most");
        options.push(name);
        options.push(CStr::from_bytes_until_nul(&text).expect("the last byte is a NUL"));
    }
}

/// The kernel's file systems and `/dev`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kernel {
    /// procfs of the new pid namespace.
    pub(crate) proc: Slot,
    sys: Slot,
    /// A tmpfs.
    pub(crate) dev: Slot,
    /// What `sys` gets when it is attached, with all below it, if it is the caller's own view.
    sys_attrs: u32,
}

impl Kernel {
    /// All three, with nothing in them, attached nowhere yet.
    pub(crate) fn new(ops: &mut Ops, spec: &Spec, ordinary: bool) -> Self {
        let proc = ops.new_fs(c"proc", &ListBuf::default(), LOCKED);
        // sysfs belongs to whoever owns the network namespace: only the caller's own view of it can be had.
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

    /// Attaches them inside. None of the places may be a link in the image (CVE-2019-19921).
    pub(crate) fn attach(self, ops: &mut Ops, root: Slot) {
        for (slot, path) in [(self.proc, c"proc"), (self.sys, c"sys"), (self.dev, c"dev")] {
            ops.attach(slot, root, path, MAKE_DIR | NO_SYMLINKS);
        }
        if self.sys_attrs != 0 {
            ops.set_attr(self.sys, self.sys_attrs, true);
        }
    }

    /// `/sys/fs/cgroup`, `/dev/pts`, `/dev/shm` and `/dev/mqueue`; the devpts comes back.
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

    /// Hides and protects what the spec says and the kernel has. To be done when `null` is in `/dev`.
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

    /// Where a path of Docker's defaults is in these. Others may be links, which lead anywhere: those are resolved in the root.
    fn of_default(self, path: &Path) -> Option<(Slot, &Path)> {
        let text = path.to_str()?;
        let (slot, rest) = match text.strip_prefix("/proc/") {
            Some(rest) => (self.proc, rest),
            None => (self.sys, text.strip_prefix("/sys/")?),
        };
        let is_one = |all: &[&str]| all.contains(&text);
        let is_throttle = || THROTTLES.iter().any(|one| one.as_os_str() == text);
        let is_default = is_one(&READ_ONLY) || is_one(&MASKED) || is_throttle();
        is_default.then(|| (slot, Path::new(rest)))
    }
}

/// The attribute of kernel file systems that are read-only; none where they are not.
fn read_only_fs(spec: &Spec) -> u32 {
    match spec.security.profile {
        Profile::Privileged => 0,
        _ => RDONLY,
    }
}

/// Hides the first and protects the second, where a place is given for it.
fn restrict(
    ops: &mut Ops,
    dev: Slot,
    stage: Slot,
    [hidden, protected]: [&[PathBuf]; 2],
    place: impl Fn(&Path) -> Option<(Slot, &Path)>,
) -> Result<()> {
    for (root, path) in hidden.iter().filter_map(|path| place(path)) {
        ops.push(Op::Mask {
            root: root.number(),
            path: &c_inside(path)?,
            dev: dev.number(),
            stage: stage.number(),
        });
    }
    for (root, path) in protected.iter().filter_map(|path| place(path)) {
        ops.push(Op::MakeReadOnly {
            root: root.number(),
            path: &c_inside(path)?,
        });
    }
    Ok(())
}

/// The paths that are hidden.
pub(crate) fn masked(spec: &Spec) -> Vec<PathBuf> {
    if let Some(paths) = &spec.security.masked_paths {
        return paths.clone();
    }
    if spec.security.profile == Profile::Privileged {
        return Vec::new();
    }
    let mut paths: Vec<PathBuf> = MASKED.iter().map(PathBuf::from).collect();
    paths.extend_from_slice(&THROTTLES);
    paths
}

/// The thermal throttling of each processor that there is, where any has it: one that is off now may be on later.
static THROTTLES: LazyLock<Vec<PathBuf>> = LazyLock::new(|| {
    let cpus = (0..).map(|n| PathBuf::from(format!("/sys/devices/system/cpu/cpu{n}")));
    let cpus = cpus.take_while(|cpu| cpu.exists());
    let all: Vec<PathBuf> = cpus.map(|cpu| cpu.join("thermal_throttle")).collect();
    if all.iter().any(|path| path.exists()) {
        all
    } else {
        Vec::new()
    }
});

/// The paths that are read-only.
pub(crate) fn read_only(spec: &Spec) -> Vec<PathBuf> {
    match &spec.security.readonly_paths {
        Some(paths) => paths.clone(),
        None if spec.security.profile == Profile::Privileged => Vec::new(),
        None => READ_ONLY.iter().map(PathBuf::from).collect(),
    }
}

/// Whether the overlay belongs to a user namespace, as [`Op::NewOverlay`] is told.
pub(crate) const fn overlay_flags(ordinary: bool) -> u32 {
    if ordinary { USERXATTR } else { 0 }
}

/// An overlay whose upper layer is a directory of the stage; its root looks as the topmost layer's does.
pub(crate) fn overlay(
    ops: &mut Ops,
    stage: Slot,
    name: &str,
    lowers: ListBuf,
    attrs: u32,
    flags: u32,
) -> Slot {
    use nix::sys::stat::stat;
    let path =
        |tail: &str| CString::new(format!("{name}{tail}")).expect("names of ours hold no NUL");
    let (upper, work) = (path("u"), path("w"));
    // What cannot be looked at fails when it is mounted, with its name.
    let top = lowers
        .as_list()
        .iter()
        .next()
        .and_then(|top| stat(top).ok());
    let (mode, uid, gid) = match top {
        Some(stat) if flags & USERXATTR != 0 => (stat.st_mode & 0o7777, 0, 0),
        Some(stat) => (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid),
        None => (0o755, 0, 0),
    };
    ops.push(Op::MakeDir {
        root: stage.number(),
        path: &upper,
        mode,
        uid,
        gid,
    });
    ops.make_dir(stage, &work, 0o700);
    overlay_at(ops, stage, lowers, [&upper, &work], attrs, flags)
}

/// An overlay with its upper and work directories.
pub(crate) fn overlay_at(
    ops: &mut Ops,
    stage: Slot,
    lowers: ListBuf,
    [upper, work]: [&CStr; 2],
    attrs: u32,
    flags: u32,
) -> Slot {
    let into = ops.slot();
    // A layer from elsewhere may not redirect into other layers (the kernel's overlayfs documentation, "Permission model").
    let options = if flags & USERXATTR != 0 {
        ListBuf::default()
    } else {
        options([
            c"redirect_dir",
            c"nofollow",
            c"metacopy",
            c"off",
            c"index",
            c"off",
        ])
    };
    ops.push(Op::NewOverlay {
        into: into.number(),
        stage: stage.number(),
        lowers: lowers.as_list(),
        upper,
        work,
        options: options.as_list(),
        attrs,
        flags,
    });
    into
}
