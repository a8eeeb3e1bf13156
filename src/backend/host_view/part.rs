// SPDX-License-Identifier: MIT OR Apache-2.0
//! Parts of a view of the machine: an overlay, a bind, or nothing, each in its
//! place.
#![forbid(unsafe_code)]

use std::ffi::{CStr, CString};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::survey::Survey;
use crate::error::Result;
use crate::ops::{Ops, Slot, c_inside, c_path};
use crate::parts::idmap::Ids;
use crate::parts::mounts::{LOCKED, RDONLY, overlay_at, overlay_flags};
use crate::parts::shown::ShownAs;
use crate::wire::{MAKE_DIR, MAY_BE_GONE, NO_SYMLINKS, OF_MACHINE, OR_SKIP, Op};

/// Overlays that become read-only last, because mount points may be made in
/// them.
const LATE: usize = 128;

/// The place of a directory of the machine in a sandbox, with the place of its
/// writable layers.
#[derive(Debug)]
pub(crate) struct ViewPlace<'a> {
    /// Mount in which the parts are attached; attached itself, unless on the
    /// detached path.
    pub(crate) root: Slot,
    pub(crate) stage: Slot,
    /// Directory of the machine that `root` stands for, without links.
    pub(crate) dir: &'a Path,
    /// The path of `root` inside.
    pub(crate) inside: &'a Path,
    /// Begins the names of upper layers.
    pub(crate) names: &'a str,
    /// Directory for upper layers, if they are not in the stage.
    pub(crate) scratch: Option<&'a Path>,
    /// Attributes of every part.
    pub(crate) attrs: u32,
    /// True if all of it becomes read-only in the end.
    pub(crate) read_only: bool,
}

/// The content of a place.
#[derive(Debug, Default)]
pub(crate) struct Filled {
    /// Mounts that are still writable, if nothing is to be.
    pub(crate) parts: Vec<Slot>,
    /// Mounts and files of the host, and how each is shown.
    pub(crate) shown: Vec<(PathBuf, ShownAs)>,
    /// True if any of it may not answer when it is mounted.
    pub(crate) is_remote: bool,
}

impl Filled {
    /// Adds the content of another place, but for its parts.
    pub(crate) fn add(&mut self, other: Self) {
        self.shown.extend(other.shown);
        self.is_remote |= other.is_remote;
    }
}

/// Mode and owner of a directory of the machine, as the sandbox has them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
}

impl Look {
    /// A directory of user 0, which others may list.
    pub(super) const PLAIN: Self = Self {
        mode: 0o755,
        owner: (0, 0),
    };

    /// Returns the look of a directory in a sandbox with `ids`. Directories of
    /// ids that the sandbox lacks become user 0's, the caller's: overlayfs
    /// copies up no file whose parent has an unknown owner.
    pub(super) fn of(metadata: &Metadata, ids: &Ids) -> Self {
        Self {
            mode: metadata.mode() & 0o7777,
            owner: ids.inside(metadata.uid(), metadata.gid()),
        }
    }
}

/// Makes the parts of one place.
pub(super) struct Parts<'a> {
    pub(super) ops: &'a mut Ops,
    pub(super) survey: &'a Survey<'a>,
    pub(super) place: &'a ViewPlace<'a>,
    count: usize,
    /// Holds the upper layers.
    layers: Slot,
    pub(super) filled: Filled,
}

impl<'a> Parts<'a> {
    /// # Errors
    /// When the path of the place's scratch directory holds a NUL.
    pub(super) fn new(
        ops: &'a mut Ops,
        survey: &'a Survey<'a>,
        place: &'a ViewPlace<'a>,
    ) -> Result<Self> {
        let layers = match place.scratch {
            Some(scratch) => ops.open_dir(&c_path(scratch)?),
            None => place.stage,
        };
        Ok(Self {
            ops,
            survey,
            place,
            count: 0,
            layers,
            filled: Filled::default(),
        })
    }

    /// Returns the content of the place.
    pub(super) fn finish(self) -> Filled {
        if self.place.scratch.is_some() {
            self.ops.close(self.layers);
        }
        self.filled
    }

    /// Makes a directory.
    pub(super) fn make_dir(&mut self, root: Slot, path: &CStr, look: Look) {
        let (uid, gid) = look.owner;
        self.ops.push(Op::MakeDir {
            root: root.number(),
            path,
            mode: look.mode,
            uid,
            gid,
        });
    }

