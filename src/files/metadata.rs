// SPDX-License-Identifier: MIT OR Apache-2.0
//! Metadata of a file inside.
#![forbid(unsafe_code)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::wire::FileStat;

/// The result of stat(2) as the sandbox sees it: with its own ids, not the
/// machine's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metadata(FileStat);

/// Type of a file.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileType {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A file of unknown type.
    Unknown,
}

impl FileType {
    pub(super) fn of(mode: u32) -> Self {
        match mode & libc::S_IFMT {
            libc::S_IFREG => Self::File,
            libc::S_IFDIR => Self::Directory,
            libc::S_IFLNK => Self::Symlink,
            libc::S_IFIFO => Self::Fifo,
            libc::S_IFSOCK => Self::Socket,
            libc::S_IFCHR => Self::CharDevice,
            libc::S_IFBLK => Self::BlockDevice,
            _ => Self::Unknown,
        }
    }

    /// Returns the type's name as faces print it, for example `directory`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Symlink => "symlink",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
            Self::CharDevice => "char_device",
            Self::BlockDevice => "block_device",
            Self::Unknown => "unknown",
        }
    }
}

impl Metadata {
    pub(super) fn new(stat: FileStat) -> Self {
        Self(stat)
    }

    /// Returns the file type.
    pub fn file_type(&self) -> FileType {
        FileType::of(self.mode())
    }

    /// Returns whether the file is a regular file.
    pub fn is_file(&self) -> bool {
        self.file_type() == FileType::File
    }

    /// Returns whether the file is a directory.
    pub fn is_dir(&self) -> bool {
        self.file_type() == FileType::Directory
    }

    /// Returns whether the file is a symbolic link.
    pub fn is_symlink(&self) -> bool {
        self.file_type() == FileType::Symlink
    }

    /// Returns the size in bytes.
    #[allow(clippy::len_without_is_empty, reason = "as std::fs::Metadata has it")]
    pub fn len(&self) -> u64 {
        self.0.size
    }

    /// Returns type and permission bits, inode(7).
    pub fn mode(&self) -> u32 {
        self.0.mode as u32
    }

    /// Returns permission bits with setuid, setgid and sticky.
    pub fn permissions(&self) -> u32 {
        self.mode() & 0o7777
    }

    /// Returns the owner inside.
    pub fn uid(&self) -> u32 {
        self.0.uid as u32
    }

    /// Returns the group inside.
    pub fn gid(&self) -> u32 {
        self.0.gid as u32
    }

    /// Returns the device of the file system.
    pub fn dev(&self) -> u64 {
        self.0.dev
    }

    /// Returns the inode number.
    pub fn ino(&self) -> u64 {
        self.0.ino
    }

    /// Returns the number of hard links.
    pub fn nlink(&self) -> u64 {
        self.0.nlink
    }

    /// Returns the number of a device file, makedev(3).
    pub fn rdev(&self) -> u64 {
        self.0.rdev
    }

    /// Returns the number of allocated blocks of 512 bytes.
    pub fn blocks(&self) -> u64 {
        self.0.blocks
    }

    /// Returns seconds since 1970, and nanoseconds, of the last access.
    pub fn atime(&self) -> (i64, u32) {
        (self.0.atime as i64, self.0.atime_ns as u32)
    }

    /// Returns seconds since 1970, and nanoseconds, of the last change of
    /// content.
    pub fn mtime(&self) -> (i64, u32) {
        (self.0.mtime as i64, self.0.mtime_ns as u32)
    }

    /// Returns seconds since 1970, and nanoseconds, of the last change of
    /// status.
    pub fn ctime(&self) -> (i64, u32) {
        (self.0.ctime as i64, self.0.ctime_ns as u32)
    }

    /// Returns the last change of content.
    pub fn modified(&self) -> SystemTime {
        time(self.mtime())
    }

    /// Returns the last access.
    pub fn accessed(&self) -> SystemTime {
        time(self.atime())
    }
}

fn time((seconds, nanoseconds): (i64, u32)) -> SystemTime {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let base = match seconds < 0 {
        true => UNIX_EPOCH.checked_sub(whole),
        false => UNIX_EPOCH.checked_add(whole),
    };
    // A hostile sandbox may give a time beyond SystemTime.
    let time = base.and_then(|base| base.checked_add(Duration::from_nanos(nanoseconds.into())));
    time.unwrap_or(UNIX_EPOCH)
}
