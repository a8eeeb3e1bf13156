// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mounts and namespaces.

use core::ffi::CStr;

use super::{Fd, O_CLOEXEC, Result, calls, syscall};

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

const FSOPEN_CLOEXEC: u32 = 1;
const FSMOUNT_CLOEXEC: u32 = 1;
const FSCONFIG_SET_FLAG: u32 = 0;
const FSCONFIG_SET_STRING: u32 = 1;
const FSCONFIG_SET_FD: u32 = 5;
const FSCONFIG_CMD_CREATE: u32 = 6;
const OPEN_TREE_CLONE: u32 = 1;
const MNT_DETACH: u32 = 2;

/// [`move_mount`]: the empty source path is the descriptor itself.
pub(crate) const MOVE_MOUNT_F_EMPTY_PATH: u32 = 0x04;
/// [`move_mount`]: the empty target path is the descriptor itself.
pub(crate) const MOVE_MOUNT_T_EMPTY_PATH: u32 = 0x40;

calls! {
    /// Begins a new instance of a file system.
    fn fsopen(kind: &CStr) -> Fd = FSOPEN(kind.as_ptr(), FSOPEN_CLOEXEC);

    /// Sets an option without a value.
    fn fsconfig_flag(fs: &Fd, key: &CStr) =
        FSCONFIG(fs.raw(), FSCONFIG_SET_FLAG, key.as_ptr(), 0, 0);

    /// Sets an option to a string.
    fn fsconfig_string(fs: &Fd, key: &CStr, value: &CStr) =
        FSCONFIG(fs.raw(), FSCONFIG_SET_STRING, key.as_ptr(), value.as_ptr(), 0);

    /// Sets an option to a descriptor.
    fn fsconfig_fd(fs: &Fd, key: &CStr, value: &Fd) =
        FSCONFIG(fs.raw(), FSCONFIG_SET_FD, key.as_ptr(), 0, value.raw());

    /// Makes the file system of all options set so far.
    fn fsconfig_create(fs: &Fd) = FSCONFIG(fs.raw(), FSCONFIG_CMD_CREATE, 0, 0, 0);

    /// Makes a detached mount of a file system.
    fn fsmount(fs: &Fd, attrs: u32) -> Fd = FSMOUNT(fs.raw(), FSMOUNT_CLOEXEC, attrs);

    /// Makes a detached clone of the mount at a path.
    fn open_tree_clone(base: i32, path: &CStr, flags: u32) -> Fd =
        OPEN_TREE(base, path.as_ptr(), flags | OPEN_TREE_CLONE | O_CLOEXEC);

    /// Attaches the mount of a descriptor at a path.
    fn move_mount(from: i32, dir: i32, path: &CStr, flags: u32) =
        MOVE_MOUNT(from, c"".as_ptr(), dir, path.as_ptr(), flags | MOVE_MOUNT_F_EMPTY_PATH);

    /// Mounts a file system, with its options as text.
    fn mount(kind: &CStr, target: &CStr, flags: u64, data: &CStr) =
        MOUNT(kind.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data.as_ptr());

    /// Changes flags or propagation of the mount at a path: MS_REMOUNT,
    /// MS_PRIVATE, MS_SLAVE.
    fn mount_change(target: &CStr, flags: u64) = MOUNT(0, target.as_ptr(), 0, flags, 0);

    /// Detaches the mount at a path, busy or not.
    fn umount_detach(path: &CStr) = UMOUNT2(path.as_ptr(), MNT_DETACH);

    /// Makes the working directory the root, and stacks the old root on top.
    fn pivot_root_here() = PIVOT_ROOT(c".".as_ptr(), c".".as_ptr());

    /// Moves the caller into new namespaces: `CLONE_NEW*`.
    fn unshare(flags: u64) = UNSHARE(flags);

    /// Moves the caller into the namespace of a descriptor.
    fn setns(file: i32, flags: u64) = SETNS(file, flags);

    /// Sets the host name of the caller's UTS namespace.
    fn sethostname(name: &CStr) = SETHOSTNAME(name.as_ptr(), name.count_bytes());
}

/// Sets and clears attributes of a descriptor's mount, and sets its
/// propagation.
pub(crate) fn mount_setattr(
    mount: i32,
    flags: u32,
    (set, clear): (u32, u32),
    propagation: u64,
) -> Result<()> {
    // `struct mount_attr`, with no descriptor of a user namespace.
    let attr = [u64::from(set), u64::from(clear), propagation, 0];
    let (empty, at, size) = (c"".as_ptr(), attr.as_ptr(), size_of_val(&attr));
    // SAFETY: the path ends with a NUL; the kernel reads `size` bytes of
    // `attr`.
    unsafe { syscall!(MOUNT_SETATTR, mount, empty, flags, at, size) }.map(drop)
}

/// Returns whether the kernel has mount_setattr(2), and the caller may see
/// that.
pub(crate) fn has_mount_setattr() -> bool {
    // A size of 0 is EINVAL if the call exists. SAFETY: the path ends with a
    // NUL; the kernel reads no byte of a structure of size 0.
    let tried = unsafe { syscall!(MOUNT_SETATTR, -1i32, c"".as_ptr(), 0, 0, 0) };
    tried != Err(super::Errno::NOSYS)
}
