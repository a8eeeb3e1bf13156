// SPDX-License-Identifier: MIT OR Apache-2.0
//! Requests that change the tree: making, renaming, removing entries, and
//! setting their attributes.
#![forbid(unsafe_code)]

use super::{Job, Outcome, SPECIAL, check_place};
use crate::dir;
use crate::sys::{
    self, AT_EMPTY_PATH, AT_REMOVEDIR, Errno, Fd, O_DIRECTORY, O_NOFOLLOW, O_PATH, Result, S_IFBLK,
    S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, Stat,
};
use crate::wire::{self, FileRequest, FileSet};
use crate::xattrs;

impl Job<'_> {
    pub(super) fn make(&mut self, request: &FileRequest<'_>) -> Outcome<()> {
        let mut name = [0u8; 256];
        let (parent, name) = self.parent(request.path, request.flags, &mut name)?;
        let kind = request.mode & S_IFMT;
        let made = match kind {
            S_IFDIR => sys::mkdirat(parent.raw(), name, request.mode & 0o7777),
            S_IFLNK => sys::symlinkat(request.to, parent.raw(), name),
            // 0:0 is an overlay's whiteout.
            S_IFCHR if request.device == 0 => Err(Errno::INVAL),
            S_IFIFO | S_IFCHR | S_IFBLK => {
                sys::mknodat(parent.raw(), name, request.mode, request.device)
            }
            _ => Err(Errno::INVAL),
        };
        let entry = match made {
            Err(Errno::EXIST) if kind == S_IFDIR && request.flags & wire::OR_EXISTING != 0 => {
                let entry = sys::openat(parent.raw(), name, O_PATH | O_NOFOLLOW, 0)?;
                if sys::fstatat(entry.raw(), c"")?.is(S_IFLNK) {
                    // A link to a directory serves as a directory, and its
                    // target stays unchanged.
                    let there = self.resolve(request.path, O_PATH | O_DIRECTORY, request.flags);
                    self.stat = Some(sys::fstatat(there.map_err(|_| Errno::EXIST)?.raw(), c"")?);
                    self.count = 2;
                    return Ok(());
                }
                entry
            }
            made => {
                made?;
                self.count = 1;
                sys::openat(parent.raw(), name, O_PATH | O_NOFOLLOW, 0)?
            }
        };
        let stat = sys::fstatat(entry.raw(), c"")?;
        if !stat.is(kind) {
            return Err(Errno::EXIST.into());
        }
        self.apply(&entry, false, &stat, &request.set)?;
        self.stat = Some(sys::fstatat(entry.raw(), c"")?);
        Ok(())
    }

    pub(super) fn rename(&mut self, request: &FileRequest<'_>) -> Outcome<()> {
        let (mut from, mut to) = ([0u8; 256], [0u8; 256]);
        let (old, from) = self.parent(request.path, request.flags, &mut from)?;
        let (new, to) = self.parent(request.to, request.flags, &mut to)?;
        let only_new = u32::from(request.flags & wire::NO_REPLACE != 0);
        match request.verb {
            wire::FILE_LINK => sys::linkat(old.raw(), from, new.raw(), to)?,
            _ => sys::renameat2(old.raw(), from, new.raw(), to, only_new)?,
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, request: &FileRequest<'_>) -> Outcome<()> {
        let mut name = [0u8; 256];
        let (parent, name) = self.parent(request.path, request.flags, &mut name)?;
        let flags = match request.flags & wire::DIRECTORY {
            0 => 0,
            _ => AT_REMOVEDIR,
        };
        sys::unlinkat(parent.raw(), name, flags)?;
        Ok(())
    }

    /// Removes the first entries of a directory; those that hold something are
    /// named.
    pub(super) fn clear(&mut self, request: &FileRequest<'_>) -> Outcome<()> {
        let found = self.find(request.path, request.flags)?;
        check_place(found.raw())?;
        let dir = self.reopen(&found, O_DIRECTORY)?;
        let (tail, count) = (&mut self.tail, &mut self.count);
        dir::next_entries(dir.raw(), |name| {
            *count += 1;
            let done = match sys::unlinkat(dir.raw(), name, 0) {
                // Some file systems say EPERM of a directory.
                Err(Errno::ISDIR | Errno::PERM) => sys::unlinkat(dir.raw(), name, AT_REMOVEDIR),
                done => done,
            };
            match done {
                Err(Errno::NOTEMPTY | Errno::EXIST) => tail.put_name(name),
                Ok(_) | Err(Errno::NOENT) => Ok(()),
                Err(errno) => Err(errno),
            }
        })?;
        Ok(())
    }

    pub(super) fn set(&mut self, request: &FileRequest<'_>) -> Outcome<()> {
        let given = self.base.filter(|_| request.path.is_empty());
        let target = match given {
            Some(fd) => sys::duplicate(fd, 0)?,
            None => self.find(request.path, request.flags)?,
        };
        let stat = sys::fstatat(target.raw(), c"")?;
        if stat.is(S_IFCHR) || stat.is(S_IFBLK) {
            return Err(SPECIAL);
        }
        check_place(target.raw())?;
        self.apply(&target, given.is_some(), &stat, &request.set)?;
        self.stat = Some(sys::fstatat(target.raw(), c"")?);
        Ok(())
    }

    /// Sets attributes; `real` if the descriptor is more than O_PATH. A change
    /// of the owner clears setuid bits and file capabilities, so that comes
    /// first; everything changes the times.
    pub(super) fn apply(
        &self,
        target: &Fd,
        real: bool,
        stat: &Stat,
        set: &FileSet<'_>,
    ) -> Result<()> {
        if set.what & wire::SET_OWNER != 0 {
            sys::fchownat(target.raw(), c"", set.uid, set.gid, AT_EMPTY_PATH)?;
        }
        let (mode, xattrs) = (set.what & wire::SET_MODE != 0, !set.xattrs.is_empty());
        if stat.is(S_IFREG) || stat.is(S_IFDIR) {
            let opened = match real || !(mode || xattrs) {
                true => None,
                false => Some(self.reopen(target, 0)?),
            };
            let fd = opened.as_ref().map_or(target.raw(), Fd::raw);
            if mode {
                sys::fchmod(fd, set.mode & 0o7777)?;
            }
            xattrs::set(fd, set.xattrs)?;
        } else if mode && !stat.is(S_IFLNK) {
            let mut name = [0; 21];
            let (fds, name) = self.own_link(target, &mut name)?;
            sys::fchmodat(fds.raw(), name, set.mode & 0o7777)?;
        }
        if set.what & wire::SET_TIMES != 0 {
            let times = [set.atime, set.atime_ns, set.mtime, set.mtime_ns];
            sys::utimensat(target.raw(), c"", &times, AT_EMPTY_PATH)?;
        }
        Ok(())
    }
}
