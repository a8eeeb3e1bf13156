// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writes entries to files: each made new, by descriptor, in a parent resolved
//! once.
#![forbid(unsafe_code)]

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fchmod, fstatat, mkdirat, mknodat};
use nix::unistd::{Gid, Uid, fchown, symlinkat};

use super::attributes::{Attributes, Xattrs, set_times};
use super::dirs::{Dirs, Missing};
use super::listing::{Listing, Shown};
use super::lookup::chmod_path_fd;
use super::name::{AUFS_LINKS, Mark, Name};
use super::pending::{LeftOut, Pending};
use super::stream::Stream;
use super::unlock::OWNER;
use super::whiteout::Whited;
use super::{Fixup, Ids, Notes, Options, Whiteouts};
use crate::image::tar::{Archive, Call, Entry, Fault, Map, Parsed, Time, What, refuse, shown};

/// Writes the entries of one layer.
pub(super) struct Writer<'a> {
    pub(super) dirs: Dirs,
    pub(super) whited: Whited,
    pub(super) options: &'a Options,
    pub(super) notes: Notes,
    pub(super) pending: Pending,
    used: Used,
    /// True if new files get exactly the requested mode.
    exact_modes: bool,
    us: (u32, u32),
    /// True if aufs's directory of files with several names exists.
    aufs_links: bool,
}

/// Use of the bounds so far.
#[derive(Default)]
struct Used {
    entries: u64,
    apparent: u64,
    allocated: u64,
}

/// Final attributes of an entry.
pub(super) struct Meta {
    uid: u32,
    gid: u32,
    mode: u32,
    time: Time,
    xattrs: Xattrs,
}

impl Meta {
    fn shown(&self) -> Shown {
        Shown {
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            mtime: self.time,
        }
    }
}

/// Result of [`Writer::complete`].
pub(super) struct Written {
    pub(super) entries: u64,
    pub(super) pending: Pending,
    pub(super) notes: Vec<String>,
    pub(super) opaque_root: bool,
    pub(super) listing: Listing,
}

impl<'a> Writer<'a> {
    /// Writes below `root`; `exact_modes` if the umask of this thread is zero.
    pub(super) fn open(
        root: BorrowedFd<'_>,
        options: &'a Options,
        exact_modes: bool,
        pending: Pending,
    ) -> Parsed<Self> {
        Ok(Self {
            dirs: Dirs::open(root, options.bounds.depth, options.opaque_name())?,
            whited: Whited::new(options),
            options,
            notes: Notes::default(),
            pending,
            used: Used::default(),
            exact_modes,
            us: (Uid::effective().as_raw(), Gid::effective().as_raw()),
            aufs_links: false,
        })
    }

    /// Settles all directories.
    pub(super) fn complete(mut self) -> Parsed<Written> {
        if self.aufs_links {
            // Entries have linked to its files by now.
            self.dirs.enter(b"", Missing::Create)?;
            self.forget(AUFS_LINKS);
            super::whiteout::remove(self.dirs.root(), AUFS_LINKS)?;
        }
        let listing = self.dirs.complete()?;
        Ok(Written {
            listing,
            entries: self.used.entries,
            pending: self.pending,
            notes: self.notes.complete(),
            opaque_root: self.whited.opaque_root,
        })
    }

    /// Writes an entry; `archive` gives the body.
    pub(super) fn entry(&mut self, entry: Entry, archive: &mut Archive<Stream>) -> Parsed<()> {
        let bounds = &self.options.bounds;
        self.used.entries += 1;
        if self.used.entries > bounds.entries {
            return Err(Fault::Beyond("entries", bounds.entries));
        }
        let name = Name::parse_cleaned(&entry.name, bounds.depth)?;
        let Some((dir, base)) = name.split() else {
            return self.root(entry);
        };
        let mark = match self.options.whiteouts {
            Whiteouts::Keep => Mark::Plain,
            _ => Mark::of(dir, base)?,
        };
        match mark {
            Mark::Plain => {}
            Mark::AufsLink if matches!(entry.what, What::File(..)) => self.aufs_links = true,
            Mark::Aufs | Mark::AufsLink => {
                self.notes.add(format!("skipped {}", shown(&entry.name)));
                return Ok(());
            }
            mark => {
                // aufs linked all its whiteouts together to save inodes.
                if !matches!(entry.what, What::File(0, None) | What::Link(_)) {
                    return refuse("a whiteout that is not an empty file");
                }
                if let Some(path) = self.whited.mark(&mut self.dirs, dir, mark)? {
                    self.pending.forget_removed(self.dirs.root(), &path);
                    self.dirs.forget_removed(&path);
                }
                return Ok(());
            }
        }
        let xattrs = Xattrs::sort(entry.xattrs)?;
        for name in &xattrs.dropped {
            self.notes.add(format!("dropped xattrs named {name}"));
        }
        let meta = Meta {
            uid: entry.uid,
            gid: entry.gid,
            mode: entry.mode,
            time: self.kept(entry.mtime),
            xattrs,
        };
        self.dirs.enter(dir, Missing::Create)?;
        match entry.what {
            What::File(size, map) => self.file(base, meta, size, map, archive)?,
            What::Link(target) => self.link(base, &target)?,
            What::Symlink(target) => self.symlink(base, meta, &target)?,
            What::Directory => self.directory(base, meta)?,
            What::Fifo => self.node(base, meta, SFlag::S_IFIFO, 0)?,
            What::Char(0, 0) if !is_weak!("raw_whiteout") => {
                self.leave_out(base, LeftOut::Whiteout)?;
            }
            What::Char(major, minor) => self.device(base, meta, SFlag::S_IFCHR, (major, minor))?,
            What::Block(major, minor) => self.device(base, meta, SFlag::S_IFBLK, (major, minor))?,
        }
        Ok(())
    }

