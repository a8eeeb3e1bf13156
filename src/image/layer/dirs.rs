// SPDX-License-Identifier: MIT OR Apache-2.0
//! A stack of open directories below the root.
//!
//! Resolves the parent of every entry once, never leaves the root, and settles
//! directories when it leaves them.
#![forbid(unsafe_code)]

use std::ffi::CStr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, fchmod, fstat, fstatat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, unlinkat};

use super::attributes::{Attributes, set_times};
use super::hidden::Hidden;
use super::listing::Listing;
use super::lookup::{DIRECTORY, chmod_path_fd, open_in_root, path_of_fd, resolve, walk};
use super::name::{Mark, Name};
use super::pending::ByPath;
use super::unlock::{OWNER, open_up};
use crate::image::tar::{Call, Fault, Parsed, refuse};
use crate::sys::xattr;

/// Handling of a missing parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// Makes the parent: mode 0755, the caller's ids.
    Create,
    /// Makes the parent, unless it is below a file that is no directory, or
    /// below a directory where lower layers show no file: reports these.
    CreateOrTell,
}

/// A stack of open directories, from the root to the parent of the last entry.
///
/// A directory stays open only while entries come from below it, and only if no
/// symlink led there. A file that an entry replaces is therefore never on the
/// stack, and no directory is remembered by name.
pub(super) struct Dirs {
    root: OwnedFd,
    root_attributes: Attributes,
    frames: Vec<Frame>,
    /// A new directory in the top. It is opened only if the next entry is below
    /// it; otherwise it is settled by name before other work in the top.
    made: Option<(Box<[u8]>, Attributes)>,
    /// True if a symlink led to the last frame.
    aliased: bool,
    /// Modes without the owner's bits, to be set at the end.
    late: ByPath<u32>,
    /// Directories that entries list.
    pub(super) listing: Listing,
    /// Paths of lower layers that this layer hides.
    pub(super) hidden: Hidden,
    root_foreign: bool,
    root_id: u64,
    /// Path of the root as the kernel prints it; read on first use.
    root_path: Option<Vec<u8>>,
    depth: u32,
    /// Attribute of opaque directories, if whiteouts are converted.
    opaque: Option<&'static CStr>,
}

struct Frame {
    fd: OwnedFd,
    /// Last part of the entry's name for this directory.
    name: Box<[u8]>,
    /// Path below the root, free of symlinks.
    path: Vec<u8>,
    attributes: Attributes,
    foreign: bool,
    id: Option<u64>,
}

impl Dirs {
    /// Starts at `root`.
    pub(super) fn open(
        root: BorrowedFd<'_>,
        depth: u32,
        opaque: Option<&'static CStr>,
    ) -> Parsed<Self> {
        let root = openat(root, c".", DIRECTORY, Mode::empty()).call("openat")?;
        // A default ACL would override the modes of the archive.
        match xattr::remove(root.as_fd(), c"system.posix_acl_default") {
            Ok(()) | Err(Errno::ENODATA | Errno::EOPNOTSUPP) => {}
            Err(errno) => return Err(errno).call("fremovexattr system.posix_acl_default"),
        }
        let stat = fstat(&root).call("fstat")?;
        let locked = open_up(&root, &stat)?;
        let mut listing = Listing::default();
        listing.imply(Vec::new());
        Ok(Self {
            root_attributes: Attributes {
                mode: locked,
                ..Attributes::default()
            },
            frames: Vec::new(),
            made: None,
            aliased: false,
            late: ByPath::default(),
            listing,
            hidden: Hidden::default(),
            root_foreign: foreign(&stat),
            root_id: stat.st_ino,
            root_path: None,
            root,
            depth,
            opaque,
        })
    }

