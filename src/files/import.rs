// SPDX-License-Identifier: MIT OR Apache-2.0
//! Makes entries as files below a directory inside: each new, and never outside
//! the directory.
#![forbid(unsafe_code)]

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::dir::{DirHandle, c_path, quoted};
use super::options::owned;
use super::report::Copied;
use super::request::{directory, modified, setting};
use crate::error::{Error, Kind, Result, Step};
use crate::image::tar::Time;
use crate::wire::{self, Field as _, FileRequest, FileSet, OR_EXISTING};

/// Attempts to make a file that a process inside keeps making first.
const TRIES: u32 = 16;

/// Attributes of an entry.
#[derive(Default)]
pub(super) struct Attributes {
    pub(super) mode: u32,
    /// Owner as the sandbox sees it; `None` for the maker.
    pub(super) owner: Option<(u32, u32)>,
    pub(super) mtime: Time,
    pub(super) xattrs: Vec<(CString, Vec<u8>)>,
}

/// Makes entries below a directory. Links in names count from there, as if the
/// directory were the root.
pub(super) struct Import<'a> {
    pub(super) step: Step,
    pub(super) top: &'a DirHandle,
    /// Times of directories, set last because new files change them.
    late: Vec<(PathBuf, Time)>,
    pub(super) copied: Copied,
}

impl<'a> Import<'a> {
    pub(super) fn new(step: Step, top: &'a DirHandle) -> Self {
        Self {
            step,
            top,
            late: Vec::new(),
            copied: Copied::default(),
        }
    }

    /// Sets the deferred times.
    pub(super) fn complete(self) -> Result<Copied> {
        for (path, time) in self.late.into_iter().rev() {
            match self.top.ask(self.step, &path, &setting(modified(time))) {
                // A process inside removed the directory.
                Err(error) if error.errno() == Some(libc::ENOENT) => {}
                other => drop(other?),
            }
        }
        Ok(self.copied.complete())
    }

    /// Sets the attributes of the directory itself.
    pub(super) fn root(&mut self, attributes: &Attributes) -> Result<()> {
        let path = Path::new(".");
        let asked = setting(self.set(attributes));
        self.top.ask(self.step, path, &asked)?;
        self.set_xattrs(path, None, attributes)?;
        self.late.push((path.to_owned(), attributes.mtime));
        self.copied.entries += 1;
        Ok(())
    }

