// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host's own `/` for ordinary users: an overlay for each top-level directory.
//!
//! The kernel refuses `/` itself as a lower layer in a user namespace, since what is mounted
//! below it is locked there, mount_namespaces(7). A directory below which nothing is mounted
//! is taken whole; one with mounts below it is taken apart: its files are copied, its sockets bound.
//! See `docs/design.md`, "What does an ordinary user see of the machine?".
//!
//! The kernel copies up only what belongs to ids that are mapped here (EOVERFLOW otherwise): a
//! top-level directory takes new files, one further down that belongs to another user does not.
//!
//! With `write: disk` each overlay's upper layer is on disk; `/` itself, and what was taken apart,
//! is a tmpfs in any case.
#![forbid(unsafe_code)]

mod class;
mod trial;

use std::collections::{BTreeSet, HashMap};
use std::fs::{DirEntry, Permissions, create_dir, read_dir, set_permissions, symlink_metadata};
use std::ops::Bound;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use crate::error::{Error, Kind, Result};
use crate::parts::mounts::{RDONLY, options, overlay_at, push_size};
use crate::parts::ops::{Ops, Slot, c_inside, c_path};
use crate::parts::shown::ShownAs;
use crate::spawner::Spawner;
use crate::spec::{ByteSize, Write};
use crate::sys::mountinfo::Mounts;
use crate::tree::{Backend, Mounted, Request};
use crate::wire::{MAKE_DIR, MAKE_FILE, MAY_BE_GONE, Op, USERXATTR};

use class::Class;

/// Made anew in every sandbox, so not taken from the host.
const OWN: [&str; 3] = ["/proc", "/sys", "/dev"];

/// An overlay of a user namespace, over what others may remove at any time.
const FLAGS: u32 = USERXATTR | MAY_BE_GONE;

/// Works for ordinary users from 5.11 on.
pub(crate) struct HostView;

impl Backend for HostView {
    fn name(&self) -> &'static str {
        "overlay"
    }

    fn is_portable(&self) -> bool {
        false
    }

    fn on_disk(&self, write: Write) -> bool {
        write == Write::Disk
    }

    fn prepare(&self, _request: &Request<'_>) -> Result<()> {
        Ok(())
    }

    fn mount_detached(&self, _ops: &mut Ops, _stage: Slot, _request: &Request<'_>) -> Result<Slot> {
        Err(Error::new(
            Kind::Unsupported,
            "mount tree",
            "an ordinary user's view of the host exists only in a sandbox",
        ))
    }

    fn mount(&self, ops: &mut Ops, stage: Slot, request: &Request<'_>) -> Result<Mounted> {
        let mut list = options([c"mode", c"755"]);
        if let Some(size) = request.size {
            push_size(&mut list, size);
        }
        let root = ops.new_fs(c"tmpfs", &list, 0);
        // Attached first: what is mounted in it can only be attached to it then.
        ops.push(Op::AttachRoot {
            from: root.number(),
        });
        let file = "/proc/self/mountinfo";
        let (mounts, table) = Mounts::read().map_err(|e| Error::io("list mounts", file, e))?;
        let verdicts = request.spawner.verdicts.lock();
        verdicts
            .unwrap_or_else(PoisonError::into_inner)
            .follow(table);
        let visible = mounts.visible();
        let points = visible.iter().map(|mount| mount.point.clone()).collect();
        let mut view = View {
            ops,
            stage,
            root,
            spawner: request.spawner,
            mounts: &mounts,
            points,
            count: 0,
            scratch: self.on_disk(request.write).then_some(&request.scratch),
            read_only: request.write == Write::None,
            parts: Vec::new(),
            files: Vec::new(),
            shown: Vec::new(),
        };
        view.take_apart(Path::new("/"))?;
        view.copy_files(request.size)?;
        Ok(Mounted {
            root,
            parts: view.parts,
            shown: view.shown,
        })
    }
}

