// SPDX-License-Identifier: MIT OR Apache-2.0
//! Directories for work in progress, swept after their makers are gone.
#![forbid(unsafe_code)]

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::Images;
use super::fs::make_dir;
use super::lock::Lock;
use super::unique::fresh;
use crate::error::{Error, Result, Step};
use crate::image::remove_tree::remove_tree;
use crate::sys::flock::Operation;

/// Extension of the lock file beside the directory: `x.lock` is the lock of
/// `x`.
const LOCK: &str = "lock";

/// A directory of the store, removed on drop.
///
/// The name holds the boot's id, the spawner's prefix if the directory is a
/// sandbox's, and a random part. Only the maker's lock tells that the directory
/// is in use. The kernel drops the lock with the last copy of the descriptor,
/// so the next open of the store sweeps a killed maker's directory. To hand the
/// directory to another process, pass [`Scratch::lock_fd`] too.
#[derive(Debug)]
pub struct Scratch {
    store: Images,
    path: PathBuf,
    lock: Option<Lock>,
    maker: u32,
}

impl Scratch {
    pub(super) fn create(store: &Images, prefix: &str) -> Result<Self> {
        let (path, lock) = loop {
            let name = format!("{prefix}{}", fresh()?);
            let path = store.scratch_dir().join(name);
            // The lock exists before the directory and goes after the
            // directory, so a directory with a free lock has no maker.
            let lock = Lock::try_take(&path.with_extension_added(LOCK), Operation::Exclusive)?;
            // A sweep takes a lock file that it sees before the maker has
            // locked it, and removes the file. The sweep has not seen the next
            // name.
            if let Some(lock) = lock {
                break (path, lock);
            }
        };
        make_dir(&path, 0o700)
            .map_err(|e| Error::io(Step::MakeScratchDirectory, format_args!("{path:?}"), e))?;
        Ok(Self {
            store: store.clone(),
            path,
            lock: Some(lock),
            maker: std::process::id(),
        })
    }

    /// Returns the directory; empty when made, mode 0700.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the lock, which marks the directory as used while any copy of
    /// this descriptor is open.
    pub fn lock_fd(&self) -> BorrowedFd<'_> {
        self.lock.as_ref().expect("held until dropped").as_fd()
    }
}

impl Scratch {
    /// Leaves the directory to the holder of the returned lock, who removes the
    /// directory and then the lock file. Otherwise a sweep removes both.
    pub(crate) fn hand_over(mut self) -> Result<HandedOver> {
        let lock = self.lock.take().expect("held until dropped").into_fd();
        let lock =
            lock.map_err(|e| Error::io(Step::HandScratchOver, format_args!("{:?}", self.path), e))?;
        // Drop must not remove the directory any more.
        self.maker = 0;
        let lock_path = self.path.with_extension_added(LOCK);
        Ok(HandedOver {
            path: self.path.clone(),
            lock_path,
            lock,
        })
    }
}

/// A scratch directory that another process removes.
#[derive(Debug)]
pub(crate) struct HandedOver {
    /// The directory.
    pub(crate) path: PathBuf,
    /// The lock file, to be removed last.
    pub(crate) lock_path: PathBuf,
    /// The lock.
    pub(crate) lock: OwnedFd,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A forked copy of the maker does not own the directory.
        if self.maker != std::process::id() {
            return;
        }
        // A later open sweeps a directory that stays.
        if self.store.remove_path(&self.path).is_ok()
            && let Some(lock) = self.lock.take()
        {
            lock.remove();
        }
    }
}

/// Result of a sweep of the scratch directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Left-over directories removed.
    pub removed: usize,
    /// Directories in use by living processes.
    pub in_use: usize,
    /// Left-over directories whose removal failed, for any reason.
    pub left: usize,
}

/// Removes the directories of makers that are gone.
pub(super) fn sweep(store: &Images) -> Result<Swept> {
    let mut swept = Swept::default();
    let dir = store.scratch_dir();
    let wrong = |e| Error::io(Step::SweepStore, format_args!("{dir:?}"), e);
    for entry in fs::read_dir(&dir).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        let (path, file) = match path.extension().is_some_and(|e| e == LOCK) {
            true => (path.with_extension(""), path),
            // Counted once, by its lock.
            false if path.with_extension_added(LOCK).exists() => continue,
            false => (path.clone(), path.with_extension_added(LOCK)),
        };
        // A directory that is gone by now needs no lock.
        let lock = match fs::symlink_metadata(&path).is_ok() {
            true => Lock::try_take(&file, Operation::Exclusive)?,
            false => Lock::try_take_there(&file, Operation::Exclusive)?,
        };
        let Some(lock) = lock else {
            swept.in_use += usize::from(file.exists());
            continue;
        };
        let there = fs::symlink_metadata(&path).is_ok();
        match store.remove_path(&path) {
            Ok(()) => {
                lock.remove();
                swept.removed += usize::from(there);
            }
            Err(_) => swept.left += 1,
        }
    }
    Ok(swept)
}

impl Images {
    /// Removes a file or tree of the store, inside a user namespace if needed.
    pub(super) fn remove_path(&self, path: &Path) -> Result<()> {
        let wrong = |e: Errno| Error::os(Step::Remove, format_args!("{path:?}"), e);
        let (parent, name) = (path.parent(), path.file_name());
        let (Some(parent), Some(name)) = (parent, name) else {
            return Err(wrong(Errno::EINVAL));
        };
        let parent = match File::open(parent) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            parent => parent.map_err(|e| Error::io(Step::Remove, format_args!("{path:?}"), e))?,
        };
        let name = CString::new(name.as_bytes()).map_err(|_| wrong(Errno::EINVAL))?;
        match (remove_tree(parent.as_fd(), &name), self.chown()) {
            (Err(Errno::EACCES | Errno::EPERM), Some(mut chown)) => {
                chown.remove_tree(parent.as_fd(), &name)
            }
            (done, _) => done.map_err(wrong),
        }
    }
}

trait Added {
    fn with_extension_added(&self, extension: &str) -> PathBuf;
}

impl Added for Path {
    /// Appends an extension. `with_extension` would replace the part after the
    /// dot.
    fn with_extension_added(&self, extension: &str) -> PathBuf {
        let mut name = self.as_os_str().to_owned();
        name.push(".");
        name.push(extension);
        PathBuf::from(name)
    }
}
