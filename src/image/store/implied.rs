// SPDX-License-Identifier: MIT OR Apache-2.0
//! Makes a tree to stack above the layers of an image.
//!
//! The tree holds directories that upper layers only imply, with owner and mode
//! from a lower layer. It also holds directories of a single layer with
//! whiteouts, because overlayfs filters whiteouts only where it merges.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use nix::sys::stat::futimens;
use nix::sys::time::TimeSpec;

use super::Images;
use super::fs::make_dir;
use super::layers::{TREE, write_beside};
use super::sync::FileSystem;
use crate::error::{Error, Result, Step};
use crate::image::digest::Digest;
use crate::image::layer::{Fixup, Ids, Listing, Shown, to_show};

/// File beside a layer's tree with the directories that entries list.
const LISTING: &str = "directories";
/// Number of lower layers that the kernel stacks.
const MOST: usize = 500;
const STEP: Step = Step::StackLayers;

/// Writes the directories that the entries of a new layer list.
pub(super) fn write_listing(staged: &Path, listing: &Listing) -> Result<()> {
    write_beside(staged, LISTING, &listing.to_bytes())
}

/// Returns whether a layer has a listing; version 1 of the format had none.
pub(super) fn has_listing(layer: &Path) -> bool {
    layer.join(LISTING).exists()
}

/// Reads the listing; `None` for a layer of an earlier version.
fn read_listing(tree: &Path) -> Option<Listing> {
    Listing::parse(&fs::read(tree.with_file_name(LISTING)).ok()?)
}

fn is_taken(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
    )
}

impl Images {
    /// Returns the tree to be stacked above these trees, which are held and
    /// sorted bottom first. Returns `None` if the stack is right without it.
    /// overlayfs takes owner and mode of a directory from the topmost layer
    /// that has the directory, listed there or not.
    ///
    /// The tree is made once and goes with the topmost layer.
    pub(in crate::image) fn implied_tree(&self, layers: &[PathBuf]) -> Result<Option<PathBuf>> {
        let [.., top] = layers else {
            return Ok(None);
        };
        if layers.len() >= MOST {
            return Ok(None);
        }
        let names = layers.iter().filter_map(|tree| tree.parent()?.file_name());
        let names: Vec<_> = names.map(OsStr::as_bytes).collect();
        let name = format!("implied.{}", Digest::of(&names.join(&b'\n')).hex());
        let place = top.with_file_name(name);
        if !place.is_dir() {
            self.make_implied(layers, &place)?;
        }
        let tree = place.join(TREE);
        Ok(tree.is_dir().then_some(tree))
    }

    fn make_implied(&self, layers: &[PathBuf], place: &Path) -> Result<()> {
        // A layer without a listing would seem to hide no directory.
        let listings = layers.iter().rev().map(|tree| read_listing(tree));
        let Some(listings) = listings.collect::<Option<Vec<_>>>() else {
            return Ok(());
        };
        let shown = to_show(&listings);
        let wrong = |e| Error::io(STEP, format_args!("{place:?}"), e);
        let scratch = self.scratch()?;
        let staged = scratch.path().join("implied");
        make_dir(&staged, 0o700).map_err(wrong)?;
        if !shown.is_empty() {
            let file_system = FileSystem::of(self.path())?;
            let owners = self.write_tree(&staged.join(TREE), &shown).map_err(wrong)?;
            if let (false, Some(mut chown)) = (owners.is_empty(), self.chown()) {
                let root = File::open(staged.join(TREE)).map_err(wrong)?;
                chown.apply(root.as_fd(), &owners)?;
            }
            // Later opens find the name and trust the content, so sync before
            // the rename.
            file_system.sync()?;
        }
        match fs::rename(&staged, place) {
            // Another process was first; XFS uses the other error.
            Err(e) if is_taken(e.kind()) => Ok(()),
            renamed => renamed.map_err(wrong),
        }
    }

    /// Makes the directories; returns the owners that remain to be set.
    fn write_tree(&self, tree: &Path, shown: &BTreeMap<Vec<u8>, Shown>) -> io::Result<Vec<Fixup>> {
        let at = |path: &[u8]| match path {
            b"" => tree.to_owned(),
            path => tree.join(OsStr::from_bytes(path)),
        };
        for path in shown.keys() {
            make_dir(&at(path), 0o700)?;
        }
        let mut owners = Vec::new();
        // Children first: the mode of a parent may shut the caller out.
        for (path, shown) in shown.iter().rev() {
            let place = at(path);
            let Shown {
                mode,
                uid,
                gid,
                mtime,
            } = *shown;
            match self.0.ids {
                Ids::Root => chown(&place, Some(uid), Some(gid))?,
                Ids::Deferred if self.0.gives_away => chown(&place, Some(uid), Some(gid))?,
                Ids::Deferred if (uid, gid) != (0, 0) => {
                    let name = if path.is_empty() { &b"."[..] } else { path };
                    owners.push(Fixup {
                        path: CString::new(name).map_err(io::Error::other)?,
                        uid,
                        gid,
                        mode,
                        capability: None,
                    });
                }
                Ids::Deferred | Ids::Single => {}
            }
            let opened = File::open(&place)?;
            opened.set_permissions(Permissions::from_mode(mode))?;
            let time = TimeSpec::new(mtime.seconds, mtime.nanoseconds.into());
            futimens(&opened, &time, &time)?;
        }
        Ok(owners)
    }
}