/// Copies of files beside mounts: at most so many, and so many bytes in all.
const COPIES: usize = 4096;
const COPIED_BYTES: u64 = 64 << 20;
/// Files that are bound where they were not copied; others are left out.
const BOUND: usize = 1024;
/// Overlays that become read-only last, because mount points may be made in them.
const LATE: usize = 128;

struct View<'a> {
    ops: &'a mut Ops,
    stage: Slot,
    root: Slot,
    spawner: &'a Spawner,
    mounts: &'a Mounts,
    /// Visible mount points.
    points: BTreeSet<PathBuf>,
    count: usize,
    /// Where upper layers are, if not in the stage.
    scratch: Option<&'a PathBuf>,
    read_only: bool,
    /// What is to become read-only in the end.
    parts: Vec<Slot>,
    /// Files beside mounts.
    files: Vec<(u64, PathBuf)>,
    shown: Vec<(PathBuf, ShownAs)>,
}

impl View<'_> {
    /// Makes each entry of a directory on its own.
    fn take_apart(&mut self, dir: &Path) -> Result<()> {
        let wrong = |e| Error::io("list host directory", format_args!("{dir:?}"), e);
        let entries: std::io::Result<Vec<DirEntry>> = read_dir(dir).map_err(wrong)?.collect();
        for entry in entries.map_err(wrong)? {
            let path = entry.path();
            if OWN.iter().any(|own| path == Path::new(own)) {
                continue;
            }
            match self.points.contains(&path) {
                true => self.mount_point(&path, &entry)?,
                false => self.entry(&entry)?,
            }
        }
        Ok(())
    }

    /// Makes one entry on which something is mounted.
    fn mount_point(&mut self, path: &Path, entry: &DirEntry) -> Result<()> {
        let Some(mount) = self.mounts.showing(path) else {
            return Ok(());
        };
        let kind = Class::of(mount);
        // Of what lies below: d_type of getdents64(2) asks no file system that is mounted.
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        match kind {
            Class::Pseudo | Class::Container if is_dir => self.empty(path),
            Class::Trigger => {
                self.empty(path)?;
                self.mounted_by_trigger(path)
            }
            Class::Pseudo | Class::Container => Ok(()),
            Class::Local | Class::Refusable if !is_dir => self.entry(entry),
            Class::Remote if !is_dir => {
                self.left_out(path, "a file of a file system that may not answer");
                Ok(())
            }
            Class::Local | Class::Refusable if self.has_mounts_below(path) => {
                self.shown.push((path.into(), ShownAs::Cow));
                self.directory(path, || entry.metadata().map(|m| m.mode()))
            }
            Class::Remote if self.has_mounts_below(path) => {
                self.left_out(path, "others are mounted below it");
                self.empty(path)
            }
            Class::Remote => self.whole(path, || Ok(0o755)),
            Class::Local | Class::Refusable => {
                self.whole(path, || symlink_metadata(path).map(|m| m.mode()))
            }
        }
    }

    /// Makes what a trigger has mounted so far.
    fn mounted_by_trigger(&mut self, trigger: &Path) -> Result<()> {
        let below: Vec<PathBuf> = self.below(trigger).cloned().collect();
        for path in &below {
            let Some(mount) = self.mounts.showing(path) else {
                continue;
            };
            let kind = Class::of(mount);
            if matches!(kind, Class::Local | Class::Refusable | Class::Remote)
                && !self.has_mounts_below(path)
            {
                self.whole(path, || Ok(0o755))?;
            }
        }
        Ok(())
    }

    /// Visible mount points below a directory.
    fn below<'s>(&'s self, path: &'s Path) -> impl Iterator<Item = &'s PathBuf> {
        let from = (Bound::Excluded(path), Bound::Unbounded);
        let after = self.points.range::<Path, _>(from);
        after.take_while(move |point| point.starts_with(path))
    }

    fn has_mounts_below(&self, path: &Path) -> bool {
        self.below(path).next().is_some()
    }

    fn left_out(&mut self, path: &Path, why: &str) {
        self.shown.push((path.into(), ShownAs::LeftOut(why.into())));
    }

    /// Makes an empty directory.
    fn empty(&mut self, path: &Path) -> Result<()> {
        self.ops.make_dir(self.root, &c_inside(path)?, 0o755);
        Ok(())
    }

    /// Makes one entry; what was removed since it was listed is left out.
    fn entry(&mut self, entry: &DirEntry) -> Result<()> {
        let path = entry.path();
        let Some(kind) = unless_gone(&path, entry.file_type())? else {
            return Ok(());
        };
        let mode = || entry.metadata().map(|m| m.mode());
        if kind.is_dir() {
            return match self.has_mounts_below(&path) {
                true => self.directory(&path, mode),
                false => self.whole(&path, mode),
            };
        }
        let inside = c_inside(&path)?;
        let root = self.root.number();
        if kind.is_symlink() {
            let Some(target) = unless_gone(&path, std::fs::read_link(&path))? else {
                return Ok(());
            };
            let target = c_path(&target)?;
            self.ops.push(Op::MakeLink {
                root,
                path: &inside,
                target: &target,
            });
        } else if kind.is_file() {
            if let Some(metadata) = unless_gone(&path, entry.metadata())? {
                self.files.push((metadata.len(), path));
            }
        } else if kind.is_socket() {
            self.bind(&path, MAKE_FILE)?;
        } else if kind.is_fifo() {
            let Some(mode) = unless_gone(&path, mode())? else {
                return Ok(());
            };
            self.ops.push(Op::MakeNode {
                root,
                path: &inside,
                mode: libc::S_IFIFO | mode & 0o777,
                device: 0,
            });
        }
        Ok(())
    }

    /// Makes a directory with mounts below it, entry by entry.
    fn directory(
        &mut self,
        path: &Path,
        mode: impl FnOnce() -> std::io::Result<u32>,
    ) -> Result<()> {
        let Some(mode) = unless_gone(path, mode())? else {
            return Ok(());
        };
        self.ops
            .make_dir(self.root, &c_inside(path)?, mode & 0o7777);
        // What may not be listed is left empty, as it would look from inside.
        let _ = self.take_apart(path);
        Ok(())
    }

    /// Makes a directory without mounts below it.
    fn whole(&mut self, path: &Path, mode: impl FnOnce() -> std::io::Result<u32>) -> Result<()> {
        let shown = self.verdict(path)?;
        let Some(mode) = unless_gone(path, mode())? else {
            return Ok(());
        };
        match &shown {
            ShownAs::Cow => self.overlay(path, mode & 0o7777)?,
            ShownAs::ReadOnly => self.bind(path, MAKE_DIR)?,
            ShownAs::LeftOut(_) => self.empty(path)?,
        }
        if shown != ShownAs::Cow || self.points.contains(path) {
            self.shown.push((path.into(), shown));
        }
        Ok(())
    }

    /// Returns how a directory can be shown, from what is mounted there; tries it
    /// where that does not tell.
    fn verdict(&self, path: &Path) -> Result<ShownAs> {
        let Some(mount) = self.mounts.showing(path) else {
            return Ok(ShownAs::Cow);
        };
        let kind = Class::of(mount);
        // Without the root's own file system there is no view.
        if kind == Class::Local || mount.point == Path::new("/") {
            return Ok(ShownAs::Cow);
        }
        let lock = || {
            let verdicts = self.spawner.verdicts.lock();
            verdicts.unwrap_or_else(PoisonError::into_inner)
        };
        if let Some(known) = lock().get(mount.id) {
            return Ok(known.clone());
        }
        let found = trial::of(self.spawner, path)?;
        // What answers now may be dead at the next open.
        if kind != Class::Remote || matches!(found, ShownAs::LeftOut(_)) {
            lock().insert(mount.id, &found);
        }
        Ok(found)
    }

    /// Binds a file or directory of the host, read-only.
    fn bind(&mut self, path: &Path, make: u32) -> Result<()> {
        let slot = self.ops.slot();
        self.ops.push(Op::CloneTree {
            into: slot.number(),
            base: -1,
            path: &c_path(path)?,
            flags: MAY_BE_GONE,
        });
        self.ops
            .attach(slot, self.root, &c_inside(path)?, make | MAY_BE_GONE);
        self.ops.set_attr(slot, RDONLY, false);
        self.ops.close(slot);
        Ok(())
    }

    /// Makes an overlay over a directory of the host.
    fn overlay(&mut self, lower: &Path, mode: u32) -> Result<()> {
        self.count += 1;
        let name = format!("h{}", self.count);
        let names = match self.scratch {
            Some(scratch) => {
                let [upper, work] = ["u", "w"].map(|tail| scratch.join(format!("{name}{tail}")));
                make_dirs(&upper, &work, mode)
                    .map_err(|e| Error::io("make tree", format_args!("{upper:?}"), e))?;
                [c_path(&upper)?, c_path(&work)?]
            }
            None => {
                let names = [
                    c_path(format!("{name}u").as_ref())?,
                    c_path(format!("{name}w").as_ref())?,
                ];
                self.ops.make_dir(self.stage, &names[0], mode);
                self.ops.make_dir(self.stage, &names[1], 0o700);
                names
            }
        };
        let lowers = [c_path(lower)?].iter().collect();
        let late = self.read_only && self.parts.len() < LATE;
        let attrs = if self.read_only && !late { RDONLY } else { 0 };
        let dirs = [&*names[0], &*names[1]];
        let slot = overlay_at(self.ops, self.stage, lowers, dirs, attrs, FLAGS);
        self.ops
            .attach(slot, self.root, &c_inside(lower)?, MAKE_DIR);
        match late {
            true => self.parts.push(slot),
            false => self.ops.close(slot),
        }
        Ok(())
    }

    /// Copies files beside mounts, so that they can be written, renamed and removed;
    /// binds the others.
    fn copy_files(&mut self, size: Option<ByteSize>) -> Result<()> {
        // A small writable layer is not for copies alone.
        let most = size.map_or(COPIED_BYTES, |size| COPIED_BYTES.min(size.bytes() / 4));
        let (mut copies, mut bytes, mut bound) = (0, 0, 0);
        for (size, path) in in_turn(std::mem::take(&mut self.files)) {
            if copies < COPIES && size <= most - bytes {
                (copies, bytes) = (copies + 1, bytes + size);
                self.ops.push(Op::CopyFile {
                    root: self.root.number(),
                    path: &c_inside(&path)?,
                    from: &c_path(&path)?,
                });
            } else if bound < BOUND {
                bound += 1;
                self.bind(&path, MAKE_FILE)?;
                self.shown.push((path, ShownAs::ReadOnly));
            } else {
                self.left_out(&path, "too many files beside a mount");
            }
        }
        Ok(())
    }
}

