// SPDX-License-Identifier: MIT OR Apache-2.0
//! Plans the caller's mounts: binds, copy-on-write views of directories, and
//! tmpfs.
#![forbid(unsafe_code)]

use std::ffi::CString;
use std::path::{Path, PathBuf};

use nix::sys::stat::stat;

use super::inputs::Inputs;
use crate::backend::{Filled, Survey, ViewPlace, fill_directory, tmpfs};
use crate::error::{Error, Kind, Result, Step};
use crate::ops::{Ops, Slot, c_inside, c_path};
use crate::parts::mounts::{NODEV, NOSUID, overlay};
use crate::spec::{Mount, MountKind, Tmpfs};
use crate::wire::{MAKE_DIR, MAKE_FILE, NOT_IN_KERNEL_FS};

/// Makes the caller's mounts, in order.
pub(super) struct Callers<'a> {
    inputs: &'a Inputs<'a>,
    stage: Slot,
    ordinary: bool,
    /// The machine's mounts, once a view asked for them.
    survey: Option<Survey<'a>>,
    /// The content of copy-on-write views.
    filled: Filled,
}

/// A mount that is made and not attached yet.
#[derive(Debug)]
pub(super) struct Placed {
    /// The number of the mount in the spec.
    n: usize,
    slot: Slot,
    target: CString,
    /// Flags of [`crate::wire::Op::Attach`].
    flags: u32,
    /// Attributes for the mount and all mounts below.
    attrs: u32,
    /// A directory of the machine, if the mounts below it are to be shown.
    dir: Option<PathBuf>,
}

impl<'a> Callers<'a> {
    /// Writes to a copy-on-write view go to `stage`.
    pub(super) fn new(inputs: &'a Inputs<'a>, stage: Slot, ordinary: bool) -> Self {
        Self {
            inputs,
            stage,
            ordinary,
            survey: None,
            filled: Filled::default(),
        }
    }

    /// Makes each mount and attaches it inside.
    pub(super) fn attached(&mut self, ops: &mut Ops, root: Slot) -> Result<()> {
        for (n, mount) in self.inputs.spec.mounts.iter().enumerate() {
            let mut placed = self.placed(ops, n, mount)?;
            // KERNEL(6.15): before, only an attached mount takes mounts inside.
            placed.attach(ops, root);
            self.fill(ops, &mut placed)?;
            // A spec may have more mounts than there are slots.
            ops.close(placed.slot);
        }
        Ok(())
    }

    /// Makes root's own mounts, whole, before any is attached.
    pub(super) fn ahead(&mut self, ops: &mut Ops) -> Result<Vec<Placed>> {
        let each = self.inputs.spec.mounts.iter().enumerate();
        each.map(|(n, mount)| {
            let mut placed = self.placed(ops, n, mount)?;
            self.fill(ops, &mut placed)?;
            Ok(placed)
        })
        .collect()
    }

    /// Adds the content of the views to that of the root.
    pub(super) fn tell(self, filled: &mut Filled) {
        filled.add(self.filled);
    }

    fn placed(&mut self, ops: &mut Ops, n: usize, mount: &Mount) -> Result<Placed> {
        let target = c_inside(&mount.target)?;
        let asked = mount.attrs.bits();
        let mut dir = None;
        let (slot, flags, attrs) = match &mount.kind {
            MountKind::Bind(source) => {
                let (source, make) = existing(source)?;
                // Device files of the host must not open inside.
                (ops.clone_tree(&source, true), make, NODEV | asked)
            }
            MountKind::Cow(source) => {
                let (slot, below) = self.cow(ops, n, source, asked)?;
                dir = below;
                (slot, MAKE_DIR, 0)
            }
            MountKind::Tmpfs(Tmpfs { size, mode }) => (
                tmpfs(ops, *mode, *size, NOSUID | NODEV | asked),
                MAKE_DIR,
                0,
            ),
        };
        Ok(Placed {
            n,
            slot,
            target,
            flags,
            attrs,
            dir,
        })
    }