    /// Returns the directory entered last.
    pub(super) fn top(&self) -> BorrowedFd<'_> {
        self.frames
            .last()
            .map_or(self.root.as_fd(), |f| f.fd.as_fd())
    }

    /// Returns whether new files in the top may get a group other than the
    /// caller's.
    pub(super) fn is_foreign(&self) -> bool {
        self.frames.last().map_or(self.root_foreign, |f| f.foreign)
    }

    /// Returns the inode of the top.
    pub(super) fn id(&mut self) -> Parsed<u64> {
        let Some(frame) = self.frames.last_mut() else {
            return Ok(self.root_id);
        };
        if let Some(id) = frame.id {
            return Ok(id);
        }
        let id = fstat(&frame.fd).call("fstat")?.st_ino;
        frame.id = Some(id);
        Ok(id)
    }

    /// Returns the path of `base` in the top, below the root and free of
    /// symlinks.
    pub(super) fn path_of(&self, base: &[u8]) -> Vec<u8> {
        match self.frames.last() {
            Some(top) if !top.path.is_empty() => [&top.path, &b"/"[..], base].concat(),
            _ => base.to_vec(),
        }
    }

    /// Returns the path of the top, below the root and free of symlinks.
    pub(super) fn path_of_top(&self) -> &[u8] {
        self.frames.last().map_or(b"", |top| &top.path)
    }

    /// Keeps the root's attributes, to be set at the end.
    pub(super) fn set_root_attributes(&mut self, attributes: Attributes) {
        self.root_attributes = attributes;
    }

    /// Makes `dir` the top; returns false if it is missing and stays so.
    pub(super) fn enter(&mut self, dir: &[u8], missing: Missing) -> Parsed<bool> {
        if self.aliased {
            self.leave_to(0)?;
        }
        let mut end = 0;
        let mut depth = 0;
        let parts = || dir.split(|&b| b == b'/').filter(|part| !part.is_empty());
        for part in parts() {
            match self.frames.get(depth) {
                Some(frame) if *frame.name == *part => depth += 1,
                _ => break,
            }
        }
        if depth == self.frames.len()
            && let Some((name, attributes)) =
                self.made.take_if(|m| parts().nth(depth) == Some(&m.0))
        {
            self.push_listed(&name, attributes, true)?;
            depth += 1;
        }
        self.leave_to(depth)?;
        for (i, part) in parts().enumerate() {
            end += part.len() + usize::from(end > 0);
            if i >= depth && !self.descend(&dir[..end], part, missing)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Pushes the part `name`, the last of `prefix`.
    fn descend(&mut self, prefix: &[u8], name: &[u8], missing: Missing) -> Parsed<bool> {
        let mut fresh = false;
        loop {
            match openat(self.top(), name, DIRECTORY, Mode::empty()) {
                Ok(fd) if fresh => {
                    let path = self.path_of(name);
                    let foreign = self.is_foreign();
                    self.listing.imply(path.clone());
                    self.hidden.imply(path.clone());
                    self.push(fd, name, path, Attributes::default(), foreign);
                    return Ok(true);
                }
                Ok(fd) => {
                    let path = self.path_of(name);
                    self.push_existing(fd, name, path)?;
                    return Ok(true);
                }
                Err(Errno::ENOENT)
                    if missing == Missing::CreateOrTell
                        && self.hidden.covers(&self.path_of(name)) =>
                {
                    return Ok(false);
                }
                Err(Errno::ENOENT) => {
                    let mode = Mode::from_bits_truncate(0o755);
                    mkdirat(self.top(), name, mode).call("mkdirat")?;
                    fresh = true;
                }
                Err(Errno::EACCES) => self.unlock(name)?,
                // A symlink fails with ELOOP or, because a directory is asked
                // for, ENOTDIR.
                Err(Errno::ELOOP | Errno::ENOTDIR) => {
                    return self.follow(prefix, name, missing);
                }
                Err(errno) => return Err(errno).call("openat"),
            }
        }
    }

    /// Follows the symlink at the end of `prefix`, with the root as `/`.
    fn follow(&mut self, prefix: &[u8], name: &[u8], missing: Missing) -> Parsed<bool> {
        let stat = fstatat(self.top(), name, AtFlags::AT_SYMLINK_NOFOLLOW).call("fstatat")?;
        match (stat.st_mode & libc::S_IFMT, missing) {
            (libc::S_IFLNK, _) => {}
            (_, Missing::CreateOrTell) => return Ok(false),
            (libc::S_IFCHR, _) if stat.st_rdev == 0 => return self.revive(name).map(|()| true),
            _ => return refuse("a parent of it is not a directory"),
        }
        let fd = match open_in_root(self.root.as_fd(), prefix) {
            Ok(fd) => fd,
            Err(Errno::ENOTDIR) if missing != Missing::Create => return Ok(false),
            Err(Errno::ENOENT) => return self.follow_dangling(prefix, missing),
            Err(Errno::ENOTDIR) => return refuse("a parent of it is a symlink to a file"),
            Err(Errno::ELOOP) => return refuse("a parent of it is a loop of symlinks"),
            Err(errno) => return Err(errno).call("openat2"),
        };
        let path = self.path_below_root(&fd)?;
        self.push_existing(fd, name, path)?;
        self.aliased = true;
        Ok(true)
    }

    /// Makes the target directory of the dangling symlink `prefix`. A lower
    /// layer may have it; if no layer does, other engines make it, too.
    fn follow_dangling(&mut self, prefix: &[u8], missing: Missing) -> Parsed<bool> {
        self.leave_to(0)?;
        let target = resolve(self.root.as_fd(), prefix, self.depth)?;
        let target = Name::parse(&target, self.depth)?;
        let target = target.as_bytes();
        if Mark::of(target, b"-")? != Mark::Plain {
            return refuse("a parent of it is a symlink to what aufs keeps");
        }
        let mut end = 0;
        for part in target.split(|&b| b == b'/').filter(|part| !part.is_empty()) {
            end += part.len() + usize::from(end > 0);
            if !self.descend(&target[..end], part, missing)? {
                return Ok(false);
            }
        }
        self.aliased = true;
        Ok(true)
    }

    /// Replaces a whiteout by a directory: entries below it imply the
    /// directory, and the whiteout still hides the lower directory.
    fn revive(&mut self, name: &[u8]) -> Parsed<()> {
        unlinkat(self.top(), name, UnlinkatFlags::NoRemoveDir).call("unlinkat")?;
        mkdirat(self.top(), name, Mode::from_bits_truncate(0o755)).call("mkdirat")?;
        self.push_listed(name, Attributes::default(), true)?;
        self.listing.revive(self.path_of_top().to_vec());
        self.set_opaque(self.top())
    }

    /// Hides the files of lower layers in `fd`, if whiteouts are converted.
    pub(super) fn set_opaque(&self, fd: BorrowedFd<'_>) -> Parsed<()> {
        match self.opaque {
            None => Ok(()),
            Some(name) => xattr::set(fd, name, b"y")
                .map_err(|errno| Fault::Os(format!("fsetxattr {name:?}").into(), errno)),
        }
    }

    /// Returns the real path of a directory reached through symlinks.
    pub(super) fn path_below_root(&mut self, fd: &OwnedFd) -> Parsed<Vec<u8>> {
        if self.root_path.is_none() {
            self.root_path = Some(path_of_fd(&self.root)?);
        }
        let root = self.root_path.as_deref().unwrap_or_default();
        let path = path_of_fd(fd)?;
        if is_weak!("no_inroot") && !path.starts_with(root) {
            return Ok(path);
        }
        let below = match root {
            b"/" => path.strip_prefix(root),
            _ if path == root => Some(&b""[..]),
            _ => path
                .strip_prefix(root)
                .and_then(|rest| rest.strip_prefix(b"/")),
        };
        let Some(below) = below else {
            return refuse("a parent of it is outside the root");
        };
        // Symlinks could make a tree deeper than any name is long.
        if below.split(|&b| b == b'/').count() > self.depth as usize {
            return Err(Fault::Beyond("depth", self.depth.into()));
        }
        Ok(below.to_vec())
    }

    /// Returns the path of `name` in an open directory, below the root and free
    /// of symlinks.
    pub(super) fn path_in(&mut self, dir: &OwnedFd, name: &[u8]) -> Parsed<Vec<u8>> {
        Ok(match &self.path_below_root(dir)?[..] {
            b"" => name.to_vec(),
            dir => [dir, b"/", name].concat(),
        })
    }

    /// Gives an ordinary user access to a directory with a mode that shuts the
    /// user out; the mode is restored at the end.
    fn unlock(&mut self, name: &[u8]) -> Parsed<()> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = openat(self.top(), name, flags, Mode::empty()).call("openat")?;
        let stat = fstat(&fd).call("fstat")?;
        if stat.st_mode & OWNER == OWNER {
            return Err(Errno::EACCES).call("openat");
        }
        chmod_path_fd(&fd, stat.st_mode & 0o7777 | OWNER)?;
        let path = self.path_of(name);
        self.late.insert_first(path, stat.st_mode & 0o7777);
        Ok(())
    }

    /// Forgets the modes of `path` and of all below, because they are removed.
    pub(super) fn forget(&mut self, path: &[u8]) {
        self.late.forget(path);
        self.listing.forget(path);
        self.hidden.forget(path);
    }

    /// Forgets the modes of removed files at `path` and below.
    pub(super) fn forget_removed(&mut self, path: &[u8]) {
        self.late.forget_removed(self.root.as_fd(), path);
    }

    /// Returns the directory that stands for `/`.
    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    fn push_existing(&mut self, fd: OwnedFd, name: &[u8], path: Vec<u8>) -> Parsed<()> {
        let stat = fstat(&fd).call("fstat")?;
        if let Some(mode) = open_up(&fd, &stat)? {
            self.late.insert_first(path.clone(), mode);
        }
        let attributes = Attributes::keep_times(&stat);
        self.push(fd, name, path, attributes, foreign(&stat));
        Ok(())
    }

    fn push(
        &mut self,
        fd: OwnedFd,
        name: &[u8],
        path: Vec<u8>,
        attributes: Attributes,
        foreign: bool,
    ) {
        self.frames.push(Frame {
            fd,
            name: name.into(),
            path,
            attributes,
            foreign,
            id: None,
        });
    }

    /// Pushes the existing directory `name` of the top, to get `attributes`
    /// when it is left; `fresh` if it was just made.
    pub(super) fn push_listed(
        &mut self,
        name: &[u8],
        attributes: Attributes,
        fresh: bool,
    ) -> Parsed<()> {
        let fd = match openat(self.top(), name, DIRECTORY, Mode::empty()) {
            Err(Errno::EACCES) => {
                self.unlock(name)?;
                openat(self.top(), name, DIRECTORY, Mode::empty())
            }
            opened => opened,
        }
        .call("openat")?;
        let path = self.path_of(name);
        let foreign = match fresh {
            true => self.is_foreign(),
            false => {
                let stat = fstat(&fd).call("fstat")?;
                if let Some(mode) = open_up(&fd, &stat)? {
                    self.late.insert_first(path.clone(), mode);
                }
                foreign(&stat)
            }
        };
        self.push(fd, name, path, attributes, foreign);
        Ok(())
    }

    /// Defers opening the directory `name`, just made in the top with its own
    /// mode.
    pub(super) fn set_made(&mut self, name: &[u8], attributes: Attributes) {
        self.made = Some((name.into(), attributes));
    }

    /// Leaves directories until the stack has `depth`.
    fn leave_to(&mut self, depth: usize) -> Parsed<()> {
        if let Some((name, attributes)) = self.made.take() {
            attributes.settle_at(self.top(), &name)?;
        }
        while self.frames.len() > depth
            && let Some(frame) = self.frames.pop()
        {
            self.settle(&frame.fd, frame.path, frame.attributes)?;
        }
        self.aliased &= depth > 0;
        Ok(())
    }

    /// Sets a directory's attributes. Defers a mode that would shut the caller
    /// out.
    fn settle(&mut self, fd: &OwnedFd, path: Vec<u8>, attributes: Attributes) -> Parsed<()> {
        if let Some((uid, gid)) = attributes.owner {
            fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).call("fchown")?;
        }
        if let Some(mode) = attributes.mode {
            match mode & OWNER != OWNER {
                true => self.late.insert(path, mode),
                false => self.late.remove(&path),
            }
            fchmod(fd, Mode::from_bits_truncate(mode | OWNER)).call("fchmod")?;
        }
        if let Some(times) = attributes.times {
            set_times(fd, times)?;
        }
        Ok(())
    }

    /// Leaves all directories, then sets the deferred modes, deepest first.
    pub(super) fn complete(mut self) -> Parsed<Listing> {
        self.leave_to(0)?;
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        for (path, mode) in std::mem::take(&mut self.late).into_deepest_first() {
            let fd = walk(self.root.as_fd(), &path, flags).call("openat")?;
            chmod_path_fd(&fd, mode)?;
        }
        let attributes = std::mem::take(&mut self.root_attributes);
        let mode = attributes.mode;
        let root = self.root.try_clone().map_err(|error| {
            let errno = error.raw_os_error().map_or(Errno::EMFILE, Errno::from_raw);
            Fault::Os("fcntl".into(), errno)
        })?;
        self.settle(&root, Vec::new(), attributes)?;
        match mode {
            Some(mode) if mode & OWNER != OWNER => {
                fchmod(&root, Mode::from_bits_truncate(mode)).call("fchmod")?;
            }
            _ => {}
        }
        Ok(self.listing)
    }

    /// Opens the directory of `dir`'s entries without making it the top.
    pub(super) fn open_other(&self, dir: &[u8]) -> nix::Result<OwnedFd> {
        match dir {
            b"" => openat(&self.root, c".", DIRECTORY, Mode::empty()),
            _ => open_in_root(self.root.as_fd(), dir),
        }
    }
}

/// Returns whether new files in this directory may inherit its group.
fn foreign(stat: &FileStat) -> bool {
    stat.st_mode & libc::S_ISGID != 0 || stat.st_gid != Gid::effective().as_raw()
}