/// Orders files so that each directory's smallest comes first, then each one's next:
/// a directory of very many leaves room for those of the others.
fn in_turn(mut files: Vec<(u64, PathBuf)>) -> Vec<(u64, PathBuf)> {
    files.sort();
    let mut turns: HashMap<PathBuf, usize> = HashMap::new();
    let each = files.into_iter().map(|(size, path)| {
        let turn = turns
            .entry(path.parent().unwrap_or(&path).into())
            .or_default();
        *turn += 1;
        (*turn, size, path)
    });
    let mut all: Vec<_> = each.collect();
    all.sort();
    all.into_iter()
        .map(|(_, size, path)| (size, path))
        .collect()
}

/// What was read of a host's entry; nothing if there is no such entry any more.
fn unless_gone<T>(path: &Path, read: std::io::Result<T>) -> Result<Option<T>> {
    match read {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        other => other
            .map(Some)
            .map_err(|e| Error::io("read host entry", format_args!("{path:?}"), e)),
    }
}

/// Makes the upper layer of one directory: with its mode, since that is what will be seen.
fn make_dirs(upper: &Path, work: &Path, mode: u32) -> std::io::Result<()> {
    create_dir(work)?;
    create_dir(upper)?;
    set_permissions(upper, Permissions::from_mode(mode))
}
