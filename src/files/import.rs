// SPDX-License-Identifier: MIT OR Apache-2.0
//! Entries become files below a directory inside: each made new, none ever outside of it.
#![forbid(unsafe_code)]

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::dir::{DirHandle, c_path, quoted};
use super::report::Copied;
use super::{directory, modified, options::owned};
use crate::error::{Error, Kind, Result};
use crate::image::tar::Time;
use crate::wire::{self, Field as _, FileRequest, FileSet, OR_EXISTING};

/// Tries to make something that somebody inside keeps making first.
const TRIES: u32 = 16;

/// Attributes of one entry.
#[derive(Default)]
pub(super) struct Attributes {
    pub(super) mode: u32,
    /// As the sandbox sees it; whoever makes it, if there is none.
    pub(super) owner: Option<(u32, u32)>,
    pub(super) mtime: Time,
    pub(super) xattrs: Vec<(CString, Vec<u8>)>,
}

/// Makes entries below a directory. Links in their names count from there, as if it were the root.
pub(super) struct Import<'a> {
    pub(super) step: &'static str,
    pub(super) top: &'a DirHandle,
    /// Times of directories, which what is made in them would change.
    late: Vec<(PathBuf, Time)>,
    pub(super) copied: Copied,
}

impl<'a> Import<'a> {
    pub(super) fn new(step: &'static str, top: &'a DirHandle) -> Self {
        Self {
            step,
            top,
            late: Vec::new(),
            copied: Copied::default(),
        }
    }

    /// Sets what had to wait.
    pub(super) fn complete(self) -> Result<Copied> {
        for (path, time) in self.late.into_iter().rev() {
            let asked = FileRequest {
                set: modified((time.seconds, time.nanoseconds)),
                ..FileRequest::new(wire::FILE_SET)
            };
            match self.top.ask(self.step, &path, &asked) {
                // Somebody inside removed it.
                Err(error) if error.errno() == Some(libc::ENOENT) => {}
                other => drop(other?),
            }
        }
        Ok(self.copied.complete())
    }

    /// The directory itself.
    pub(super) fn root(&mut self, attributes: &Attributes) -> Result<()> {
        let path = Path::new(".");
        let asked = FileRequest {
            set: self.set(attributes),
            ..FileRequest::new(wire::FILE_SET)
        };
        self.top.ask(self.step, path, &asked)?;
        self.set_xattrs(path, None, attributes)?;
        self.late.push((path.to_owned(), attributes.mtime));
        self.copied.entries += 1;
        Ok(())
    }

    /// Owner and mode, in that order.
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

    /// A directory; one that is there, or a link to one, is used, and its attributes are changed only
    /// where `over` says so, a link's never.
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

    /// A regular file, whose content `fill` writes.
    pub(super) fn file(
        &mut self,
        path: &Path,
        attributes: &Attributes,
        fill: impl FnOnce(&File) -> Result<()>,
    ) -> Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
        let asked = FileRequest {
            open: flags.bits() as u32,
            // Nobody else looks into it before it is whole.
            mode: 0o600,
            set: owned(self.owner(attributes), 0),
            ..FileRequest::new(wire::FILE_OPEN)
        };
        let (file, _) = self.make(path, |import| import.top.open(import.step, path, &asked))?;
        fill(&file)?;
        self.set_xattrs(path, Some(&file), attributes)?;
        let time = modified((attributes.mtime.seconds, attributes.mtime.nanoseconds));
        let asked = FileRequest {
            set: FileSet {
                what: wire::SET_MODE | wire::SET_TIMES,
                mode: attributes.mode,
                ..time
            },
            ..FileRequest::new(wire::FILE_SET)
        };
        self.top.ask_of(self.step, path, file.as_fd(), &asked)?;
        self.copied.entries += 1;
        Ok(())
    }

    /// A symbolic link.
    pub(super) fn symlink(
        &mut self,
        path: &Path,
        target: &[u8],
        attributes: &Attributes,
    ) -> Result<()> {
        let target = c_path(self.step, Path::new(OsStr::from_bytes(target)))?;
        self.node(path, libc::S_IFLNK, 0, &target, attributes)
    }

    /// A pipe, or a device where the sandbox could make one itself.
    pub(super) fn special(
        &mut self,
        path: &Path,
        kind: u32,
        device: u64,
        attributes: &Attributes,
    ) -> Result<()> {
        let done = self.node(path, kind, device, c"", attributes);
        match done {
            // Root of a user namespace, a sandbox without MKNOD, or devices forbidden by its cgroup.
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
        let time = modified((attributes.mtime.seconds, attributes.mtime.nanoseconds));
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

    /// A second name for `original`, which is below the same directory.
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
        // What is there already must not be removed first: it may be the only name.
        if !stat(path).is_ok_and(|there| (there.dev, there.ino) == (from.dev, from.ino)) {
            self.make(path, |import| import.top.ask(import.step, original, &asked))?;
        }
        self.copied.entries += 1;
        Ok(())
    }

    /// Makes what stands in the place of nothing: parents that are missing are made, what is there and
    /// is no directory goes.
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

    /// Makes the directories above `path` that are missing; false if none was.
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

    /// Sets extended attributes; those that cannot be are left out.
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
            let asked = FileRequest {
                set: FileSet {
                    xattrs: &bytes,
                    ..FileSet::NONE
                },
                ..FileRequest::new(wire::FILE_SET)
            };
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

    /// What an archive says that nobody should do.
    pub(super) fn refuse(&self, path: &Path, why: &str) -> Error {
        let why = format_args!("{}: {why}", quoted(path));
        Error::new(Kind::Corrupt, self.step, why)
    }

    /// Whether the error says that an id is not there.
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
