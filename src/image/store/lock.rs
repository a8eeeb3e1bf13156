// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lock files of layers and of the index.
#![forbid(unsafe_code)]

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{Error, Kind, Result, Step};
use crate::sys::flock::{Operation, try_flock};

const PAUSE_MIN: Duration = Duration::from_micros(500);
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// A lock on a file of the store. The kernel drops the lock when the last copy
/// of the descriptor is closed, so a lock never outlives its holder.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    path: PathBuf,
    exclusive: bool,
    holder: u32,
}

/// Result of an attempt.
enum Tried {
    Taken(Lock),
    /// Another process excludes this lock.
    Held,
    /// The file has no name any more, or another file has the name.
    Removed,
}

impl Lock {
    /// Takes the lock, and makes a missing file; `None` if another holder
    /// excludes this lock.
    pub(crate) fn try_take(path: &Path, operation: Operation) -> Result<Option<Self>> {
        loop {
            let file = open(path).map_err(|e| wrong(path, e))?;
            match Self::of(file, path, operation)? {
                // The holder before removed the file. A new file can get the
                // name, so a lock on this file would exclude no process.
                Tried::Removed => {}
                Tried::Taken(lock) => return Ok(Some(lock)),
                Tried::Held => return Ok(None),
            }
        }
    }

