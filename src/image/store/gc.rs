// SPDX-License-Identifier: MIT OR Apache-2.0
//! Removes images, and then all files that no image needs.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

use serde_json::Value;

use super::Images;
use super::fs::names;
use super::index::Writable;
use super::lock::Lock;
use super::lookup::not_found;
use super::parts::AGAIN;
use super::scratch::Scratch;
use super::sync;
use crate::error::{Error, Kind, Result, Step};
use crate::image::oci::{Descriptor, Index, Manifest};
use crate::image::{Digest, Reference, config, source};
use crate::sys::flock::Operation;

/// Result of a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Collected {
    /// Blobs removed.
    pub blobs: usize,
    /// Bytes of these blobs.
    pub bytes: u64,
    /// Unpacked layers removed.
    pub layers: usize,
    /// Unpacked layers in use that no image of the store needs, and all layers
    /// of mounts.
    pub in_use: usize,
}

/// Blobs and layers that the images of the index need.
#[derive(Default)]
struct Needed {
    blobs: HashSet<Digest>,
    diff_ids: HashSet<Digest>,
}

impl Images {
    /// Removes a name, or with a digest the whole image, and then unneeded
    /// blobs and layers. Layers in use stay until a later collection.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if the store has no such image.
    pub fn remove(&self, reference: &Reference) -> Result<Collected> {
        let mut index = self.writable_index()?;
        if index.remove(reference)? == 0 {
            return Err(not_found(reference, &index.index.manifests, None));
        }
        index.complete()?;
        let collected = self.collect(&index);
        index.reserve();
        collected
    }

    /// Removes blobs and layers that no image needs and no process uses.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if the documents of an image are damaged. The needs of
    /// the image are unknown then, so no file is removed.
    pub fn gc(&self) -> Result<Collected> {
        let index = self.writable_index()?;
        // A power cut must not bring back an index that needs removed files.
        index.sync()?;
        self.collect(&index)
    }

    /// Removes unneeded files. The index stays locked, so that no import begins
    /// to need a file meanwhile.
    fn collect(&self, index: &Writable<'_>) -> Result<Collected> {
        let mut needed = Needed::default();
        for descriptor in &index.index.manifests {
            self.mark(descriptor, &mut needed, 0)?;
        }
        for entry in &index.strange {
            self.mark_strange(entry, &mut needed);
        }
        let mut collected = Collected::default();
        // Blobs go first, because their removal takes no room on the disk.
        // Layers need a scratch directory and lock files.
        self.sweep_blobs(&needed, &mut collected)?;
        if collected.blobs > 0 {
            sync::entries_of_store(&self.blobs_dir())?;
        }
        self.sweep_layers(&needed, &mut collected)?;
        self.sweep_locks()?;
        Ok(collected)
    }

    fn mark(&self, descriptor: &Descriptor, needed: &mut Needed, depth: usize) -> Result<()> {
        let layout = self.layout();
        let subject = descriptor.digest.to_string();
        if !needed.blobs.insert(descriptor.digest) || depth > 8 {
            return Ok(());
        }
        // An index has entries for other platforms that were never imported.
        let document = match source::read_blob(&layout, descriptor) {
            Err(e) if e.kind() == Kind::NotFound => return Ok(()),
            document => document.map_err(damaged)?,
        };
        if descriptor.is_index() {
            let index = Index::parse(&document.bytes, &subject, Some(&descriptor.media_type));
            for inner in index.map_err(damaged)?.manifests {
                self.mark(&inner, needed, depth + 1)?;
            }
        } else if descriptor.is_manifest() {
            let manifest = Manifest::parse(&document.bytes, &subject, &descriptor.media_type);
            let manifest = manifest.map_err(damaged)?;
            needed.blobs.insert(manifest.config.digest);
            needed
                .blobs
                .extend(manifest.layers.iter().map(|layer| layer.digest));
            let config = source::read_blob(&layout, &manifest.config).map_err(damaged)?;
            let config = config::parse(&config.bytes, &subject).map_err(damaged)?;
            needed.diff_ids.extend(config.diff_ids);
        }
        Ok(())
    }

    /// Keeps the blobs behind an entry of another tool, as far as the entry is
    /// readable.
    fn mark_strange(&self, entry: &Value, needed: &mut Needed) {
        let word = |key: &str| entry[key].as_str().unwrap_or_default();
        let Ok(digest) = word("digest").parse() else {
            return;
        };
        let size = fs::metadata(self.blob_path(&digest)).map_or(0, |file| file.len());
        // An error about an entry that this library does not understand is no
        // fault.
        let _ = self.mark(&Descriptor::new(word("mediaType"), digest, size), needed, 0);
    }

    fn sweep_blobs(&self, needed: &Needed, collected: &mut Collected) -> Result<()> {
        for name in names(&self.blobs_dir())? {
            let needs = |digest: &Digest| needed.blobs.contains(digest);
            if digest_of(&name).as_ref().is_some_and(needs) {
                continue;
            }
            let path = self.blobs_dir().join(name);
            let size = fs::symlink_metadata(&path).map_or(0, |m| m.size());
            self.remove_path(&path)?;
            collected.blobs += 1;
            collected.bytes += size;
        }
        Ok(())
    }

    fn sweep_layers(&self, needed: &Needed, collected: &mut Collected) -> Result<()> {
        let mut scratch = None;
        let mounted = self.mounted_layers()?;
        for name in names(&self.layers_dir())? {
            if mounted.iter().any(|layer| *name == **layer) {
                collected.in_use += 1;
                continue;
            }
            let needs = |digest: &Digest| needed.diff_ids.contains(digest);
            if digest_of(&name).as_ref().is_some_and(needs) {
                continue;
            }
            let lock = self.0.root.join("locks").join(&name);
            match Lock::try_take(&lock, Operation::Exclusive)? {
                None => collected.in_use += 1,
                Some(lock) => {
                    let scratch = match &mut scratch {
                        Some(scratch) => scratch,
                        none => none.insert(self.scratch()?),
                    };
                    self.drop_layer(&name, scratch)?;
                    lock.remove();
                    collected.layers += 1;
                }
            }
        }
        Ok(())
    }

    /// Removes lock files of layers whose builders failed or were killed.
    fn sweep_locks(&self) -> Result<()> {
        let dir = self.0.root.join("locks");
        for name in names(&dir)? {
            let has_layer = || self.layers_dir().join(&name).exists();
            if digest_of(&name).is_some()
                && !has_layer()
                && let Some(lock) = Lock::try_take_there(&dir.join(&name), Operation::Exclusive)?
                && !has_layer()
            {
                lock.remove();
            }
        }
        Ok(())
    }

    /// Moves a layer away at once, so that no process sees half a layer, and
    /// then removes the files. The move is synced first: a power cut leaves the
    /// layer whole or absent.
    pub(super) fn drop_layer(&self, name: &OsString, scratch: &Scratch) -> Result<()> {
        let (from, to) = (self.layers_dir().join(name), scratch.path().join(name));
        // rename(2) of a directory needs write permission on it; the caller
        // owns the root.
        fs::rename(&from, &to)
            .map_err(|e| Error::io(Step::RemoveLayer, format_args!("{from:?}"), e))?;
        sync::entries_of_store(&self.layers_dir())?;
        self.remove_path(&to)
    }
}

fn damaged(error: Error) -> Error {
    error.with_cure(AGAIN)
}

/// Returns the digest that begins the name of a blob or a layer.
pub(super) fn digest_of(name: &OsString) -> Option<Digest> {
    let hex = name.to_str()?.split('.').next()?;
    format!("sha256:{hex}").parse().ok()
}
