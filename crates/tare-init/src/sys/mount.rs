// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mounts and namespaces.

use core::ffi::CStr;

use super::fd::opened;
use super::{Fd, O_CLOEXEC, Result, syscall};

pub(crate) const CLONE_NEWNS: u64 = 0x2_0000;
pub(crate) const CLONE_NEWIPC: u64 = 0x0800_0000;
pub(crate) const CLONE_NEWUSER: u64 = 0x1000_0000;
pub(crate) const CLONE_NEWNET: u64 = 0x4000_0000;

pub(crate) const MS_REMOUNT: u64 = 0x20;
pub(crate) const MS_NOSYMFOLLOW: u64 = 0x100;
pub(crate) const MS_NOATIME: u64 = 0x400;
pub(crate) const MS_NODIRATIME: u64 = 0x800;
pub(crate) const MS_BIND: u64 = 0x1000;
pub(crate) const MS_REC: u64 = 0x4000;
pub(crate) const MS_PRIVATE: u64 = 1 << 18;
pub(crate) const MS_SLAVE: u64 = 1 << 19;
pub(crate) const MS_RELATIME: u64 = 1 << 21;
pub(crate) const MS_STRICTATIME: u64 = 1 << 24;

pub(crate) const MOUNT_ATTR_RDONLY: u32 = 1;
pub(crate) const MOUNT_ATTR_NOSUID: u32 = 2;
pub(crate) const MOUNT_ATTR_NODEV: u32 = 4;
pub(crate) const MOUNT_ATTR_NOEXEC: u32 = 8;

/// [`move_mount`]: the empty source path is the descriptor itself.
pub(crate) const MOVE_MOUNT_F_EMPTY_PATH: u32 = 0x04;
/// [`move_mount`]: the empty target path is the descriptor itself.
pub(crate) const MOVE_MOUNT_T_EMPTY_PATH: u32 = 0x40;

/// Begins a new instance of a file system.
pub(crate) fn fsopen(kind: &CStr) -> Result<Fd> {
    const FSOPEN_CLOEXEC: u32 = 1;
    // SAFETY: `kind` ends with a NUL; fsopen(2) opens the returned descriptor.
    unsafe { opened(syscall!(FSOPEN, kind.as_ptr(), FSOPEN_CLOEXEC)) }
}

/// Sets an option without a value.
pub(crate) fn fsconfig_flag(fs: &Fd, key: &CStr) -> Result<()> {
    const FSCONFIG_SET_FLAG: u32 = 0;
    // SAFETY: `key` ends with a NUL; a flag has no value.
    unsafe { syscall!(FSCONFIG, fs.raw(), FSCONFIG_SET_FLAG, key.as_ptr(), 0, 0) }.map(drop)
}

/// Sets an option to a string.
pub(crate) fn fsconfig_string(fs: &Fd, key: &CStr, value: &CStr) -> Result<()> {
    const FSCONFIG_SET_STRING: u32 = 1;
    let (key, value) = (key.as_ptr(), value.as_ptr());
    // SAFETY: both strings end with a NUL.
    unsafe { syscall!(FSCONFIG, fs.raw(), FSCONFIG_SET_STRING, key, value, 0) }.map(drop)
}

/// Sets an option to a descriptor.
pub(crate) fn fsconfig_fd(fs: &Fd, key: &CStr, value: &Fd) -> Result<()> {
    const FSCONFIG_SET_FD: u32 = 5;
    let (key, value) = (key.as_ptr(), value.raw());
    // SAFETY: `key` ends with a NUL; the value is a number.
    unsafe { syscall!(FSCONFIG, fs.raw(), FSCONFIG_SET_FD, key, 0, value) }.map(drop)
}

/// Makes the file system of all options set so far.
pub(crate) fn fsconfig_create(fs: &Fd) -> Result<()> {
    const FSCONFIG_CMD_CREATE: u32 = 6;
    // SAFETY: the command has neither key nor value.
    unsafe { syscall!(FSCONFIG, fs.raw(), FSCONFIG_CMD_CREATE, 0, 0, 0) }.map(drop)
}

/// Makes a detached mount of a file system.
pub(crate) fn fsmount(fs: &Fd, attrs: u32) -> Result<Fd> {
    const FSMOUNT_CLOEXEC: u32 = 1;
    // SAFETY: three numbers; fsmount(2) opens the returned descriptor.
    unsafe { opened(syscall!(FSMOUNT, fs.raw(), FSMOUNT_CLOEXEC, attrs)) }
}

