// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whiteouts: converted for overlayfs, or applied at once.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmod, fchmodat, fstat, fstatat, mknodat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::attributes::Attributes;
use super::dirs::{Dirs, Missing};
use super::lookup::DIRECTORY;
use super::name::{Mark, split};
use super::unlock::open_up;
use super::{Options, Whiteouts};
use crate::image::tar::{Call, Fault, Parsed};

/// Depth of the deepest directory that is removed; no bound on names allows
/// more.
const DEEPEST: u32 = 1024;

/// Files that the whiteouts of a layer must not touch.
pub(super) struct Whited {
    /// Files that this layer wrote, for [`Whiteouts::Apply`], by the parent's
    /// inode and the name.
    written: Option<HashSet<(u64, Vec<u8>)>>,
    /// True if the root itself was made opaque.
    pub(super) opaque_root: bool,
}

impl Whited {
    /// Starts without files.
    pub(super) fn new(options: &Options) -> Self {
        Self {
            written: (options.whiteouts == Whiteouts::Apply).then(HashSet::new),
            opaque_root: false,
        }
    }

    /// Remembers that this layer writes `base` in the top of `dirs`.
    pub(super) fn wrote(&mut self, dirs: &mut Dirs, base: &[u8]) -> Parsed<()> {
        if dirs.hidden.has_bare() {
            let path = dirs.path_of(base);
            dirs.hidden.need(&path);
        }
        if let Some(written) = &mut self.written {
            written.insert((dirs.id()?, base.to_vec()));
        }
        Ok(())
    }

    /// Remembers that this layer has the top of `dirs`, for an entry that makes
    /// no file.
    pub(super) fn needs_top(&mut self, dirs: &mut Dirs) -> Parsed<()> {
        let path = dirs.path_of_top().to_vec();
        dirs.hidden.need(&path);
        let (Some(written), Some((dir, name))) = (&mut self.written, split(&path)) else {
            return Ok(());
        };
        let dir = dirs.open_other(dir).call("openat2")?;
        written.insert((fstat(&dir).call("fstat")?.st_ino, name.to_vec()));
        Ok(())
    }

    /// Applies or converts the whiteout `mark` found in `dir`. Entries of the
    /// same layer stay, before or after the whiteout. Returns the path where
    /// files may be gone now, there or below.
    pub(super) fn mark(
        &mut self,
        dirs: &mut Dirs,
        dir: &[u8],
        mark: Mark<'_>,
    ) -> Parsed<Option<Vec<u8>>> {
        // Lower layers are hidden already below a hidden directory or a file of
        // this layer.
        if !dirs.enter(dir, Missing::CreateOrTell)? || dirs.hidden.covers(dirs.path_of_top()) {
            return Ok(None);
        }
        let hidden = match mark {
            Mark::Whiteout(name) => dirs.path_of(name),
            _ => dirs.path_of_top().to_vec(),
        };
        self.opaque_root |= hidden.is_empty();
        match (&self.written, mark) {
            (None, Mark::Whiteout(name)) => convert(dirs, name)?,
            (None, _) => {
                sweep(dirs, &hidden)?;
                dirs.listing.set_opaque(&hidden);
                dirs.set_opaque(dirs.top())?;
            }
            (kept, mark) => {
                let id = dirs.id()?;
                let kept = kept.as_ref();
                match mark {
                    Mark::Whiteout(name) => Lower { kept }.remove(dirs.top(), id, name, 0)?,
                    _ => Lower { kept }.clear(dirs.top(), id, 0)?,
                };
            }
        }
        dirs.hidden.hide(hidden.clone());
        Ok(self.written.is_some().then_some(hidden))
    }
}

/// Makes a whiteout for overlayfs: a character device 0:0, which since Linux
/// 5.8 any user may make. Source: kernel,
/// Documentation/filesystems/overlayfs.rst.
pub(super) fn convert(dirs: &mut Dirs, name: &[u8]) -> Parsed<()> {
    let path = dirs.path_of(name);
    match dirs.hidden.is_bare(&path) {
        true => {
            dirs.forget(&path);
            remove(dirs.top(), name)?;
        }
        false => sweep(dirs, &path)?,
    }
    dirs.hidden.hide(path.clone());
    match mknodat(dirs.top(), name, SFlag::S_IFCHR, Mode::empty(), 0) {
        Err(Errno::EEXIST) => dirs.listing.set_opaque(&path),
        made => {
            dirs.listing.white_out(path);
            return made.call("mknodat 0:0");
        }
    }
    let top = dirs.top();
    let stat = fstatat(top, name, AtFlags::AT_SYMLINK_NOFOLLOW).call("fstatat")?;
    if stat.st_mode & libc::S_IFMT != libc::S_IFDIR {
        return Ok(());
    }
    // The directory of this layer stays, without the lower directory.
    let fd = openat(top, name, DIRECTORY, Mode::empty()).call("openat")?;
    dirs.set_opaque(fd.as_fd())
}