    /// Returns owner and mode, in that order.
    fn set(&self, attributes: &Attributes) -> FileSet<'static> {
        let owned = owned(self.owner(attributes), 0);
        FileSet {
            what: owned.what | wire::SET_MODE,
            mode: attributes.mode,
            ..owned
        }
    }

    fn owner(&self, attributes: &Attributes) -> Option<(u32, u32)> {
        attributes.owner.filter(|_| self.top.has_ids())
    }

    /// Makes a directory. Uses an existing directory or a link to a directory;
    /// changes its attributes only if `over`, and a link's target never.
    pub(super) fn directory(
        &mut self,
        path: &Path,
        attributes: &Attributes,
        over: bool,
    ) -> Result<()> {
        const LINKED: u32 = 2;
        let asked = FileRequest {
            set: if over {
                self.set(attributes)
            } else {
                FileSet::NONE
            },
            ..directory(attributes.mode, OR_EXISTING)
        };
        let answer = self.make(path, |import| import.top.ask(import.step, path, &asked))?;
        if answer.count == 1 || over && answer.count != LINKED {
            self.set_xattrs(path, None, attributes)?;
            self.late.push((path.to_owned(), attributes.mtime));
        }
        self.copied.entries += 1;
        Ok(())
    }

    /// Makes a regular file; `fill` writes the content.
    pub(super) fn file(
        &mut self,
        path: &Path,
        attributes: &Attributes,
        fill: impl FnOnce(&File) -> Result<()>,
    ) -> Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
        let asked = FileRequest {
            open: flags.bits() as u32,
            // Only the owner may read the file before it is whole.
            mode: 0o600,
            set: owned(self.owner(attributes), 0),
            ..FileRequest::new(wire::FILE_OPEN)
        };
        let (file, _) = self.make(path, |import| import.top.open(import.step, path, &asked))?;
        fill(&file)?;
        self.set_xattrs(path, Some(&file), attributes)?;
        let asked = setting(FileSet {
            what: wire::SET_MODE | wire::SET_TIMES,
            mode: attributes.mode,
            ..modified(attributes.mtime)
        });
        self.top.ask_of(self.step, path, file.as_fd(), &asked)?;
        self.copied.entries += 1;
        Ok(())
    }

    /// Makes a symbolic link.
    pub(super) fn symlink(
        &mut self,
        path: &Path,
        target: &[u8],
        attributes: &Attributes,
    ) -> Result<()> {
        let target = c_path(self.step, Path::new(OsStr::from_bytes(target)))?;
        self.node(path, libc::S_IFLNK, 0, &target, attributes)
    }

    /// Makes a pipe, or a device if the sandbox could make it itself.
    pub(super) fn special(
        &mut self,
        path: &Path,
        kind: u32,
        device: u64,
        attributes: &Attributes,
    ) -> Result<()> {
        let done = self.node(path, kind, device, c"", attributes);
        match done {
            // Root of a user namespace, a sandbox without MKNOD, or devices
            // forbidden by the cgroup.
            Err(error) if kind != libc::S_IFIFO && error.errno() == Some(libc::EPERM) => {
                let why = "the sandbox cannot make devices";
                self.copied.leave_out(path.as_os_str().as_bytes(), why);
                Ok(())
            }
            other => other,
        }
    }

    fn node(
        &mut self,
        path: &Path,
        kind: u32,
        device: u64,
        target: &std::ffi::CStr,
        attributes: &Attributes,
    ) -> Result<()> {
        let set = self.set(attributes);
        let time = modified(attributes.mtime);
        let asked = FileRequest {
            to: target,
            mode: kind | attributes.mode & 0o7777,
            device,
            set: FileSet {
                what: set.what | time.what,
                mtime: time.mtime,
                mtime_ns: time.mtime_ns,
                ..set
            },
            ..FileRequest::new(wire::FILE_MAKE)
        };
        self.make(path, |import| import.top.ask(import.step, path, &asked))?;
        self.copied.entries += 1;
        Ok(())
    }

    /// Gives `original`, which is below the same directory, a second name.
    pub(super) fn link(&mut self, original: &Path, path: &Path) -> Result<()> {
        let to = c_path(self.step, path)?;
        let asked = FileRequest {
            to: &to,
            ..FileRequest::new(wire::FILE_LINK)
        };
        let stat = |path| {
            let asked = FileRequest::new(wire::FILE_STAT);
            self.top
                .ask(self.step, path, &asked)
                .map(|answer| answer.stat)
        };
        let from = stat(original)?;
        // An existing file must not be removed first, because it may be the
        // only name.
        if !stat(path).is_ok_and(|there| (there.dev, there.ino) == (from.dev, from.ino)) {
            self.make(path, |import| import.top.ask(import.step, original, &asked))?;
        }
        self.copied.entries += 1;
        Ok(())
    }

    /// Calls `make` with a free name: makes missing parents and removes a file
    /// that exists, except for a directory.
    fn make<T>(&mut self, path: &Path, make: impl Fn(&Self) -> Result<T>) -> Result<T> {
        let mut tries = 0;
        loop {
            let made = make(self);
            let errno = made.as_ref().err().and_then(Error::errno);
            tries += 1;
            match errno {
                _ if tries == TRIES => return made,
                Some(libc::ENOENT) if self.parents(path)? => {}
                Some(libc::EEXIST) => {
                    let asked = FileRequest::new(wire::FILE_REMOVE);
                    match self.top.ask(self.step, path, &asked) {
                        Err(error) if error.errno() == Some(libc::ENOENT) => {}
                        other => drop(other?),
                    }
                }
                _ => return made,
            }
        }
    }

    /// Makes the missing directories above `path`; returns false if all exist.
    fn parents(&mut self, path: &Path) -> Result<bool> {
        let asked = directory(0o755, OR_EXISTING);
        let mut made = false;
        let above: Vec<&Path> = path.ancestors().skip(1).collect();
        for dir in above
            .into_iter()
            .rev()
            .filter(|dir| !dir.as_os_str().is_empty())
        {
            made |= self.top.ask(self.step, dir, &asked)?.count == 1;
        }
        Ok(made)
    }

    /// Sets extended attributes; leaves out those that fail.
    fn set_xattrs(
        &mut self,
        path: &Path,
        file: Option<&File>,
        attributes: &Attributes,
    ) -> Result<()> {
        for (name, value) in &attributes.xattrs {
            let mut bytes = Vec::new();
            name.as_c_str().put(&mut bytes);
            value.as_slice().put(&mut bytes);
            let asked = setting(FileSet {
                xattrs: &bytes,
                ..FileSet::NONE
            });
            let done = match file {
                Some(file) => self.top.ask_of(self.step, path, file.as_fd(), &asked),
                None => self.top.ask(self.step, path, &asked),
            };
            match done {
                Err(error) if matches!(error.errno(), Some(libc::EPERM | libc::EOPNOTSUPP)) => {
                    let why = format!("the extended attribute {name:?} cannot be set there");
                    self.copied.leave_out(path.as_os_str().as_bytes(), &why);
                }
                other => drop(other?),
            }
        }
        Ok(())
    }

    /// Returns the error about an archive that asks for a dangerous file.
    pub(super) fn refuse(&self, path: &Path, why: &str) -> Error {
        let why = format_args!("{}: {why}", quoted(path));
        Error::new(Kind::Corrupt, self.step, why)
    }

    /// Adds a cure if the error is about an unmapped id.
    pub(super) fn explained(&self, error: Error, attributes: &Attributes) -> Error {
        let owned = attributes.owner.is_some_and(|owner| owner != (0, 0));
        match error.errno() {
            Some(libc::EINVAL) if owned && error.cure().is_none() => {
                let (uid, gid) = attributes.owner.unwrap_or_default();
                let why = format_args!("{}, owner {uid}:{gid}", error.subject());
                Error::os(self.step, why, Errno::EINVAL).with_cure("ids that the sandbox has")
            }
            _ => error,
        }
    }
}
