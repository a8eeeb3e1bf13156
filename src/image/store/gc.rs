// SPDX-License-Identifier: MIT OR Apache-2.0
//! Removes images, and then what no image needs any more.
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
use crate::error::{Error, Kind, Result};
use crate::image::oci::{Descriptor, Index, Manifest};
use crate::image::{Digest, Reference, config, source};
use crate::sys::flock::Operation;

/// What a collection did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Collected {
    /// Blobs removed.
    pub blobs: usize,
    /// Bytes of these blobs.
    pub bytes: u64,
    /// Unpacked layers removed.
    pub layers: usize,
    /// Unpacked layers that no image of the store needs but that are in use.
    pub in_use: usize,
}

/// What the images of the index need.
#[derive(Default)]
struct Needed {
    blobs: HashSet<Digest>,
    diff_ids: HashSet<Digest>,
}

impl Images {
    /// Takes a name, or with a digest the whole image, out of the store, and
    /// removes the blobs and layers that nothing needs any more. Layers in use
    /// stay until a later collection.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is no such image.
    pub fn remove(&self, reference: &Reference) -> Result<Collected> {
        let mut index = self.writable_index()?;
        if index.remove(reference)? == 0 {
            return Err(not_found(reference, &index.index.manifests));
        }
        index.complete()?;
        let collected = self.collect(&index);
        index.reserve();
        collected
    }

    /// Removes blobs and layers that no image of the store needs and nobody uses.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if an image's own documents are damaged: then nobody knows
    /// what it needs, and nothing is removed.
    pub fn gc(&self) -> Result<Collected> {
        let index = self.writable_index()?;
        // A power cut must not bring back an index that leads to what is
        // removed here.
        index.sync()?;
        self.collect(&index)
    }

    /// The index stays locked: nothing can begin to be needed meanwhile.
    fn collect(&self, index: &Writable<'_>) -> Result<Collected> {
        let mut needed = Needed::default();
        for descriptor in &index.index.manifests {
            self.mark(descriptor, &mut needed, 0)?;
        }
        for entry in &index.strange {
            self.mark_strange(entry, &mut needed);
        }
        let mut collected = Collected::default();
        // First, because that takes no room on the disk, and the rest does: a
        // scratch directory, lock files.
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
        // Entries for other platforms of an index may never have been brought.
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

    /// Keeps what an entry of another tool leads to, as far as that can be read.
    fn mark_strange(&self, entry: &Value, needed: &mut Needed) {
        let word = |key: &str| entry[key].as_str().unwrap_or_default();
        let Ok(digest) = word("digest").parse() else {
            return;
        };
        let size = fs::metadata(self.blob_path(&digest)).map_or(0, |file| file.len());
        // Of an entry that no one here understands, an error says nothing.
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

    /// Builders that failed or were killed leave lock files of layers that never came.
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

    /// Moves a layer away at once, so that no process sees half of it; its
    /// files go after. The move is on the disk before: a power cut leaves the
    /// layer whole or absent.
    pub(super) fn drop_layer(&self, name: &OsString, scratch: &Scratch) -> Result<()> {
        let (from, to) = (self.layers_dir().join(name), scratch.path().join(name));
        // Moving a directory needs write permission on it; its root is ours.
        fs::rename(&from, &to)
            .map_err(|e| Error::io("remove layer", format_args!("{from:?}"), e))?;
        sync::entries_of_store(&self.layers_dir())?;
        self.remove_path(&to)
    }
}

fn damaged(error: Error) -> Error {
    error.with_cure(AGAIN)
}

/// The digest that a blob's or a layer's name begins with.
pub(super) fn digest_of(name: &OsString) -> Option<Digest> {
    let hex = name.to_str()?.split('.').next()?;
    format!("sha256:{hex}").parse().ok()
}
