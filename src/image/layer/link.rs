// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hard links: further names for the files of earlier entries.
#![forbid(unsafe_code)]

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{fstat, fstatat};
use nix::unistd::linkat;

use super::name::Name;
use super::write::Writer;
use crate::image::tar::{Call, Parsed, refuse};

impl Writer<'_> {
    /// Gives a file of an earlier entry, or of a lower layer when applying, a
    /// further name. Ignores owner, mode and times of the link, because those
    /// of the first name count.
    pub(super) fn link(&mut self, base: &[u8], raw: &[u8]) -> Parsed<()> {
        let target = Name::parse_cleaned(raw, self.options.bounds.depth)?;
        let Some((dir, name)) = target.split() else {
            return refuse("a hard link to the root");
        };
        self.check_dots(raw)?;
        let absent = "a hard link to what is not there";
        let from = match self.dirs.open_other(dir) {
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return refuse(absent),
            opened => opened.call("openat2")?,
        };
        if let Some(left_out) = self.left_out(&from, name)? {
            return self.leave_out(base, left_out);
        }
        let stat = match fstatat(&from, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => return refuse(absent),
            stat => stat.call("fstatat")?,
        };
        match stat.st_mode & libc::S_IFMT {
            libc::S_IFDIR => return refuse("a hard link to a directory"),
            libc::S_IFCHR if stat.st_rdev == 0 => return refuse("a hard link to a whiteout"),
            _ => {}
        }
        let there = fstatat(self.dirs.top(), base, AtFlags::AT_SYMLINK_NOFOLLOW);
        if there.is_ok_and(|there| (there.st_dev, there.st_ino) == (stat.st_dev, stat.st_ino)) {
            return match self.is_same_place(&from, name, base)? {
                true => refuse("a hard link to itself"),
                false => Ok(()),
            };
        }
        self.make(base, "linkat", |to| {
            linkat(&from, name, to, base, AtFlags::empty())
        })?;
        self.defer_like(&from, name, base)
    }

    /// Refuses a target with `..` behind a symlink: readers differ in the order
    /// of resolution.
    fn check_dots(&self, raw: &[u8]) -> Parsed<()> {
        let mut path: Vec<&[u8]> = Vec::new();
        for part in raw.split(|&b| b == b'/') {
            match part {
                b"" | b"." => {}
                b".." => {
                    let Some(name) = path.pop() else { continue };
                    let dir = self.dirs.open_other(&path.join(&b'/'));
                    let stat = dir.and_then(|d| fstatat(&d, name, AtFlags::AT_SYMLINK_NOFOLLOW));
                    if stat.is_ok_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFLNK) {
                        return refuse("\"..\" behind a symlink in the target of a hard link");
                    }
                }
                part => path.push(part),
            }
        }
        Ok(())
    }

    fn is_same_place(&mut self, from: &OwnedFd, name: &[u8], base: &[u8]) -> Parsed<bool> {
        let other = fstat(from).call("fstat")?.st_ino;
        Ok(name == base && other == self.dirs.id()?)
    }

    /// Defers the same owner for the new name, because a later entry may
    /// replace the first name.
    fn defer_like(&mut self, from: &OwnedFd, name: &[u8], base: &[u8]) -> Parsed<()> {
        if self.pending.fixups.is_empty() {
            return Ok(());
        }
        let first = self.dirs.path_in(from, name)?;
        let Some(fixup) = self.pending.fixups.get(&first) else {
            return Ok(());
        };
        let (uid, gid, mode) = (fixup.uid, fixup.gid, fixup.mode);
        let capability = fixup.capability.clone();
        let path = self.dirs.path_of(base);
        self.defer(path, uid, gid, mode, capability)
    }
}
