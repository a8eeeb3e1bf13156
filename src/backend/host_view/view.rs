// SPDX-License-Identifier: MIT OR Apache-2.0
//! An ordinary user's view: a directory taken apart, because overlayfs refuses
//! one with mounts below it there.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fs::{DirEntry, read_dir, symlink_metadata};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access, getegid, geteuid};

use super::class::Class;
use super::copies::Budget;
use super::part::{Filled, Look, Parts, ViewPlace};
use super::survey::{Survey, is_own};
use crate::error::{Error, Result, Step};
use crate::ops::{Ops, c_path};
use crate::parts::shown::ShownAs;
use crate::spec::ByteSize;
use crate::sys::mountinfo::Mount;
use crate::wire::{MAKE_DIR, MAKE_FILE, Op};

/// Appends the operations that show a directory of the machine in an empty
/// tmpfs. The caller's `own` directories become writable.
///
/// # Errors
/// When the directory cannot be listed, or a writable layer cannot be made.
pub(super) fn fill(
    ops: &mut Ops,
    survey: &Survey<'_>,
    place: &ViewPlace<'_>,
    size: Option<ByteSize>,
    own: &[PathBuf],
) -> Result<Filled> {
    let mut view = View {
        parts: Parts::new(ops, survey, place)?,
        files: Vec::new(),
        own: Vec::new(),
    };
    view.take_apart(place.dir)?;
    for dir in own {
        view.own_directory(dir)?;
    }
    view.copy_files(size)?;
    Ok(view.parts.finish())
}

/// A directory of the host, taken apart into a tmpfs.
struct View<'a> {
    parts: Parts<'a>,
    /// Files beside mounts.
    files: Vec<(u64, PathBuf)>,
    /// Directories of the caller with overlays of their own.
    own: Vec<PathBuf>,
}

