// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mounts by file descriptor: a new file system, a clone of a tree, attributes,
//! attaching.
#![forbid(unsafe_code)]

use core::ffi::CStr;

use crate::chroot;
use crate::dir;
use crate::remount;
use crate::sys::{
    self, AT_EMPTY_PATH, AT_FDCWD, AT_RECURSIVE, Errno, Fd, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY, MOVE_MOUNT_T_EMPTY_PATH, MS_PRIVATE, MS_REC, O_CLOEXEC,
    O_DIRECTORY, O_PATH, Result, S_IFCHR, S_IFDIR, mount_id,
};
use crate::wire::{self, List};

/// Attributes of a mount that hides a path.
const HIDING: u32 = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;

/// Sets an option; an empty value makes a flag.
pub(crate) fn option(fs: &Fd, key: &CStr, value: &CStr) -> Result<()> {
    match value.is_empty() {
        true => sys::fsconfig_flag(fs, key),
        false => sys::fsconfig_string(fs, key, value),
    }
}

/// Sets options: key and value in turn.
pub(crate) fn options(fs: &Fd, options: List<'_>) -> Result<()> {
    let mut each = options.iter();
    while let (Some(key), Some(value)) = (each.next(), each.next()) {
        option(fs, key, value)?;
    }
    Ok(())
}

/// Makes a detached mount of the configured file system, fsmount(2).
pub(crate) fn create(fs: &Fd, attrs: u32) -> Result<Fd> {
    sys::fsconfig_create(fs)?;
    sys::fsmount(fs, attrs)
}

/// Opens a mount of the machine, through no link; ENOENT if the mount was moved
/// since the listing.
pub(crate) fn open_of_machine(path: &CStr, flags: u32) -> Result<Fd> {
    const HERE: u64 = sys::RESOLVE_NO_SYMLINKS | sys::RESOLVE_NO_MAGICLINKS;
    match sys::openat2(AT_FDCWD, path, O_PATH | O_CLOEXEC | flags, 0, HERE) {
        Err(Errno::LOOP | Errno::NOTDIR) => Err(Errno::NOENT),
        other => other,
    }
}

/// Attaches a detached mount on an open path.
pub(crate) fn attach(from: i32, target: i32) -> Result<()> {
    sys::move_mount(from, target, c"", MOVE_MOUNT_T_EMPTY_PATH)
}

/// Detaches a mount; its users keep it.
pub(crate) fn detach(mount: i32) -> Result<()> {
    sys::fchdir(mount)?;
    sys::umount_detach(c".")?;
    sys::chdir(c"/")
}

/// Attaches a detached mount on top of the process's root.
pub(crate) fn attach_root(from: i32) -> Result<()> {
    sys::move_mount(from, AT_FDCWD, c"/", 0)
}

/// Changes attributes of an attached mount, recursively on request.
pub(crate) fn set_attr(mount: i32, set: u32, clear: u32, recursive: bool) -> Result<()> {
    match mount_setattr(mount, set, clear, recursive) {
        Err(Errno::NOSYS) => remount::set_attr(mount, set, clear, recursive),
        other => other,
    }
}

fn mount_setattr(mount: i32, set: u32, clear: u32, recursive: bool) -> Result<()> {
    let flags = AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    sys::mount_setattr(mount, flags, (set, clear), 0)
}

/// Attaches a detached clone with these attributes, recursively. Sets the
/// attributes first, since the kernel refuses to change mounts that are
/// attached to a detached tree. KERNEL(5.12): without mount_setattr(2)
/// afterwards.
fn attach_with(clone: &Fd, target: &Fd, set: u32) -> Result<()> {
    match mount_setattr(clone.raw(), set, 0, true) {
        Err(Errno::NOSYS) => {
            attach(clone.raw(), target.raw())?;
            remount::set_attr(clone.raw(), set, 0, true)
        }
        other => other.and_then(|()| attach(clone.raw(), target.raw())),
    }
}

/// Binds a file of the machine, read-only, to a name in a directory; makes a
/// missing target.
pub(crate) fn bind_read_only(path: &CStr, dir: i32, name: &CStr) -> Result<()> {
    let file = sys::open_tree_clone(open_of_machine(path, 0)?.raw(), c"", AT_EMPTY_PATH)?;
    match set_private(file.raw()) {
        // KERNEL(5.12): the target namespace is private anyway.
        Ok(()) | Err(Errno::NOSYS) => {}
        Err(error) => return Err(error),
    }
    let target = dir::ensure_file(dir, name, dir::STRICT)?;
    attach_with(&file, &target, MOUNT_ATTR_RDONLY)
}

/// Does [`wire::Op::Attach`].
pub(crate) fn attach_in(from: i32, root: i32, path: &CStr, flags: u32) -> Result<()> {
    if path.is_empty() {
        return attach(from, root);
    }
    match target(root, path, flags).and_then(|target| attach(from, target.raw())) {
        Err(Errno::NOENT) if flags & wire::IF_PRESENT != 0 => Ok(()),
        Err(errno) if flags & wire::OR_SKIP != 0 && !errno.is_of_machine() => Ok(()),
        other => other,
    }
}