/// Removes directories below `path` that only whiteouts need, before lower
/// layers are hidden there. overlayfs lists whiteouts in a directory of a
/// single layer.
fn sweep(dirs: &mut Dirs, path: &[u8]) -> Parsed<()> {
    let mut gone = dirs.hidden.bare_below(path);
    gone.extend(dirs.listing.whiteouts_below(path));
    for path in gone {
        let Some((dir, name)) = split(&path) else {
            continue;
        };
        let dir = match dirs.open_other(dir) {
            // The directory was bare, too.
            Err(Errno::ENOENT) => continue,
            opened => opened.call("openat2")?,
        };
        let kept = Attributes::keep_times(&fstat(&dir).call("fstat")?);
        dirs.forget(&path);
        remove(dir.as_fd(), name)?;
        kept.settle_at(dir.as_fd(), b".")?;
    }
    Ok(())
}

/// Removes `name` of `dir`, of any type, with all below.
pub(super) fn remove(dir: BorrowedFd<'_>, name: &[u8]) -> Parsed<()> {
    Lower { kept: None }.remove(dir, 0, name, 0).map(drop)
}

/// Opens a directory of any mode to remove its entries.
fn open_dir(dir: BorrowedFd<'_>, name: &[u8]) -> nix::Result<Dir> {
    match Dir::openat(dir, name, DIRECTORY, Mode::empty()) {
        Err(Errno::EACCES) => {}
        opened => return opened,
    }
    // A symlink would have failed with another error, and no other process
    // writes here.
    fchmodat(dir, name, Mode::S_IRWXU, FchmodatFlags::FollowSymlink)?;
    Dir::openat(dir, name, DIRECTORY, Mode::empty())
}

/// A removal that spares the files of the current layer.
struct Lower<'a> {
    kept: Option<&'a HashSet<(u64, Vec<u8>)>>,
}

impl Lower<'_> {
    /// Removes `name` of the directory `dir` with inode `id`; returns true if
    /// it is gone.
    fn remove(&self, dir: BorrowedFd<'_>, id: u64, name: &[u8], depth: u32) -> Parsed<bool> {
        let keep = self
            .kept
            .is_some_and(|kept| kept.contains(&(id, name.to_vec())));
        if !keep {
            match unlinkat(dir, name, UnlinkatFlags::NoRemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => return Ok(true),
                Err(Errno::EISDIR | Errno::EPERM) => {}
                Err(errno) => return Err(errno).call("unlinkat"),
            }
        }
        if depth == DEEPEST {
            return Err(Fault::Beyond("depth", DEEPEST.into()));
        }
        let below = match open_dir(dir, name) {
            Err(Errno::ENOTDIR | Errno::ELOOP | Errno::ENOENT) if keep => return Ok(false),
            opened => opened.call("openat")?,
        };
        let stat = fstat(&below).call("fstat")?;
        let locked = open_up(&below, &stat)?;
        // Needed to set the mode of a spared directory.
        let again = locked.map(|_| openat(&below, c".", DIRECTORY, Mode::empty()));
        let empty = self.clear_dir(below, stat.st_ino, depth + 1)?;
        if keep || !empty {
            if let (Some(mode), Some(fd)) = (locked, again) {
                let fd = fd.call("openat")?;
                fchmod(&fd, Mode::from_bits_truncate(mode)).call("fchmod")?;
            }
            Attributes::keep_times(&stat).settle_at(dir, name)?;
            return Ok(false);
        }
        unlinkat(dir, name, UnlinkatFlags::RemoveDir).call("unlinkat")?;
        Ok(true)
    }

    /// Removes everything in `dir`; returns true if no file was spared.
    fn clear(&self, dir: BorrowedFd<'_>, id: u64, depth: u32) -> Parsed<bool> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let own = Dir::openat(dir, c".", flags, Mode::empty()).call("openat")?;
        self.clear_dir(own, id, depth)
    }

    fn clear_dir(&self, mut dir: Dir, id: u64, depth: u32) -> Parsed<bool> {
        // A directory that changes while it is read may skip names, so read all
        // names first.
        let mut names = Vec::new();
        for entry in dir.iter() {
            let entry = entry.call("getdents64")?;
            match entry.file_name().to_bytes() {
                b"." | b".." => {}
                name => names.push(name.to_vec()),
            }
        }
        let mut empty = true;
        for name in names {
            empty &= self.remove(dir.as_fd(), id, &name, depth)?;
        }
        Ok(empty)
    }
}