    /// Applies the entry of the root itself: only attributes.
    fn root(&mut self, entry: Entry) -> Parsed<()> {
        if !matches!(entry.what, What::Directory) {
            return refuse("the root is not a directory");
        }
        let xattrs = Xattrs::sort(entry.xattrs)?;
        let time = self.kept(entry.mtime);
        self.dirs.enter(b"", Missing::Create)?;
        self.note_unsupported(xattrs.apply(self.dirs.top())?);
        let shown = Shown {
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            mtime: time,
        };
        self.dirs.listing.list(Vec::new(), shown);
        self.dirs.set_root_attributes(Attributes {
            owner: self.owner(entry.uid, entry.gid, true),
            mode: Some(entry.mode),
            times: Some(time),
        });
        self.defer(Vec::new(), entry.uid, entry.gid, entry.mode, None)
    }

    /// Clamps a time to the range of every file system.
    fn kept(&mut self, time: Time) -> Time {
        let kept = time.kept();
        if kept != time {
            self.notes
                .add("set times before 1901 or after 2446 to the nearest that is kept".into());
        }
        kept
    }

    /// Returns the owner to be set, if setting changes it.
    fn owner(&self, uid: u32, gid: u32, foreign: bool) -> Option<(u32, u32)> {
        let wanted = self.options.ids == Ids::Root && (foreign || (uid, gid) != self.us);
        wanted.then_some((uid, gid))
    }

    /// Defers the owner of `path` to a holder of more ids.
    pub(super) fn defer(
        &mut self,
        path: Vec<u8>,
        uid: u32,
        gid: u32,
        mode: u32,
        capability: Option<Vec<u8>>,
    ) -> Parsed<()> {
        if self.options.ids != Ids::Deferred {
            return Ok(());
        }
        if (uid, gid) == (0, 0) && capability.is_none() {
            self.pending.fixups.remove(&path);
            return Ok(());
        }
        let Ok(name) = CString::new(match &path[..] {
            b"" => b".".to_vec(),
            path => path.to_vec(),
        }) else {
            return refuse("NUL in a name");
        };
        self.pending.fixups.insert(
            path,
            Fixup {
                path: name,
                uid,
                gid,
                mode,
                capability,
            },
        );
        Ok(())
    }

    /// Drops the deferred work on `path` and all below.
    pub(super) fn forget(&mut self, path: &[u8]) {
        self.pending.forget(path);
        self.dirs.forget(path);
    }

    fn note_unsupported(&mut self, unsupported: bool) {
        if unsupported {
            self.notes
                .add("dropped user xattrs, which this filesystem cannot keep".into());
        }
    }