impl View<'_> {
    /// Makes each entry of a directory on its own.
    fn take_apart(&mut self, dir: &Path) -> Result<()> {
        let wrong = |e| Error::io(Step::ListHostDirectory, format_args!("{dir:?}"), e);
        let entries: std::io::Result<Vec<DirEntry>> = read_dir(dir).map_err(wrong)?.collect();
        for entry in entries.map_err(wrong)? {
            let path = entry.path();
            if is_own(&path, self.parts.place.dir) {
                continue;
            }
            match self.parts.survey.mounts.at(&path) {
                Some(mount) => self.mount_point(mount, &entry)?,
                None => self.entry(&entry)?,
            }
        }
        Ok(())
    }

    /// Makes an entry that is a mount point.
    fn mount_point(&mut self, mount: &Mount, entry: &DirEntry) -> Result<()> {
        let path = mount.point.as_path();
        let ids = self.parts.survey.ids();
        let kind = Class::of(mount);
        // The type of the covered entry: d_type of getdents64(2) does not ask
        // the mounted file system, which may not answer.
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
                self.parts
                    .left_out(path, "a file of a file system that may not answer");
                Ok(())
            }
            Class::Local | Class::Refusable if self.parts.survey.has_mounts_below(path) => {
                self.parts.tell(path, ShownAs::Cow);
                self.directory(path, || entry.metadata().map(|m| Look::of(&m, ids)))
            }
            Class::Remote if self.parts.survey.has_mounts_below(path) => {
                self.parts.left_out(path, "others are mounted below it");
                self.empty(path)
            }
            Class::Remote => self.whole(path, || Ok(Look::PLAIN)),
            Class::Local | Class::Refusable => {
                self.whole(path, || symlink_metadata(path).map(|m| Look::of(&m, ids)))
            }
        }
    }

    /// Makes the mounts that a trigger has mounted so far.
    fn mounted_by_trigger(&mut self, trigger: &Path) -> Result<()> {
        let survey = self.parts.survey;
        for mount in survey.mounts.below(trigger) {
            let kind = Class::of(mount);
            if matches!(kind, Class::Local | Class::Refusable | Class::Remote)
                && !survey.has_mounts_below(&mount.point)
            {
                self.whole(&mount.point, || Ok(Look::PLAIN))?;
            }
        }
        Ok(())
    }

    /// Makes an empty directory.
    fn empty(&mut self, path: &Path) -> Result<()> {
        let target = self.parts.target(path)?;
        let root = self.parts.place.root;
        self.parts.make_dir(root, &target, Look::PLAIN);
        Ok(())
    }

    /// Makes an entry; leaves out entries that were removed since the listing.
    fn entry(&mut self, entry: &DirEntry) -> Result<()> {
        let path = entry.path();
        let Some(kind) = unless_gone(&path, entry.file_type())? else {
            return Ok(());
        };
        if kind.is_dir() {
            let ids = self.parts.survey.ids();
            let look = || entry.metadata().map(|m| Look::of(&m, ids));
            return match self.parts.survey.has_mounts_below(&path) {
                true => self.directory(&path, look),
                false => self.whole(&path, look),
            };
        }
        let inside = self.parts.target(&path)?;
        let root = self.parts.place.root.number();
        if kind.is_symlink() {
            let Some(target) = unless_gone(&path, std::fs::read_link(&path))? else {
                return Ok(());
            };
            let target = c_path(&target)?;
            self.parts.ops.push(Op::MakeLink {
                root,
                path: &inside,
                target: &target,
            });
        } else if kind.is_file() {
            if let Some(metadata) = unless_gone(&path, entry.metadata())? {
                self.files.push((metadata.len(), path));
            }
        } else if kind.is_socket() {
            self.parts.bind(&path, MAKE_FILE)?;
        } else if kind.is_fifo() {
            let Some(metadata) = unless_gone(&path, entry.metadata())? else {
                return Ok(());
            };
            self.parts.ops.push(Op::MakeNode {
                root,
                path: &inside,
                mode: libc::S_IFIFO | metadata.mode() & 0o777,
                device: 0,
            });
        }
        Ok(())
    }

    /// Makes a directory with mounts below it, entry by entry.
    fn directory(
        &mut self,
        path: &Path,
        look: impl FnOnce() -> std::io::Result<Look>,
    ) -> Result<()> {
        let Some(look) = unless_gone(path, look())? else {
            return Ok(());
        };
        let target = self.parts.target(path)?;
        let root = self.parts.place.root;
        self.parts.make_dir(root, &target, look);
        // A directory that the caller may not list stays empty, as it would
        // look from inside.
        let _ = self.take_apart(path);
        Ok(())
    }

    /// Makes a directory without mounts below it.
    fn whole(&mut self, path: &Path, look: impl FnOnce() -> std::io::Result<Look>) -> Result<()> {
        let shown = self.parts.survey.verdict(path)?;
        let Some(look) = unless_gone(path, look())? else {
            return Ok(());
        };
        match &shown {
            ShownAs::Cow => self.parts.overlay(path, Some(look))?,
            ShownAs::ReadOnly => self.parts.bind(path, MAKE_DIR)?,
            ShownAs::LeftOut(_) => self.empty(path)?,
        }
        if shown != ShownAs::Cow || self.parts.survey.mounts.at(path).is_some() {
            self.parts.tell(path, shown);
        }
        Ok(())
    }

    /// Gives a directory of the caller an overlay of its own, if no file could
    /// be written there otherwise: the kernel copies up no file whose parent
    /// belongs to an id that is not mapped here (EOVERFLOW).
    fn own_directory(&mut self, dir: &Path) -> Result<()> {
        let survey = self.parts.survey;
        let is_local = |path: &Path| {
            let mount = survey.mounts.showing(path);
            mount.is_some_and(|mount| Class::of(mount) == Class::Local)
        };
        // A file system that may not answer is not asked for links.
        if !dir.is_absolute() || is_own(dir, self.parts.place.dir) || !is_local(dir) {
            return Ok(());
        }
        let Some(dir) = dir.canonicalize().ok().filter(|dir| is_local(dir)) else {
            return Ok(());
        };
        if self.own.iter().any(|own| dir.starts_with(own)) {
            return Ok(());
        }
        let mut above: Vec<&Path> = dir.ancestors().collect();
        above.reverse();
        // The first directory that is taken whole has an overlay; its own upper
        // directory is the caller's.
        let mut whole = above
            .into_iter()
            .skip_while(|path| *path == self.parts.place.dir || survey.has_mounts_below(path));
        whole.next();
        let mut is_reached = true;
        for path in whole {
            let Some(metadata) = unless_gone(path, symlink_metadata(path))? else {
                return Ok(());
            };
            let is_callers = metadata.uid() == geteuid().as_raw();
            if is_callers && !is_reached {
                self.own.push(path.into());
                let look = Look::of(&metadata, survey.ids());
                return self.parts.overlay(path, Some(look));
            }
            is_reached &= is_callers && metadata.gid() == getegid().as_raw();
        }
        Ok(())
    }

    /// Copies files beside mounts, so that they can be written, renamed and
    /// removed; binds the others.
    fn copy_files(&mut self, size: Option<ByteSize>) -> Result<()> {
        let mut budget = Budget::new(size);
        for (size, path) in in_turn(std::mem::take(&mut self.files)) {
            // The helper can read no more than this process.
            if access(&path, AccessFlags::R_OK).is_ok() && budget.copy(size) {
                self.parts.copy(&path)?;
            } else if budget.bind() {
                self.parts.bind(&path, MAKE_FILE)?;
                self.parts.tell(&path, ShownAs::ReadOnly);
            } else {
                self.parts.left_out(&path, "too many files beside a mount");
            }
        }
        Ok(())
    }
}

/// Orders files so that the smallest of each directory comes first, then the
/// second smallest of each. A directory of very many files leaves room for the
/// other directories.
fn in_turn(mut files: Vec<(u64, PathBuf)>) -> Vec<(u64, PathBuf)> {
    files.sort();
    let mut turns: HashMap<PathBuf, usize> = HashMap::new();
    let each = files.into_iter().map(|(size, path)| {
        let dir = path.parent().unwrap_or(&path);
        let turn = turns.entry(dir.into()).or_default();
        *turn += 1;
        (*turn, size, path)
    });
    let mut all: Vec<_> = each.collect();
    all.sort();
    all.into_iter()
        .map(|(_, size, path)| (size, path))
        .collect()
}

/// Returns the value that was read of a host's entry; `None` if the entry is
/// gone.
fn unless_gone<T>(path: &Path, read: std::io::Result<T>) -> Result<Option<T>> {
    match read {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        other => other
            .map(Some)
            .map_err(|e| Error::io(Step::ReadHostEntry, format_args!("{path:?}"), e)),
    }
}
