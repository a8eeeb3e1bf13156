// SPDX-License-Identifier: MIT OR Apache-2.0
//! The messages about files of a sandbox, and the numbers in them.

use core::ffi::CStr;

use super::message::record;
use super::{Field, Reader, Sink};

/// Host to init: [`FileRequest`]; file descriptors: answer socket, then the
/// directory that takes the place of the root, if any.
pub const FILE_REQUEST: u32 = 7;

record! {
    /// A request about a file; `verb` decides on the fields that matter.
    FileRequest<'a> {
        /// `FILE_OPEN` and so on.
        verb: u32,
        /// `FOLLOW` and the like.
        flags: u32,
        /// The file; empty for the given descriptor itself.
        path: &'a CStr,
        /// Text of a symbolic link, or the other path.
        to: &'a CStr,
        /// Flags of open(2).
        open: u32,
        /// Type of a new file, and permission bits.
        mode: u32,
        /// Number of a device.
        device: u64,
        /// User whose rights count, `USER[:GROUP]`; empty for all that the init
        /// may do.
        user: &'a CStr,
        /// Attributes to be set afterwards.
        set: FileSet<'a>,
    }
}

record! {
    /// Attributes to be set, in this order: owner, mode, extended ones, times.
    FileSet<'a> {
        /// `SET_OWNER` and the like.
        what: u32,
        /// Owner by an id of the sandbox; `u32::MAX` leaves the owner.
        uid: u32,
        /// Group by an id of the sandbox; `u32::MAX` leaves the group.
        gid: u32,
        /// Permission bits with setuid, setgid and sticky.
        mode: u32,
        /// Seconds and nanoseconds of utimensat(2): last access.
        atime: u64,
        /// Nanoseconds, `UTIME_OMIT` or `UTIME_NOW`.
        atime_ns: u64,
        /// The same of the last change.
        mtime: u64,
        /// As `atime_ns`.
        mtime_ns: u64,
        /// Extended attributes: a name and its value, each.
        xattrs: &'a [u8],
    }
}

/// Opens a regular file, or with O_DIRECTORY a directory.
pub const FILE_OPEN: u32 = 1;
/// Lists some entries of the given directory, each a name and a [`FileStat`];
/// none at the end.
pub const FILE_LIST: u32 = 2;
/// The [`FileStat`], and where a symbolic link points.
pub const FILE_STAT: u32 = 3;
/// Makes a directory, symbolic link, fifo or device, by the type in `mode`.
pub const FILE_MAKE: u32 = 4;
/// Gives the file `path` the second name `to`.
pub const FILE_LINK: u32 = 5;
/// Renames `path` to `to`.
pub const FILE_RENAME: u32 = 6;
/// Removes a file; with `DIRECTORY` an empty directory; with `CONTENT` some of
/// what is in a directory, and the names of those directories in it that hold
/// something are returned.
pub const FILE_REMOVE: u32 = 7;
/// Sets attributes.
pub const FILE_SET: u32 = 8;
/// Looks the user up; the [`FileStat`] returns user and group as the owner.
pub const FILE_WHO: u32 = 9;

/// [`FileRequest`]: a symbolic link at the end of `path` is followed.
pub const FOLLOW: u32 = 1;
/// [`FileRequest`]: no part of `path` may be a symbolic link.
pub const NO_LINKS: u32 = 2;
/// [`FileRequest`]: `path` may not lead into another mount.
pub const ONE_MOUNT: u32 = 4;
/// [`FILE_OPEN`]: the answer has the extended attributes, too.
pub const WANT_XATTRS: u32 = 8;
/// [`FILE_MAKE`]: an existing directory, or a link to a directory, is fine.
pub const OR_EXISTING: u32 = 16;
/// [`FILE_REMOVE`]: an empty directory.
pub const DIRECTORY: u32 = 32;
/// [`FILE_REMOVE`]: the content of a directory.
pub const CONTENT: u32 = 64;
/// [`FILE_RENAME`]: an existing `to` is not replaced.
pub const NO_REPLACE: u32 = 128;

/// [`FileSet`]: the owner.
pub const SET_OWNER: u32 = 1;
/// [`FileSet`]: the mode.
pub const SET_MODE: u32 = 2;
/// [`FileSet`]: the times.
pub const SET_TIMES: u32 = 4;

/// utimensat(2)'s value for a time that stays unchanged.
pub const UTIME_OMIT: u64 = (1 << 30) - 2;

impl FileRequest<'_> {
    /// Makes a request with all other fields empty.
    pub fn new(verb: u32) -> Self {
        Self {
            verb,
            set: FileSet::NONE,
            ..Self::default()
        }
    }
}

impl FileSet<'_> {
    /// Sets no attribute.
    pub const NONE: Self = FileSet {
        what: 0,
        uid: u32::MAX,
        gid: u32::MAX,
        mode: 0,
        atime: 0,
        atime_ns: UTIME_OMIT,
        mtime: 0,
        mtime_ns: UTIME_OMIT,
        xattrs: &[],
    };
}

record! {
    /// The outcome. Entries, names, attributes or the text of a link follow.
    FileAnswer {
        /// errno, 0 if all is well.
        code: i32,
        /// A `FILE_*` number below, or 0.
        why: u32,
        /// Opened, made: 1 for a new file, 2 if a link to a directory was.
        /// Listed, removed: entries that were looked at.
        count: u32,
        /// Bytes that follow.
        len: u32,
        /// The file afterwards.
        stat: FileStat,
    }
}

/// The file is not regular (nor a directory, where that is allowed).
pub const FILE_IS_SPECIAL: u32 = 1;
/// The file lies on a file system that does not store files: the kernel's own,
/// or an unknown type.
pub const FILE_IS_KERNELS: u32 = 2;
/// There is no such user, or `/etc/passwd` and `/etc/group` cannot be read.
pub const FILE_NO_USER: u32 = 3;
/// A process cannot become the user.
pub const FILE_NOT_AS_USER: u32 = 4;

record! {
    /// stat(2) as the sandbox sees it.
    FileStat {
        /// Device.
        dev: u64,
        /// Inode.
        ino: u64,
        /// Number of hard links.
        nlink: u64,
        /// Type and permission bits.
        mode: u64,
        /// Owner.
        uid: u64,
        /// Group.
        gid: u64,
        /// Number of the device, for a device.
        rdev: u64,
        /// Bytes.
        size: u64,
        /// Blocks of 512 bytes.
        blocks: u64,
        /// Seconds of the last access.
        atime: u64,
        /// Nanoseconds of the last access.
        atime_ns: u64,
        /// Seconds of the last change.
        mtime: u64,
        /// Nanoseconds of the last change.
        mtime_ns: u64,
        /// Seconds of the last change of status.
        ctime: u64,
        /// Nanoseconds of the last change of status.
        ctime_ns: u64,
    }
}

/// Length of a [`FileStat`] on the wire.
pub const FILE_STAT_BYTES: usize = 8 * 15;
/// Length of a [`FileAnswer`] on the wire.
pub const FILE_ANSWER: usize = 16 + FILE_STAT_BYTES;
/// Most bytes of an answer.
pub const FILE_ANSWER_MAX: usize = 48 << 10;
/// Most bytes of a path or a link's text, with its NUL: `PATH_MAX`.
pub const FILE_PATH_MAX: usize = 4096;
