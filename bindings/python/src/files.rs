// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files of a sandbox: every path is bytes, every answer plain numbers and
//! bytes.

use std::ffi::OsStr;
use std::io::{BufWriter, Write as _};
use std::os::fd::{IntoRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;
use tare::files::{Copied, Metadata, OpenOptions};

use crate::error::Raised as _;
use crate::sandbox::Sandbox;
use crate::stream::{PART, Stream};

/// The files of a sandbox.
#[pyclass(frozen, module = "tare._tare")]
pub(crate) struct Files {
    sandbox: Py<Sandbox>,
    /// The user whose rights count.
    user: Option<String>,
}

/// Mode, inode, device, links, owner, group, bytes; nanoseconds of access,
/// content, status; device number, blocks.
type Stat = (u32, u64, u64, u64, u32, u32, u64, [i128; 3], u64, u64);

fn stat(metadata: &Metadata) -> Stat {
    let nanoseconds = |(s, ns): (i64, u32)| i128::from(s) * 1_000_000_000 + i128::from(ns);
    (
        metadata.mode(),
        metadata.ino(),
        metadata.dev(),
        metadata.nlink(),
        metadata.uid(),
        metadata.gid(),
        metadata.len(),
        [metadata.atime(), metadata.mtime(), metadata.ctime()].map(nanoseconds),
        metadata.rdev(),
        metadata.blocks(),
    )
}

/// The number of copied entries, and the entries left out.
type Report = (u64, Vec<String>);

fn report(copied: Copied) -> Report {
    (copied.entries, copied.left_out)
}

fn path(bytes: &PyBackedBytes) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// Options of an open: the flags of open(2), permissions and owner of a new
/// file, and whether to follow a link at the end.
type How = (i32, u32, Option<(u32, u32)>, bool);

fn options((flags, mode, owner, follow): How) -> OpenOptions {
    let has = |flag: i32| flags & flag != 0;
    let access = flags & libc::O_ACCMODE;
    let mut options = OpenOptions::new();
    options
        .read(access != libc::O_WRONLY)
        .write(access != libc::O_RDONLY && !has(libc::O_APPEND))
        .append(has(libc::O_APPEND))
        .truncate(has(libc::O_TRUNC))
        .create(has(libc::O_CREAT) && !has(libc::O_EXCL))
        .create_new(has(libc::O_CREAT) && has(libc::O_EXCL))
        .follow(follow)
        .mode(mode);
    if let Some((uid, gid)) = owner {
        options.owner(uid, gid);
    }
    options
}

impl Files {
    /// Asks for something while Python's other threads go on.
    fn ask<T: Send>(
        &self,
        py: Python<'_>,
        question: impl FnOnce(tare::Files<'_>) -> tare::Result<T> + Send,
    ) -> PyResult<T> {
        let sandbox = self.sandbox.get().open(py)?;
        py.detach(|| question(self.of(&sandbox))).raised(py)
    }

    fn of<'a>(&'a self, sandbox: &'a tare::Sandbox) -> tare::Files<'a> {
        match &self.user {
            Some(user) => sandbox.files().as_user(user),
            None => sandbox.files(),
        }
    }
}

#[pymethods]
impl Files {
    #[new]
    fn new(sandbox: Py<Sandbox>) -> Self {
        Self {
            sandbox,
            user: None,
        }
    }

    /// The same with the rights of a user.
    fn as_user(&self, py: Python<'_>, user: String) -> Self {
        Self {
            sandbox: self.sandbox.clone_ref(py),
            user: Some(user),
        }
    }

    /// User and group of a `USER[:GROUP]`.
    fn user_ids(&self, py: Python<'_>, user: &str) -> PyResult<(u32, u32)> {
        self.ask(py, |files| files.user_ids(user))
    }

    /// The content of a file of at most `limit` bytes.
    fn read<'py>(
        &self,
        py: Python<'py>,
        name: PyBackedBytes,
        limit: Option<u64>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let limit = limit.unwrap_or(tare::files::READ_MAX);
        let bytes = self.ask(py, |files| files.read_at_most(path(&name), limit))?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Writes a file.
    fn write(
        &self,
        py: Python<'_>,
        name: PyBackedBytes,
        data: PyBackedBytes,
        how: How,
    ) -> PyResult<()> {
        self.ask(py, |files| {
            files.write_with(path(&name), &*data, &options(how))
        })
    }

    /// Opens a file; the descriptor is the caller's to close.
    fn open(&self, py: Python<'_>, name: PyBackedBytes, how: How) -> PyResult<RawFd> {
        let file = self.ask(py, |files| files.open(path(&name), &options(how)))?;
        Ok(OwnedFd::from(file).into_raw_fd())
    }

    /// Returns the metadata of a file.
    fn stat(&self, py: Python<'_>, name: PyBackedBytes, follow: bool) -> PyResult<Stat> {
        let found = self.ask(py, |files| match follow {
            true => files.metadata(path(&name)),
            false => files.symlink_metadata(path(&name)),
        })?;
        Ok(stat(&found))
    }

    /// Returns the target of a link.
    fn readlink<'py>(&self, py: Python<'py>, name: PyBackedBytes) -> PyResult<Bound<'py, PyBytes>> {
        let target = self.ask(py, |files| files.read_link(path(&name)))?;
        Ok(PyBytes::new(py, target.as_os_str().as_bytes()))
    }

    /// The entries of a directory.
    fn list<'py>(
        &self,
        py: Python<'py>,
        name: PyBackedBytes,
    ) -> PyResult<Vec<(Bound<'py, PyBytes>, Stat)>> {
        let mut entries = self.ask(py, |files| files.read_dir(path(&name)))?;
        let mut all = Vec::new();
        loop {
            // Some at a time: a sandbox may have made more than anybody wants
            // to wait for.
            let some = py.detach(|| {
                entries
                    .by_ref()
                    .take(1024)
                    .collect::<tare::Result<Vec<_>>>()
            });
            let some = some.raised(py)?;
            if some.is_empty() {
                return Ok(all);
            }
            all.extend(some.iter().map(|entry| {
                let name = PyBytes::new(py, entry.file_name().as_bytes());
                (name, stat(&entry.metadata()))
            }));
            py.check_signals()?;
        }
    }

    /// Makes a directory; with `parents` also missing parents, and accepts an
    /// existing directory.
    fn mkdir(&self, py: Python<'_>, name: PyBackedBytes, mode: u32, parents: bool) -> PyResult<()> {
        self.ask(py, |files| match parents {
            true => files.create_dir_all(path(&name), mode),
            false => files.create_dir(path(&name), mode),
        })
    }

    /// Removes anything but a directory.
    fn unlink(&self, py: Python<'_>, name: PyBackedBytes) -> PyResult<()> {
        self.ask(py, |files| files.remove_file(path(&name)))
    }

    /// Removes a directory; with `all` also its entries.
    fn rmdir(&self, py: Python<'_>, name: PyBackedBytes, all: bool) -> PyResult<()> {
        self.ask(py, |files| match all {
            true => files.remove_dir_all(path(&name)),
            false => files.remove_dir(path(&name)),
        })
    }

    /// Renames.
    fn rename(&self, py: Python<'_>, from_: PyBackedBytes, to: PyBackedBytes) -> PyResult<()> {
        self.ask(py, |files| files.rename(path(&from_), path(&to)))
    }

    /// Gives a file a second name.
    fn link(&self, py: Python<'_>, original: PyBackedBytes, link: PyBackedBytes) -> PyResult<()> {
        self.ask(py, |files| files.hard_link(path(&original), path(&link)))
    }

    /// Makes a symbolic link.
    fn symlink(&self, py: Python<'_>, target: PyBackedBytes, link: PyBackedBytes) -> PyResult<()> {
        self.ask(py, |files| files.symlink(path(&target), path(&link)))
    }

    /// Changes the permission bits.
    fn chmod(&self, py: Python<'_>, name: PyBackedBytes, mode: u32) -> PyResult<()> {
        self.ask(py, |files| files.set_permissions(path(&name), mode))
    }

    /// Changes owner and group.
    fn chown(&self, py: Python<'_>, name: PyBackedBytes, uid: u32, gid: u32) -> PyResult<()> {
        self.ask(py, |files| files.set_owner(path(&name), uid, gid))
    }

    /// Changes the time of the last change, nanoseconds since 1970.
    fn utime(&self, py: Python<'_>, name: PyBackedBytes, nanoseconds: i64) -> PyResult<()> {
        let distance = Duration::from_nanos(nanoseconds.unsigned_abs());
        let time = match nanoseconds < 0 {
            true => UNIX_EPOCH.checked_sub(distance),
            false => UNIX_EPOCH.checked_add(distance),
        };
        let time: SystemTime = time.unwrap_or(UNIX_EPOCH);
        self.ask(py, |files| files.set_modified(path(&name), time))
    }

    /// Copies a tree of the caller's in.
    fn put(&self, py: Python<'_>, local: PathBuf, name: PyBackedBytes) -> PyResult<Report> {
        let copied = self.ask(py, |files| files.put(&local, path(&name)))?;
        Ok(report(copied))
    }

    /// Copies a tree out.
    fn get(&self, py: Python<'_>, name: PyBackedBytes, local: PathBuf) -> PyResult<Report> {
        let copied = self.ask(py, |files| files.get(path(&name), &local))?;
        Ok(report(copied))
    }

    /// Extracts an archive, which is bytes or has a method `read`.
    fn put_tar(
        &self,
        py: Python<'_>,
        dir: PyBackedBytes,
        archive: Bound<'_, PyAny>,
    ) -> PyResult<Report> {
        if let Ok(bytes) = archive.extract::<PyBackedBytes>() {
            let copied = self.ask(py, |files| files.put_tar(path(&dir), &*bytes))?;
            return Ok(report(copied));
        }
        let mut stream = Stream::new(archive.unbind());
        let sandbox = self.sandbox.get().open(py)?;
        let copied = py.detach(|| self.of(&sandbox).put_tar(path(&dir), &mut stream));
        Ok(report(stream.outcome(py, copied)?))
    }

    /// Writes an archive to an object with a method `write`.
    fn get_tar(&self, py: Python<'_>, name: PyBackedBytes, archive: Py<PyAny>) -> PyResult<Report> {
        let mut stream = Stream::new(archive);
        let sandbox = self.sandbox.get().open(py)?;
        let copied = py.detach(|| {
            let mut parts = BufWriter::with_capacity(PART, &mut stream);
            let copied = self.of(&sandbox).get_tar(path(&name), &mut parts)?;
            let flushed = parts.flush();
            // The Python exception takes precedence over this error.
            flushed.map_err(|e| tare::Error::io("get archive", "write archive", e))?;
            Ok(copied)
        });
        Ok(report(stream.outcome(py, copied)?))
    }
}