/// Finds the target of an attachment.
fn target(root: i32, path: &CStr, flags: u32) -> Result<Fd> {
    let with = |flag, how| if flags & flag != 0 { how } else { dir::ANY };
    // Links of an image may lead to places that no mount may cover
    // (CVE-2019-16884).
    let how = with(wire::NO_SYMLINKS, dir::STRICT) | with(wire::SAME_MOUNT, dir::HERE);
    let target = if flags & wire::MAKE_DIR != 0 {
        dir::ensure_dir(root, path, how)?
    } else if flags & wire::MAKE_FILE != 0 {
        dir::ensure_file(root, path, how)?
    } else {
        dir::open(root, path, O_PATH, how)?
    };
    match flags & wire::NOT_IN_KERNEL_FS != 0 && (is_in_kernel_fs(&target)? || hides(&target)?) {
        true => Err(Errno::XDEV),
        false => Ok(target),
    }
}

fn is_in_kernel_fs(target: &Fd) -> Result<bool> {
    // procfs, sysfs, cgroup v1 and v2, statfs(2).
    const KERNEL: [u64; 4] = [0x9fa0, 0x6265_6572, 0x0027_e0eb, 0x6367_7270];
    Ok(KERNEL.contains(&sys::fstatfs(target.raw())?.kind))
}

/// Returns whether a mount of another type, made by [`mask`], hides a part of
/// such a file system there. The null device counts, because a second mask may
/// follow.
fn hides(target: &Fd) -> Result<bool> {
    let stat = sys::fstatat(target.raw(), c"")?;
    if !stat.is(S_IFDIR) {
        return Ok(stat.is(S_IFCHR) && stat.rdev == wire::NULL);
    }
    match sys::openat(target.raw(), c"..", O_PATH | O_DIRECTORY, 0) {
        Ok(parent) => is_in_kernel_fs(&parent),
        // A mask is searchable for all users.
        Err(Errno::ACCES) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Opens a path that is to be hidden or made read-only; `None` if missing.
fn present(root: i32, path: &CStr) -> Result<Option<Fd>> {
    match dir::open(root, path, O_PATH, dir::ANY) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Does [`wire::Op::Mask`].
pub(crate) fn mask(root: i32, path: &CStr, dev: i32, stage: i32) -> Result<()> {
    if is_weak!("mask_nothing") {
        return Ok(());
    }
    let Some(target) = present(root, path)? else {
        return Ok(());
    };
    if sys::fstatat(target.raw(), c"")?.is(S_IFDIR) {
        attach_with(&sys::open_tree_clone(stage, c"empty", 0)?, &target, HIDING)
    } else {
        attach(sys::open_tree_clone(dev, c"null", 0)?.raw(), target.raw())
    }
}

/// Does [`wire::Op::MakeReadOnly`]: attaches a read-only clone of the path onto
/// the path.
pub(crate) fn make_read_only(root: i32, path: &CStr) -> Result<()> {
    let Some(target) = present(root, path)? else {
        return Ok(());
    };
    let same = sys::open_tree_clone(target.raw(), c"", AT_EMPTY_PATH | AT_RECURSIVE)?;
    attach_with(&same, &target, MOUNT_ATTR_RDONLY)
}

/// Makes every mount private or a slave, `MS_PRIVATE` or `MS_SLAVE` of
/// mount_namespaces(7).
pub(crate) fn propagate(how: u64) -> Result<()> {
    let change = || sys::mount_change(c"/", MS_REC | how);
    match change() {
        // The root is no mount point.
        Err(Errno::INVAL) => {
            chroot::change_all(change)?;
            // Makes the root a mount. All mounts are private or slaves, so the
            // change stays inside.
            let root = sys::open_tree_clone(AT_FDCWD, c"/", AT_RECURSIVE)?;
            attach_root(root.raw())?;
            chroot::enter(root.raw())
        }
        other => other,
    }
}

/// Makes a detached mount private, recursively: [`propagate`] does not reach
/// detached mounts.
pub(crate) fn set_private(mount: i32) -> Result<()> {
    sys::mount_setattr(mount, AT_EMPTY_PATH | AT_RECURSIVE, (0, 0), MS_PRIVATE)
}

/// Makes a mount on top of an empty root the process's root. No walk leads
/// below, because the old root is covered at its root, and is empty. To the
/// kernel, the topmost root of a namespace is no chroot(2).
pub(crate) fn change_root(root: i32) -> Result<()> {
    chroot::enter(root)?;
    match mount_id(AT_FDCWD, c"/..")? == mount_id(root, c"")? {
        true => Ok(()),
        false => Err(Errno::BUSY),
    }
}

/// Calls pivot_root(2) with both paths `.`: the old root, with all that was
/// stacked on it, ends up on top of the new root. Then detaches mount by mount
/// until the new root is on top. A mount that covers the new root, where a link
/// of the image led there, would go as well: EBUSY, as from [`change_root`].
pub(crate) fn pivot_root(root: i32) -> Result<()> {
    let own = mount_id(root, c"")?;
    // Unlike `/`, a walk through `/..` ends on top of the stack there.
    if mount_id(AT_FDCWD, c"/..")? != own {
        return Err(Errno::BUSY);
    }
    sys::fchdir(root)?;
    sys::pivot_root_here()?;
    for _ in 0..16 {
        sys::umount_detach(c".")?;
        if mount_id(AT_FDCWD, c"/..")? == own {
            return sys::chdir(c"/");
        }
    }
    Err(Errno::BUSY)
}

/// Writes to an existing file below `proc`, in that mount and through no link.
pub(crate) fn set_sysctl(proc: i32, path: &CStr, value: &[u8]) -> Result<()> {
    const HERE: u64 = sys::RESOLVE_BENEATH | sys::RESOLVE_NO_SYMLINKS | sys::RESOLVE_NO_XDEV;
    let file = sys::openat2(proc, path, sys::O_WRONLY, 0, HERE)?;
    sys::write(file.raw(), value)
}
