// SPDX-License-Identifier: MIT OR Apache-2.0
//! Options of opening a file inside.
#![forbid(unsafe_code)]

use nix::fcntl::OFlag;

use crate::wire::{self, FileRequest, FileSet};

/// Options of opening a file inside; as [`std::fs::OpenOptions`].
#[derive(Debug, Clone)]
pub struct OpenOptions {
    read: bool,
    write: bool,
    append: bool,
    truncate: bool,
    create: bool,
    create_new: bool,
    follow: bool,
    mode: u32,
    owner: Option<(u32, u32)>,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl OpenOptions {
    /// Neither reads nor writes: choose at least one of both.
    pub fn new() -> Self {
        Self {
            read: false,
            write: false,
            append: false,
            truncate: false,
            create: false,
            create_new: false,
            follow: true,
            mode: 0o644,
            owner: None,
        }
    }

    /// Opens for reading. Default: false.
    pub fn read(&mut self, read: bool) -> &mut Self {
        self.read = read;
        self
    }

    /// Opens for writing. Default: false.
    pub fn write(&mut self, write: bool) -> &mut Self {
        self.write = write;
        self
    }

    /// Opens for writing at the end only. Default: false.
    pub fn append(&mut self, append: bool) -> &mut Self {
        self.append = append;
        self
    }

    /// Truncates the file; needs `write`. Default: false.
    pub fn truncate(&mut self, truncate: bool) -> &mut Self {
        self.truncate = truncate;
        self
    }

    /// Makes a missing file; needs `write` or `append`. Does not make the
    /// target of a dangling symbolic link. Default: false.
    pub fn create(&mut self, create: bool) -> &mut Self {
        self.create = create;
        self
    }

    /// Makes the file, which must not exist. Default: false.
    pub fn create_new(&mut self, create_new: bool) -> &mut Self {
        self.create_new = create_new;
        self
    }

    /// Follows a symbolic link at the end of the path; otherwise fails with
    /// ELOOP. Default: true.
    pub fn follow(&mut self, follow: bool) -> &mut Self {
        self.follow = follow;
        self
    }

    /// Permission bits of a new file, exactly: no umask. Default: 0644.
    pub fn mode(&mut self, mode: u32) -> &mut Self {
        self.mode = mode;
        self
    }

    /// Owner and group of a new file, as the sandbox sees them. Default: 0:0.
    pub fn owner(&mut self, uid: u32, gid: u32) -> &mut Self {
        self.owner = Some((uid, gid));
        self
    }

    pub(super) fn truncates(&self) -> bool {
        self.truncate && !self.create_new
    }

    /// Returns the request; `None` for contradictory options.
    pub(super) fn request(&self) -> Option<FileRequest<'static>> {
        let writes = self.write || self.append;
        let mut flags = match (self.read, writes) {
            (true, false) => OFlag::O_RDONLY,
            (false, true) => OFlag::O_WRONLY,
            (true, true) => OFlag::O_RDWR,
            (false, false) => return None,
        };
        let creates = self.create || self.create_new;
        if (creates || self.truncate) && !writes || self.truncate && self.append {
            return None;
        }
        flags.set(OFlag::O_APPEND, self.append);
        flags.set(OFlag::O_CREAT, creates);
        flags.set(OFlag::O_EXCL, self.create_new);
        Some(FileRequest {
            flags: if self.follow { wire::FOLLOW } else { 0 },
            open: flags.bits() as u32,
            mode: self.mode & 0o7777,
            set: owned(self.owner, self.mode),
            ..FileRequest::new(wire::FILE_OPEN)
        })
    }
}

/// Returns the request to set an owner, and the mode again if the change of
/// owner would clear bits.
pub(super) fn owned(owner: Option<(u32, u32)>, mode: u32) -> FileSet<'static> {
    let Some((uid, gid)) = owner else {
        return FileSet::NONE;
    };
    let again = match mode & 0o7000 {
        0 => 0,
        _ => wire::SET_MODE,
    };
    FileSet {
        what: wire::SET_OWNER | again,
        uid,
        gid,
        mode,
        ..FileSet::NONE
    }
}
