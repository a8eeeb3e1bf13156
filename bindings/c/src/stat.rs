// SPDX-License-Identifier: MIT OR Apache-2.0
//! Metadata of a file of a sandbox.

use tare_core::files::Metadata;

use crate::input::Input;

/// The result of stat(2), as the sandbox sees the file: with the sandbox's ids,
/// not the machine's.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tare_stat {
    /// sizeof(tare_stat), set by the caller.
    pub size: u64,
    /// Type and permissions, for S_ISREG() and its like, inode(7).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Nanoseconds to add to `atime`.
    pub atime_ns: u32,
    /// Nanoseconds to add to `mtime`.
    pub mtime_ns: u32,
    /// Nanoseconds to add to `ctime`.
    pub ctime_ns: u32,
    /// Last access, seconds since 1970.
    pub atime: i64,
    /// Last change of the content, seconds since 1970.
    pub mtime: i64,
    /// Last change of anything else, seconds since 1970.
    pub ctime: i64,
    /// Bytes of content: `st_size`.
    pub bytes: u64,
    /// The file system.
    pub dev: u64,
    /// The file's number on the device.
    pub ino: u64,
    /// Number of names of the file.
    pub nlink: u64,
    /// Number of the device, for a device.
    pub rdev: u64,
    /// Units of 512 bytes in use.
    pub blocks: u64,
}

// SAFETY: `repr(C)`, begins with the size, numbers without padding.
unsafe impl Input for tare_stat {
    const NAME: &'static str = "tare_stat";
}

impl From<Metadata> for tare_stat {
    fn from(found: Metadata) -> Self {
        Self {
            size: 0,
            mode: found.mode(),
            uid: found.uid(),
            gid: found.gid(),
            atime_ns: found.atime().1,
            mtime_ns: found.mtime().1,
            ctime_ns: found.ctime().1,
            atime: found.atime().0,
            mtime: found.mtime().0,
            ctime: found.ctime().0,
            bytes: found.len(),
            dev: found.dev(),
            ino: found.ino(),
            nlink: found.nlink(),
            rdev: found.rdev(),
            blocks: found.blocks(),
        }
    }
}