    /// Makes a copy-on-write view. Returns the directory as well, if the
    /// machine has mounts below it.
    fn cow(
        &mut self,
        ops: &mut Ops,
        n: usize,
        source: &Path,
        asked: u32,
    ) -> Result<(Slot, Option<PathBuf>)> {
        let (path, make) = existing(source)?;
        if make != MAKE_DIR {
            let why = format_args!("{path:?} is not a directory");
            let error = Error::new(Kind::Invalid, Step::MountCow, why);
            return Err(error.with_cure("a bind, or its directory"));
        }
        let dir = std::fs::canonicalize(source)
            .map_err(|e| Error::io(Step::Mount, format_args!("source {source:?}"), e))?;
        let (stage, ordinary, size) = (self.stage, self.ordinary, self.inputs.tree.size);
        let survey = self.survey()?;
        let below = survey.has_mounts_below(&dir);
        let attrs = NODEV | survey.attrs(&dir, &dir);
        let flags = survey.overlay_flags();
        if below && ordinary {
            // The kernel locks the mounts below in a user namespace, so an
            // overlay of the directory is refused: its entries are shown one by
            // one.
            let mode = stat(&dir).map_or(0o755, |stat| stat.st_mode & 0o7777);
            return Ok((tmpfs(ops, mode, size, attrs), Some(dir)));
        }
        let lowers = [c_path(&dir)?].iter().collect();
        let name = format!("c{n}");
        let slot = overlay(ops, stage, &name, lowers, attrs | asked, flags);
        Ok((slot, below.then_some(dir)))
    }

    fn survey(&mut self) -> Result<&Survey<'a>> {
        // Most specs have no such view, and the table of mounts may be long.
        if self.survey.is_none() {
            self.survey = Some(Survey::new(self.inputs.tree, self.ordinary)?);
        }
        Ok(self.survey.as_ref().expect("it was made above"))
    }

    /// Shows the mounts below a directory.
    fn fill(&mut self, ops: &mut Ops, placed: &mut Placed) -> Result<()> {
        let Some(dir) = placed.dir.take() else {
            return Ok(());
        };
        let mount = &self.inputs.spec.mounts[placed.n];
        let asked = mount.attrs.bits();
        let (stage, size) = (self.stage, self.inputs.tree.size);
        let place = ViewPlace {
            root: placed.slot,
            stage,
            dir: &dir,
            inside: &mount.target,
            names: &format!("c{}h", placed.n),
            scratch: None,
            attrs: NODEV | asked,
            read_only: false,
        };
        let filled = fill_directory(ops, self.survey()?, &place, size)?;
        self.filled.add(filled);
        if self.ordinary && asked != 0 {
            // Not earlier, because mount points are made inside, and the view
            // may become read-only.
            ops.set_attr(placed.slot, asked, false);
        }
        Ok(())
    }
}

impl Placed {
    /// Attaches the mount inside.
    fn attach(&self, ops: &mut Ops, root: Slot) {
        ops.attach(self.slot, root, &self.target, self.flags | NOT_IN_KERNEL_FS);
        if self.attrs != 0 {
            // KERNEL(5.12): before, only an attached mount can be changed.
            ops.set_attr(self.slot, self.attrs, true);
        }
    }

    /// Attaches the mount inside, and frees the slot.
    pub(super) fn attach_whole(self, ops: &mut Ops, root: Slot) {
        self.attach(ops, root);
        ops.close(self.slot);
    }
}

/// Returns a source on the host as an absolute path, and the flag that makes
/// its target: a directory or a file.
fn existing(source: &Path) -> Result<(CString, u32)> {
    // The init resolves the path, and may have another working directory.
    let path = std::path::absolute(source)
        .map_err(|e| Error::io(Step::Mount, format_args!("source {source:?}"), e))?;
    let stat =
        stat(&path).map_err(|e| Error::os(Step::Mount, format_args!("source {path:?}"), e))?;
    let make = match stat.st_mode & libc::S_IFMT {
        libc::S_IFDIR => MAKE_DIR,
        _ => MAKE_FILE,
    };
    Ok((c_path(&path)?, make))
}