/// Makes a detached clone of the mount at a path.
pub(crate) fn open_tree_clone(base: i32, path: &CStr, flags: u32) -> Result<Fd> {
    const OPEN_TREE_CLONE: u32 = 1;
    let flags = flags | OPEN_TREE_CLONE | O_CLOEXEC;
    // SAFETY: `path` ends with a NUL; open_tree(2) opens the returned
    // descriptor.
    unsafe { opened(syscall!(OPEN_TREE, base, path.as_ptr(), flags)) }
}

/// Attaches the mount of a descriptor at a path.
pub(crate) fn move_mount(from: i32, dir: i32, path: &CStr, flags: u32) -> Result<()> {
    let (empty, path) = (c"".as_ptr(), path.as_ptr());
    let flags = flags | MOVE_MOUNT_F_EMPTY_PATH;
    // SAFETY: both strings end with a NUL.
    unsafe { syscall!(MOVE_MOUNT, from, empty, dir, path, flags) }.map(drop)
}

/// mount_setattr(2)'s `struct mount_attr`.
#[repr(C)]
#[derive(Default)]
pub(crate) struct MountAttr {
    pub(crate) set: u64,
    pub(crate) clear: u64,
    pub(crate) propagation: u64,
    pub(crate) userns_fd: u64,
}

/// Changes attributes of a descriptor's mount.
pub(crate) fn mount_setattr(mount: i32, flags: u32, attr: &MountAttr) -> Result<()> {
    let (empty, at) = (c"".as_ptr(), core::ptr::from_ref(attr));
    // SAFETY: the path ends with a NUL; the kernel reads as many bytes as
    // `MountAttr` has.
    unsafe {
        syscall!(
            MOUNT_SETATTR,
            mount,
            empty,
            flags,
            at,
            size_of::<MountAttr>()
        )
    }
    .map(drop)
}

/// Returns whether the kernel has mount_setattr(2), and the caller may see
/// that.
pub(crate) fn has_mount_setattr() -> bool {
    // A size of 0 is EINVAL if the call exists. SAFETY: the path ends with a
    // NUL; the kernel reads no byte of a structure of size 0.
    let tried = unsafe { syscall!(MOUNT_SETATTR, -1i32, c"".as_ptr(), 0, 0, 0) };
    tried != Err(super::Errno::NOSYS)
}

/// Mounts a file system, with its options as text.
pub(crate) fn mount(kind: &CStr, target: &CStr, flags: u64, data: &CStr) -> Result<()> {
    let (kind, target, data) = (kind.as_ptr(), target.as_ptr(), data.as_ptr());
    // SAFETY: the three strings end with a NUL.
    unsafe { syscall!(MOUNT, kind, target, kind, flags, data) }.map(drop)
}

/// Changes flags or propagation of the mount at a path: MS_REMOUNT, MS_PRIVATE,
/// MS_SLAVE.
pub(crate) fn mount_change(target: &CStr, flags: u64) -> Result<()> {
    // SAFETY: `target` ends with a NUL; these changes take neither source nor
    // type nor data.
    unsafe { syscall!(MOUNT, 0, target.as_ptr(), 0, flags, 0) }.map(drop)
}

/// Detaches the mount at a path, busy or not.
pub(crate) fn umount_detach(path: &CStr) -> Result<()> {
    const MNT_DETACH: u32 = 2;
    // SAFETY: `path` ends with a NUL.
    unsafe { syscall!(UMOUNT2, path.as_ptr(), MNT_DETACH) }.map(drop)
}

/// Makes the working directory the root, and stacks the old root on top.
pub(crate) fn pivot_root_here() -> Result<()> {
    let here = c".".as_ptr();
    // SAFETY: both strings end with a NUL.
    unsafe { syscall!(PIVOT_ROOT, here, here) }.map(drop)
}

/// Moves the caller into new namespaces: `CLONE_NEW*`.
pub(crate) fn unshare(flags: u64) -> Result<()> {
    // SAFETY: a number; memory is not unshared.
    unsafe { syscall!(UNSHARE, flags) }.map(drop)
}

/// Moves the caller into the namespace of a descriptor.
pub(crate) fn setns(file: i32, flags: u64) -> Result<()> {
    // SAFETY: two numbers.
    unsafe { syscall!(SETNS, file, flags) }.map(drop)
}

/// Sets the host name of the caller's UTS namespace.
pub(crate) fn sethostname(name: &CStr) -> Result<()> {
    // SAFETY: the kernel reads as many bytes as the string has.
    unsafe { syscall!(SETHOSTNAME, name.as_ptr(), name.count_bytes()) }.map(drop)
}
