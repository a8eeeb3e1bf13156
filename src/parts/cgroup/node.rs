// SPDX-License-Identifier: MIT OR Apache-2.0
//! A cgroup directory of the library: made, read, written and removed by file
//! descriptor.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, open, openat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, mkdir, read, unlinkat, write};

use crate::sys::flock::{Operation, try_flock};

/// The longest time of a dying cgroup until its last process is gone.
const PATIENCE: Duration = Duration::from_secs(2);

/// A cgroup directory, held open. The open descriptor carries a shared lock. A
/// locked directory has a living owner, even across pid namespaces, where
/// process numbers mean nothing.
#[derive(Debug)]
pub(super) struct Node {
    path: PathBuf,
    dir: OwnedFd,
}

impl Node {
    /// Makes `parent/name`, which must not exist.
    pub(super) fn create(parent: &Path, name: &str) -> nix::Result<Self> {
        let path = parent.join(name);
        // Files inside can be read by name. Other users cannot open the
        // directory, because they could hold the lock.
        mkdir(&path, Mode::from_bits_truncate(0o711))?;
        Self::open(path.clone(), Operation::Shared).inspect_err(|_| {
            // Report the failed open, not the failed cleanup.
            let _ = unlinkat(AT_FDCWD, &path, UnlinkatFlags::RemoveDir);
        })
    }

    /// Opens a stale cgroup. `EAGAIN` if the owner lives after all.
    pub(super) fn seize(path: PathBuf) -> nix::Result<Self> {
        Self::open(path, Operation::Exclusive)
    }

    fn open(path: PathBuf, lock: Operation) -> nix::Result<Self> {
        let dir = open(&path, directory(), Mode::empty())?;
        match try_flock(dir.as_fd(), lock)? {
            true => Ok(Self { path, dir }),
            false => Err(Errno::EAGAIN),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// A control file, opened for writing and kept.
    pub(super) fn open_for_write(&self, file: &str) -> nix::Result<OwnedFd> {
        open_file(self.fd(), file, OFlag::O_WRONLY)
    }

    /// Writes `value` to a control file in a single call, as the kernel
    /// requires.
    pub(super) fn write(&self, file: &str, value: &str) -> nix::Result<()> {
        write(self.open_for_write(file)?, value.as_bytes()).map(drop)
    }

    /// The text of a control file.
    pub(super) fn read(&self, file: &str) -> nix::Result<String> {
        let fd = open_file(self.fd(), file, OFlag::O_RDONLY)?;
        let mut text = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            match read(&fd, &mut chunk)? {
                0 => return Ok(String::from_utf8_lossy(&text).into_owned()),
                n => text.extend_from_slice(&chunk[..n]),
            }
        }
    }

    /// Reads a control file that holds a number alone.
    pub(super) fn number(&self, file: &str) -> Option<u64> {
        self.read(file).ok()?.trim().parse().ok()
    }

    /// The number behind `key` in a control file of `key number` lines.
    pub(super) fn field(&self, file: &str, key: &str) -> Option<u64> {
        let text = self.read(file).ok()?;
        let mut pairs = text.lines().filter_map(|l| l.split_once(' '));
        pairs.find(|(k, _)| *k == key)?.1.trim().parse().ok()
    }

    /// The processes in this cgroup and in all below, by the numbers of this
    /// pid namespace.
    pub(super) fn processes(&self) -> nix::Result<Vec<i32>> {
        let mut found = Vec::new();
        list_processes(self.fd(), &mut found)?;
        Ok(found)
    }

    /// Removes the cgroup and those below, leaves first. Waits, at most two
    /// seconds, for killed processes that still exit. A missing cgroup is
    /// success.
    ///
    /// # Errors
    /// `EBUSY` if a process stays.
    pub(super) fn remove(&self) -> nix::Result<()> {
        remove_tree(&self.path, Instant::now() + PATIENCE)
    }
}

/// Opens a control file, with an access mode of open(2).
pub(super) fn open_file(dir: BorrowedFd<'_>, file: &str, access: OFlag) -> nix::Result<OwnedFd> {
    openat(dir, file, access | OFlag::O_CLOEXEC, Mode::empty())
}

/// Flags of every open of a directory here.
fn directory() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC
}

/// The directories right below `dir`.
fn below(dir: BorrowedFd<'_>) -> nix::Result<Vec<std::ffi::CString>> {
    let mut listing = Dir::openat(dir, ".", directory(), Mode::empty())?;
    let mut names = Vec::new();
    for entry in listing.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type() == Some(nix::dir::Type::Directory) && name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

fn list_processes(dir: BorrowedFd<'_>, found: &mut Vec<i32>) -> nix::Result<()> {
    let file = open_file(dir, "cgroup.procs", OFlag::O_RDONLY)?;
    let text = std::io::read_to_string(std::fs::File::from(file))
        .map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)))?;
    // 0 stands for a process outside of this pid namespace, without a number
    // here.
    let pids = text.lines().filter_map(|line| line.parse::<i32>().ok());
    found.extend(pids.filter(|pid| *pid > 0));
    for name in below(dir)? {
        match openat(dir, name.as_c_str(), directory(), Mode::empty()) {
            Ok(child) => list_processes(child.as_fd(), found)?,
            Err(Errno::ENOENT) => {} // Removed meanwhile, so empty.
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Calls rmdir(2) without a check before, because the call mostly succeeds.
fn remove_tree(path: &Path, deadline: Instant) -> nix::Result<()> {
    let mut pause = Duration::from_micros(100);
    loop {
        match unlinkat(AT_FDCWD, path, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => return Ok(()),
            // A process inside, or a cgroup below.
            Err(Errno::EBUSY | Errno::ENOTEMPTY) if Instant::now() < deadline => {}
            Err(errno) => return Err(errno),
        }

        let dir = open(path, directory(), Mode::empty())?;
        let children = below(dir.as_fd())?;
        for name in &children {
            remove_tree(&path.join(OsStr::from_bytes(name.to_bytes())), deadline)?;
        }
        if children.is_empty() {
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }
}