    /// Makes a new file `base`, and first removes an old one.
    pub(super) fn make<T>(
        &mut self,
        base: &[u8],
        call: &'static str,
        create: impl Fn(BorrowedFd<'_>) -> nix::Result<T>,
    ) -> Parsed<T> {
        self.whited.wrote(&mut self.dirs, base)?;
        self.pending.no_longer_left_out(|| self.dirs.path_of(base));
        match create(self.dirs.top()) {
            Err(Errno::EEXIST) => {
                let path = self.dirs.path_of(base);
                self.forget(&path);
                super::whiteout::remove(self.dirs.top(), base)?;
                create(self.dirs.top()).call(call)
            }
            made => made.call(call),
        }
    }

    fn file(
        &mut self,
        base: &[u8],
        meta: Meta,
        size: u64,
        map: Option<Map>,
        archive: &mut Archive<Stream>,
    ) -> Parsed<()> {
        self.spend(size, map.as_ref().map_or(size, |map| map.size))?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
        // Extended attributes need write permission on the file.
        let writable = !meta.xattrs.set.is_empty() && meta.mode & 0o200 == 0;
        let first = (meta.mode & 0o777) | if writable { 0o200 } else { 0 };
        let mode = Mode::from_bits_truncate(first);
        let fd = self.make(base, "openat", |dir| {
            openat(dir, base, flags | OFlag::O_CLOEXEC, mode)
        })?;
        archive.copy_body(&fd, map.as_ref())?;
        self.note_unsupported(meta.xattrs.apply(fd.as_fd())?);
        if let Some((uid, gid)) = self.owner(meta.uid, meta.gid, self.dirs.is_foreign()) {
            fchown(&fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).call("fchown")?;
        }
        // A change of owner clears the setuid bits and the capability, so these
        // follow.
        if meta.mode != first || !self.exact_modes {
            fchmod(&fd, Mode::from_bits_truncate(meta.mode)).call("fchmod")?;
        }
        if meta.xattrs.apply_capability(fd.as_fd(), self.options.ids)? {
            self.notes
                .add("dropped file capabilities, which need root".into());
        }
        set_times(&fd, meta.time)?;
        let path = self.dirs.path_of(base);
        self.defer(path, meta.uid, meta.gid, meta.mode, meta.xattrs.capability)
    }

    fn spend(&mut self, stored: u64, apparent: u64) -> Parsed<()> {
        let bounds = &self.options.bounds;
        self.used.allocated = self.used.allocated.saturating_add(stored);
        self.used.apparent = self.used.apparent.saturating_add(apparent);
        if self.used.allocated > bounds.allocated {
            return Err(Fault::Beyond("allocated", bounds.allocated));
        }
        if self.used.apparent > bounds.apparent {
            return Err(Fault::Beyond("apparent", bounds.apparent));
        }
        Ok(())
    }

    fn symlink(&mut self, base: &[u8], meta: Meta, target: &[u8]) -> Parsed<()> {
        self.make(base, "symlinkat", |dir| symlinkat(target, dir, base))?;
        self.settle(base, &meta, 0o777)
    }

    pub(super) fn node(
        &mut self,
        base: &[u8],
        meta: Meta,
        kind: SFlag,
        device: libc::dev_t,
    ) -> Parsed<()> {
        let mode = Mode::from_bits_truncate(meta.mode);
        self.make(base, "mknodat", |dir| {
            mknodat(dir, base, kind, mode, device)
        })?;
        self.settle(base, &meta, meta.mode)?;
        if meta.mode & 0o7000 != 0 || !self.exact_modes {
            let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let fd = openat(self.dirs.top(), base, flags, Mode::empty()).call("openat")?;
            chmod_path_fd(&fd, meta.mode)?;
        }
        Ok(())
    }

    /// Sets owner and times of a file without a descriptor.
    fn settle(&mut self, base: &[u8], meta: &Meta, mode: u32) -> Parsed<()> {
        let attributes = Attributes {
            owner: self.owner(meta.uid, meta.gid, self.dirs.is_foreign()),
            mode: None,
            times: Some(meta.time),
        };
        attributes.settle_at(self.dirs.top(), base)?;
        let path = self.dirs.path_of(base);
        self.defer(path, meta.uid, meta.gid, mode, None)
    }

    /// Makes or takes a directory, and enters it.
    fn directory(&mut self, base: &[u8], meta: Meta) -> Parsed<()> {
        let path = self.dirs.path_of(base);
        let first = (meta.mode & 0o777) | OWNER;
        let create = |dir: BorrowedFd<'_>| mkdirat(dir, base, Mode::from_bits_truncate(first));
        self.whited.wrote(&mut self.dirs, base)?;
        self.pending.no_longer_left_out(|| path.clone());
        let mut made = create(self.dirs.top());
        if made == Err(Errno::EEXIST) {
            let stat = fstatat(self.dirs.top(), base, AtFlags::AT_SYMLINK_NOFOLLOW);
            let mode = stat.call("fstatat")?.st_mode;
            if mode & libc::S_IFMT != libc::S_IFDIR {
                // A file hides the directory of a lower layer.
                self.dirs.hidden.hide(path.clone());
                self.forget(&path);
                super::whiteout::remove(self.dirs.top(), base)?;
                made = create(self.dirs.top());
            }
        }
        let fresh = match made {
            Err(Errno::EEXIST) => false,
            made => made.call("mkdirat").map(|()| true)?,
        };
        // A directory below one with the setgid bit inherits the bit.
        let inherits = self.dirs.is_foreign();
        let exact = fresh && self.exact_modes && !inherits && meta.mode == first;
        let attributes = Attributes {
            owner: self.owner(meta.uid, meta.gid, !fresh || inherits),
            mode: (!exact).then_some(meta.mode),
            times: Some(meta.time),
        };
        self.dirs.listing.list(path.clone(), meta.shown());
        let hides = fresh && self.dirs.hidden.contains(&path);
        if exact && !hides && meta.xattrs.set.is_empty() {
            self.dirs.set_made(base, attributes);
        } else {
            self.dirs.push_listed(base, attributes, fresh)?;
            self.note_unsupported(meta.xattrs.apply(self.dirs.top())?);
            if hides {
                self.dirs.listing.set_opaque(&path);
                self.dirs.set_opaque(self.dirs.top())?;
            }
        }
        self.defer(path, meta.uid, meta.gid, meta.mode, None)
    }
}
