// SPDX-License-Identifier: MIT OR Apache-2.0
//! Syncs the entries of a directory, or a whole file system.
//!
//! fsync(2) of a file does not sync the file's directory entry; only fsync(2)
//! of the directory does.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use nix::unistd::syncfs;

use crate::error::{Error, Result, Step};

/// Syncs the entries of a directory: names made, renamed and removed.
pub(super) fn entries(dir: &Path) -> io::Result<()> {
    let opened = File::open(dir)?;
    match opened.sync_all() {
        // fsync(2): this file system does not sync a directory alone.
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => Ok(syncfs(opened)?),
        done => done,
    }
}

/// Syncs the entries of a directory of the store.
pub(super) fn entries_of_store(dir: &Path) -> Result<()> {
    entries(dir).map_err(|e| Error::io(Step::Sync, format_args!("{dir:?}"), e))
}

/// Syncs the entry of a new directory in the parent.
pub(super) fn entry(made: &Path) -> io::Result<()> {
    let parent = match made.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => made,
    };
    match entries(parent) {
        // Making a directory takes search and write permission on the parent,
        // opening the parent takes read permission.
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Ok(syncfs(File::open(made)?)?),
        done => done,
    }
}

/// The file system of a directory. Open before the first write, because
/// syncfs(2) reports write errors since the open.
pub(in crate::image) struct FileSystem<'a>(File, &'a Path);

impl<'a> FileSystem<'a> {
    /// Opens the file system of `dir`.
    pub(in crate::image) fn of(dir: &'a Path) -> Result<Self> {
        let opened = File::open(dir);
        let opened = opened.map_err(|e| Error::io(Step::Sync, format_args!("{dir:?}"), e))?;
        Ok(Self(opened, dir))
    }

    /// Opens the file system of an open directory, which `path` names in
    /// errors.
    pub(in crate::image) fn of_open(dir: BorrowedFd<'_>, path: &'a Path) -> Result<Self> {
        let copy = dir.try_clone_to_owned();
        let copy = copy.map_err(|e| Error::io(Step::Sync, format_args!("{path:?}"), e))?;
        Ok(Self(copy.into(), path))
    }

    /// Syncs the whole file system.
    pub(in crate::image) fn sync(&self) -> Result<()> {
        syncfs(&self.0).map_err(|e| Error::os(Step::Sync, format_args!("{:?}", self.1), e))
    }
}