    /// Returns a path of the machine as it is resolved below the place's root.
    pub(super) fn target(&self, path: &Path) -> Result<CString> {
        c_inside(path.strip_prefix(self.place.dir).unwrap_or(path))
    }

    /// Tells how a path of the machine is shown.
    pub(super) fn tell(&mut self, path: &Path, shown: ShownAs) {
        let below = path.strip_prefix(self.place.dir).unwrap_or(path);
        self.filled
            .shown
            .push((self.place.inside.join(below), shown));
    }

    pub(super) fn left_out(&mut self, path: &Path, why: &str) {
        self.tell(path, ShownAs::LeftOut(why.into()));
    }

    /// Returns the flags to attach a part with. Root's parts are skipped if
    /// others have changed the path to a mount of the machine.
    fn how(&self) -> u32 {
        match self.survey.ordinary {
            true => 0,
            false => NO_SYMLINKS | MAY_BE_GONE | OR_SKIP,
        }
    }

    /// Binds a file or directory of the host, read-only.
    pub(super) fn bind(&mut self, path: &Path, make: u32) -> Result<()> {
        self.filled.is_remote |= self.survey.is_remote(path);
        let flags = match self.survey.ordinary {
            true => MAY_BE_GONE,
            false => MAY_BE_GONE | OF_MACHINE,
        };
        let slot = self.ops.bind(-1, &c_path(path)?, flags);
        let flags = make | MAY_BE_GONE | self.how();
        let attrs = self.place.attrs | RDONLY;
        let target = self.target(path)?;
        self.ops
            .attach_with(slot, self.place.root, &target, flags, attrs);
        Ok(())
    }

    /// Copies a file of the host.
    pub(super) fn copy(&mut self, path: &Path) -> Result<()> {
        let target = self.target(path)?;
        self.ops.push(Op::CopyFile {
            root: self.place.root.number(),
            path: &target,
            from: &c_path(path)?,
        });
        Ok(())
    }

    /// Covers a mount point with an empty directory.
    pub(super) fn cover(&mut self, path: &Path) -> Result<()> {
        let stage = self.place.stage.number() as i32;
        let slot = self.ops.bind(stage, c"empty", 0);
        let (target, flags) = (self.target(path)?, self.how());
        self.ops
            .attach_with(slot, self.place.root, &target, flags, LOCKED);
        Ok(())
    }

    /// Makes an overlay over a directory of the host. Without `look` the helper
    /// reads mode and owner from the directory.
    pub(super) fn overlay(&mut self, lower: &Path, look: Option<Look>) -> Result<()> {
        self.filled.is_remote |= self.survey.is_remote(lower);
        self.count += 1;
        let name = format!("{}{}", self.place.names, self.count);
        let [upper, work] = ["u", "w"].map(|tail| PathBuf::from(format!("{name}{tail}")));
        let private = Look {
            mode: 0o700,
            owner: (0, 0),
        };
        self.make_dir(self.layers, &c_path(&upper)?, look.unwrap_or(private));
        self.make_dir(self.layers, &c_path(&work)?, private);
        // Relative to the stage.
        let above = self.place.scratch.unwrap_or(Path::new(""));
        let names = [c_path(&above.join(upper))?, c_path(&above.join(work))?];
        let lowers = [c_path(lower)?].iter().collect();
        let late = self.place.read_only && self.filled.parts.len() < LATE;
        let mut attrs = self.place.attrs | self.survey.attrs(lower, self.place.dir);
        if self.place.read_only && !late {
            attrs |= RDONLY;
        }
        let mut flags = MAY_BE_GONE | overlay_flags(self.survey.ordinary);
        if look.is_none() {
            flags |= OF_MACHINE;
        }
        let dirs = [&*names[0], &*names[1]];
        let slot = overlay_at(self.ops, self.place.stage, lowers, dirs, attrs, flags);
        let (target, how) = (self.target(lower)?, self.how());
        self.ops
            .attach(slot, self.place.root, &target, MAKE_DIR | how);
        match late {
            true => self.filled.parts.push(slot),
            false => self.ops.close(slot),
        }
        Ok(())
    }
}