    /// Takes the lock of an existing file; `None` if another holder excludes
    /// this lock or the file is gone.
    pub(super) fn try_take_there(path: &Path, operation: Operation) -> Result<Option<Self>> {
        let file = match options().open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(|e| wrong(path, e))?,
        };
        match Self::of(file, path, operation)? {
            Tried::Taken(lock) => Ok(Some(lock)),
            Tried::Removed | Tried::Held => Ok(None),
        }
    }

    fn of(file: File, path: &Path, operation: Operation) -> Result<Tried> {
        if !try_flock(file.as_fd(), operation).map_err(|e| wrong(path, e.into()))? {
            return Ok(Tried::Held);
        }
        if !is_at(&file, path).map_err(|e| wrong(path, e))? {
            return Ok(Tried::Removed);
        }
        Ok(Tried::Taken(Self {
            file,
            path: path.to_owned(),
            exclusive: operation == Operation::Exclusive,
            holder: std::process::id(),
        }))
    }

    /// Takes the lock, and waits for `patience` at most. Calls `go_on` between
    /// attempts.
    ///
    /// # Errors
    /// [`Kind::Busy`] names the processes that certainly hold the lock.
    pub(crate) fn take(
        path: &Path,
        operation: Operation,
        patience: Duration,
        mut go_on: impl FnMut() -> Result<()>,
    ) -> Result<Self> {
        let start = Instant::now();
        let mut pause = PAUSE_MIN;
        loop {
            if let Some(lock) = Self::try_take(path, operation)? {
                return Ok(lock);
            }
            go_on()?;
            if start.elapsed() >= patience {
                return Err(busy(path, patience));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Shares the lock. flock(2) does not convert atomically: another process
    /// may hold the lock alone in between, and this call waits as
    /// [`Lock::take`] does.
    pub(crate) fn into_shared(mut self, patience: Duration) -> Result<Self> {
        let shared = try_flock(self.file.as_fd(), Operation::Shared)
            .map_err(|e| Error::os(Step::LockStore, format_args!("{:?}", self.path), e))?;
        self.exclusive = false;
        if shared && is_at(&self.file, &self.path).unwrap_or(false) {
            return Ok(self);
        }
        Self::take(&self.path, Operation::Shared, patience, || Ok(()))
    }

    /// Releases a shared lock, which [`Lock::retake`] may take again.
    pub(super) fn release(&self) {
        debug_assert!(!self.exclusive, "drop would unlock again");
        // The kernel does the same when the descriptor is closed.
        let _ = try_flock(self.file.as_fd(), Operation::Unlock);
    }

    /// Takes a released shared lock again. Returns false if another process
    /// holds the lock alone, or has removed the file together with the guarded
    /// layer.
    pub(super) fn retake(&self) -> bool {
        try_flock(self.file.as_fd(), Operation::Shared) == Ok(true)
            && self.file.metadata().is_ok_and(|file| file.nlink() > 0)
    }

    /// Releases the lock and removes the file; only for an exclusive lock.
    pub(crate) fn remove(self) {
        debug_assert!(self.exclusive, "others may hold it");
        // A file left behind is swept with the next one of its name.
        let _ = fs::remove_file(&self.path);
    }
}

impl std::os::fd::AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Lock {
    /// Returns the descriptor, which keeps the lock until the last copy is
    /// closed.
    pub(crate) fn into_fd(mut self) -> io::Result<OwnedFd> {
        // Drop must not release the lock, which the copy keeps.
        self.exclusive = false;
        self.file.as_fd().try_clone_to_owned()
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A forked copy of the holder still has the descriptor, so other
        // processes would wait without an explicit unlock. The copy itself must
        // not unlock. Shared locks may last longer without harm.
        if self.exclusive && self.holder == std::process::id() {
            let _ = try_flock(self.file.as_fd(), Operation::Unlock);
        }
    }
}

fn wrong(path: &Path, e: io::Error) -> Error {
    let error = Error::io(Step::LockStore, format_args!("{path:?}"), e);
    match error.errno() {
        Some(libc::EROFS | libc::EACCES) => {
            error.with_cure("a store that you may write to (TARE_STORE)")
        }
        _ => error,
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options.custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC);
    options
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = options();
    match options.open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let file = options.create(true).open(path)?;
            // The caller's umask may have cleared bits.
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
            Ok(file)
        }
        opened => opened,
    }
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(there) => Ok(is_same(&there, &ours)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

fn busy(path: &Path, patience: Duration) -> Error {
    let held_by = |holder: &str| {
        let waited = patience.as_secs();
        let why = format_args!("{path:?}: held by {holder}, after {waited} s of waiting");
        Error::new(Kind::Busy, Step::LockStore, why)
    };
    let pids = holders(path).join(" ");
    if !pids.is_empty() {
        return held_by(&format!("process {pids}")).with_cure(format!("kill {pids}"));
    }
    let find = format!("find /proc/[0-9]*/fd -lname {}", path.display());
    held_by("another process").with_cure(format!("kill the process that this shows: {find}"))
}

/// Returns the processes that certainly hold the lock, from proc_locks(5).
///
/// The table names the process that took a lock. A copy of the descriptor keeps
/// the lock after that process, and the number may become another process's. So
/// only a process with such a descriptor counts.
fn holders(path: &Path) -> Vec<String> {
    let Ok(ours) = fs::metadata(path) else {
        return Vec::new();
    };
    // Without procfs, no process is certain.
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    // `1: FLOCK  ADVISORY  WRITE 812 fe:00:7219 0 EOF`; "->" marks a waiter.
    let inode = format!(":{} ", ours.ino());
    let held = locks
        .lines()
        .filter(|l| l.contains(" FLOCK ") && l.contains(&inode));
    let held = held.filter(|line| !line.contains("->"));
    let pids = held.filter_map(|line| line.split_whitespace().nth(4));
    let certain = pids.filter(|pid| has_lock(pid, &ours));
    certain.map(str::to_owned).collect()
}

/// Returns whether a descriptor of the process locks this file,
/// proc_pid_fdinfo(5).
fn has_lock(pid: &str, ours: &Metadata) -> bool {
    let Ok(fds) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    fds.flatten().any(|fd| {
        let info = format!("/proc/{pid}/fdinfo/{}", fd.file_name().display());
        fs::read_to_string(info).is_ok_and(|info| info.contains(" FLOCK "))
            && fs::metadata(fd.path()).is_ok_and(|found| is_same(&found, ours))
    })
}

fn is_same(a: &Metadata, b: &Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    fn shared(path: &Path) -> Option<Lock> {
        Lock::try_take(path, Operation::Shared).unwrap()
    }

    fn exclusive(path: &Path) -> Option<Lock> {
        Lock::try_take(path, Operation::Exclusive).unwrap()
    }

    #[test]
    fn lock_names_its_holder_and_keeps_others_out_until_dropped() {
        let dir = tempfile::tempdir().unwrap();
        for (name, take) in [("shared", shared as fn(&Path) -> _), ("alone", exclusive)] {
            let path = dir.path().join(name);
            // A number in the file is no holder.
            fs::write(&path, "1").unwrap();
            let _lock = take(&path).unwrap();
            let error = Lock::take(&path, Operation::Exclusive, NOW, || Ok(())).unwrap_err();
            assert_eq!(error.kind(), Kind::Busy);
            let pid = format!("held by process {},", std::process::id());
            assert!(error.to_string().contains(&pid), "{error}");
        }
        let path = dir.path().join("alone");
        let lock = exclusive(&path).unwrap();
        assert!(shared(&path).is_none());
        drop(lock);
        let (_a, _b) = (shared(&path).unwrap(), shared(&path).unwrap());
        assert!(exclusive(&path).is_none());
    }

    #[test]
    fn lock_whose_file_was_removed_is_taken_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let old = open(&path).unwrap();
        exclusive(&path).unwrap().remove();
        assert!(!is_at(&old, &path).unwrap());
        let lock = exclusive(&path).unwrap();
        assert!(is_at(&lock.file, &path).unwrap());
        let lock = lock.into_shared(NOW).unwrap();
        assert!(shared(&path).is_some());
        drop(lock);
        assert!(exclusive(&path).is_some());
    }
}
