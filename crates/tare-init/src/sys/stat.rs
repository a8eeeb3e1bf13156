// SPDX-License-Identifier: MIT OR Apache-2.0
//! State of files and of file systems: stat(2), statfs(2).

use core::ffi::CStr;

use super::{AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, Result, syscall};

pub(crate) const S_IFMT: u32 = 0o170000;
pub(crate) const S_IFDIR: u32 = 0o040000;
pub(crate) const S_IFCHR: u32 = 0o020000;
pub(crate) const S_IFBLK: u32 = 0o060000;
pub(crate) const S_IFREG: u32 = 0o100000;
pub(crate) const S_IFIFO: u32 = 0o010000;
pub(crate) const S_IFLNK: u32 = 0o120000;

/// `struct stat` of x86-64.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Stat {
    pub(crate) dev: u64,
    pub(crate) ino: u64,
    pub(crate) nlink: u64,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    _pad: u32,
    pub(crate) rdev: u64,
    pub(crate) size: i64,
    _blksize: i64,
    pub(crate) blocks: i64,
    /// Seconds and nanoseconds of the last access, change, change of status.
    pub(crate) times: [i64; 6],
    _unused: [i64; 3],
}

impl Stat {
    /// Returns whether the file has this type, an `S_IF*`.
    pub(crate) fn is(&self, kind: u32) -> bool {
        self.mode & S_IFMT == kind
    }
}

/// Returns the state of a file, links not followed; with an empty path of `dir`
/// itself.
pub(crate) fn fstatat(dir: i32, path: &CStr) -> Result<Stat> {
    stat_with(dir, path, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)
}

/// Returns the state of the file that a path leads to, through any links.
pub(crate) fn stat(dir: i32, path: &CStr) -> Result<Stat> {
    stat_with(dir, path, 0)
}

fn stat_with(dir: i32, path: &CStr, flags: u32) -> Result<Stat> {
    let mut stat = Stat::default();
    // SAFETY: `path` ends with a NUL, and `Stat` is as large as the kernel's
    // structure and holds only integers.
    unsafe { syscall!(NEWFSTATAT, dir, path.as_ptr(), &raw mut stat, flags) }?;
    Ok(stat)
}

/// The used part of `struct statfs`.
pub(crate) struct StatFs {
    /// The magic number of the type, see [`crate::fs_types`].
    pub(crate) kind: u64,
    /// `ST_*` flags of the mount.
    pub(crate) flags: u64,
}

/// Returns type and flags of the file system that a descriptor is on, O_PATH or
/// not.
pub(crate) fn fstatfs(fd: i32) -> Result<StatFs> {
    let mut stat = [0u64; 15];
    // SAFETY: the array has 120 bytes, the size of the kernel's structure of
    // integers.
    unsafe { syscall!(FSTATFS, fd, stat.as_mut_ptr()) }?;
    Ok(StatFs {
        kind: stat[0],
        flags: stat[10],
    })
}

/// Returns the id of the mount that a path is in: statx(2), STATX_MNT_ID.
pub(crate) fn mount_id(dir: i32, path: &CStr) -> Result<u64> {
    const STATX_MNT_ID: u32 = 0x1000;
    let mut stat = [0u64; 32];
    // SAFETY: `path` ends with a NUL; the array has 256 bytes, the size of the
    // kernel's structure of integers.
    unsafe {
        syscall!(
            STATX,
            dir,
            path.as_ptr(),
            AT_EMPTY_PATH,
            STATX_MNT_ID,
            stat.as_mut_ptr()
        )
    }?;
    Ok(stat[18])
}
