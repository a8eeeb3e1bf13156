// SPDX-License-Identifier: MIT OR Apache-2.0
//! The mount primitive: a copy-on-write view of an image on a directory of the
//! caller, without a sandbox.
//!
//! A mount outlives the process that made it. The store records the layers in
//! use until the unmount, or until the next boot.
#![forbid(unsafe_code)]

use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::Mode;
use serde::{Deserialize, Serialize};

use crate::backend::{self, TreeRequest};
use crate::error::{Error, Kind, Result, Step};
use crate::image::{MountRecord, Root};
use crate::instance::Rootfs;
use crate::plan;
use crate::spec::{self, ByteSize, Storage, Write};
use crate::store::Store;
use crate::sys::mountinfo::{self, Mounts};

/// Options of a mount.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Target of writes. Default: `memory`, a tmpfs that is gone with the
    /// mount.
    pub write: Write,
    /// Back end. Default: `auto`.
    pub storage: Storage,
    /// Size of the writable layer in memory; an error for another target.
    /// Default: the kernel's, half of memory.
    pub size: Option<ByteSize>,
}

impl Options {
    /// Reads options from JSON text; the keys are the fields' names.
    ///
    /// # Errors
    /// As [`crate::Spec::from_json`].
    pub fn from_json(text: &str) -> Result<Self> {
        spec::from_json(Step::ParseMountOptions, text)
    }
}

/// Mounts a view of an image on an existing directory; [`umount`] undoes the
/// mount. For root.
///
/// # Errors
/// [`Kind::Permission`] for ordinary users, [`Kind::NotFound`] for a missing
/// image or directory. Leaves no mount then.
pub fn mount(store: &Store, image: &str, dir: &Path, options: &Options) -> Result<()> {
    let spawner = store.runtime().spawner()?;
    if spawner.ids.ordinary() {
        return Err(only_root(Step::MountImage));
    }
    let target = canonical(Step::MountImage, dir)?;
    let place = directory(&target)?;
    let image = store.images().image(&image.parse()?)?;
    let layers = match image.root() {
        Root::Layers(layers) => layers.clone(),
        Root::Host | Root::Dir(_) => Vec::new(),
    };
    let mut mounted = store.images().record_mount(&target, &layers)?;
    let rootfs = Rootfs::of(image);
    let made = (|| {
        let backend = backend::choose(options.storage, &rootfs.lower, false);
        let request = TreeRequest {
            lower: &rootfs.lower,
            write: options.write,
            size: backend::size(backend, options.write, options.size)?,
            ordinary: false,
            scratch: mounted.tree(),
            spawner: &spawner,
            may_try: true,
        };
        backend.prepare(&request)?;
        let ops = plan::mount_tree(backend, &request)?;
        let own = "/proc/self/ns/mnt";
        let own = File::open(own).map_err(|e| Error::io(Step::MountImage, own, e))?;
        spawner.job(&ops, plan::MOUNT_NAMESPACE, &[own.as_fd(), place.as_fd()])?;
        mounted.complete(mount_number(&directory(&target)?)?)
    })();
    if made.is_err() {
        // The first error is the useful one; a record that stays is swept after
        // the next boot.
        let _ = store.images().forget_mount(&mounted);
    }
    made
}

/// Undoes [`mount`], and removes files written to disk. With `lazy` the view is
/// detached at once, and gone when its last user has ended.
///
/// # Errors
/// [`Kind::NotFound`] if no view of this store is mounted there, [`Kind::Busy`]
/// if the view is in use, or below another mount.
pub fn umount(store: &Store, dir: &Path, lazy: bool) -> Result<()> {
    const STEP: Step = Step::UnmountImage;
    let target = canonical(STEP, dir)?;
    let subject = format!("{target:?}");
    let found = store.images().mounts()?;
    let mut here: Vec<_> = found.into_iter().filter(|m| m.target() == target).collect();
    if here.is_empty() {
        let error = Error::new(
            Kind::NotFound,
            STEP,
            format_args!("{subject}: nothing of this store is mounted there"),
        );
        return Err(error.with_cure("the store that it was mounted from, TARE_STORE=DIR"));
    }
    let number = mount_number(&directory(&target)?)?;
    if let Some(at) = here.iter().position(|m| m.number() == Some(number)) {
        let mut flags = MntFlags::UMOUNT_NOFOLLOW;
        flags.set(MntFlags::MNT_DETACH, lazy);
        umount2(&target, flags).map_err(|e| match e {
            Errno::EPERM => only_root(STEP),
            Errno::EBUSY => Error::os(STEP, &subject, e)
                .with_cure("ending what uses it (fuser -vm DIR), or --lazy"),
            e => Error::os(STEP, &subject, e),
        })?;
        return store.images().forget_mount(&here.swap_remove(at));
    }
    if is_mounted(&here)? {
        let error = Error::new(
            Kind::Busy,
            STEP,
            format_args!("{subject}: something else is mounted on top"),
        );
        return Err(error.with_cure("umount DIR first"));
    }
    // Another process has unmounted it, so only the records are left.
    here.iter()
        .try_for_each(|mounted| store.images().forget_mount(mounted))
}

fn only_root(step: Step) -> Error {
    let why = "an ordinary user cannot change what others see at a path";
    Error::new(Kind::Permission, step, why).with_cure("root; or a sandbox, which needs none")
}

fn canonical(step: Step, dir: &Path) -> Result<PathBuf> {
    dir.canonicalize()
        .map_err(|e| Error::io(step, format_args!("{dir:?}"), e))
}

/// Opens the topmost mount of the directory.
fn directory(target: &Path) -> Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    open(target, flags, Mode::empty())
        .map_err(|e| Error::os(Step::OpenDirectory, format_args!("{target:?}"), e))
}

/// Returns the id of a descriptor's mount, proc_pid_fdinfo(5).
fn mount_number(dir: &OwnedFd) -> Result<u64> {
    let path = format!("/proc/self/fdinfo/{}", dir.as_raw_fd());
    let text = std::fs::read_to_string(&path).map_err(|e| Error::io(Step::FindMount, &path, e))?;
    let number = text.lines().find_map(|line| line.strip_prefix("mnt_id:"));
    number
        .and_then(|number| number.trim().parse().ok())
        .ok_or_else(|| {
            Error::new(
                Kind::Unsupported,
                Step::FindMount,
                format_args!("{path}: no mnt_id"),
            )
        })
}

/// Returns whether one of these mounts is still in this process's view.
fn is_mounted(mounts: &[MountRecord]) -> Result<bool> {
    let all = Mounts::now().map_err(|e| Error::io(Step::FindMount, mountinfo::OWN, e))?;
    let mut numbers = mounts.iter().filter_map(MountRecord::number);
    Ok(numbers.any(|number| all.contains(number)))
}
