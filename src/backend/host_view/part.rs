// SPDX-License-Identifier: MIT OR Apache-2.0
//! Parts of a view of the machine: an overlay, a bind, or nothing, each in its
//! place.
#![forbid(unsafe_code)]

use std::ffi::CString;
use std::fs::{Permissions, create_dir, set_permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::survey::Survey;
use crate::error::{Error, Result, Step};
use crate::ops::{Ops, Slot, c_inside, c_path};
use crate::parts::mounts::{LOCKED, RDONLY, overlay_at, overlay_flags};
use crate::parts::shown::ShownAs;
use crate::wire::{MAKE_DIR, MAY_BE_GONE, NO_SYMLINKS, OF_MACHINE, OR_SKIP};

/// Overlays that become read-only last, because mount points may be made in
/// them.
const LATE: usize = 128;

/// Where a directory of the machine is shown, and what its writable layers are
/// made of.
#[derive(Debug)]
pub(crate) struct ViewPlace<'a> {
    /// Mount in which the parts are attached; attached itself, unless on the
    /// detached path.
    pub(crate) root: Slot,
    pub(crate) stage: Slot,
    /// Directory of the machine that `root` stands for, without links.
    pub(crate) dir: &'a Path,
    /// Where that is inside.
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

/// What a place was filled with.
#[derive(Debug, Default)]
pub(crate) struct Filled {
    /// Mounts that are still writable, if nothing is to be.
    pub(crate) parts: Vec<Slot>,
    /// Mounts and files of the host, and how each is shown.
    pub(crate) shown: Vec<(PathBuf, ShownAs)>,
    /// True if any of it may not answer when it is mounted.
    pub(crate) is_remote: bool,
}

/// Makes the parts of one place.
pub(super) struct Parts<'a> {
    pub(super) ops: &'a mut Ops,
    pub(super) survey: &'a Survey<'a>,
    pub(super) place: &'a ViewPlace<'a>,
    count: usize,
    pub(super) filled: Filled,
}

impl<'a> Parts<'a> {
    pub(super) fn new(ops: &'a mut Ops, survey: &'a Survey<'a>, place: &'a ViewPlace<'a>) -> Self {
        Self {
            ops,
            survey,
            place,
            count: 0,
            filled: Filled::default(),
        }
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

    /// How a part is attached: others may have changed the way to a mount of
    /// the machine.
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

    /// Covers a mount point with an empty directory.
    pub(super) fn cover(&mut self, path: &Path) -> Result<()> {
        let stage = self.place.stage.number() as i32;
        let slot = self.ops.bind(stage, c"empty", 0);
        let (target, flags) = (self.target(path)?, self.how());
        self.ops
            .attach_with(slot, self.place.root, &target, flags, LOCKED);
        Ok(())
    }

    /// Makes an overlay over a directory of the host; without a mode it looks
    /// as that does.
    pub(super) fn overlay(&mut self, lower: &Path, mode: Option<u32>) -> Result<()> {
        self.filled.is_remote |= self.survey.is_remote(lower);
        self.count += 1;
        let name = format!("{}{}", self.place.names, self.count);
        let first = mode.unwrap_or(0o700);
        let names = match self.place.scratch {
            Some(scratch) => {
                let [upper, work] = ["u", "w"].map(|tail| scratch.join(format!("{name}{tail}")));
                make_dirs(&upper, &work, first)
                    .map_err(|e| Error::io(Step::MakeTree, format_args!("{upper:?}"), e))?;
                [c_path(&upper)?, c_path(&work)?]
            }
            None => {
                let names = [
                    c_path(format!("{name}u").as_ref())?,
                    c_path(format!("{name}w").as_ref())?,
                ];
                self.ops.make_dir(self.place.stage, &names[0], first);
                self.ops.make_dir(self.place.stage, &names[1], 0o700);
                names
            }
        };
        let lowers = [c_path(lower)?].iter().collect();
        let late = self.place.read_only && self.filled.parts.len() < LATE;
        let mut attrs = self.place.attrs | self.survey.attrs(lower, self.place.dir);
        if self.place.read_only && !late {
            attrs |= RDONLY;
        }
        let mut flags = MAY_BE_GONE | overlay_flags(self.survey.ordinary);
        if mode.is_none() {
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

/// Makes the upper layer of one directory: with its mode, since that is what
/// will be seen.
fn make_dirs(upper: &Path, work: &Path, mode: u32) -> std::io::Result<()> {
    create_dir(work)?;
    create_dir(upper)?;
    set_permissions(upper, Permissions::from_mode(mode))
}
