// SPDX-License-Identifier: MIT OR Apache-2.0
//! An attempt to install an image in the store: hold, stage, verify, sync once,
//! publish.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use super::Images;
use super::fs::{make_dir, write_file};
use super::implied;
use super::index::is_filed;
use super::layers::{Held, Metadata, staged_tree, write_metadata};
use super::lock::Lock;
use super::options::ImportOptions;
use super::read_blobs::{self, BlobRead, Destination, Done};
use super::scratch::Scratch;
use super::sync::{self, FileSystem};
use crate::error::{Error, Kind, Result, Step};
use crate::image::layer::{Ids, Options, OverlayXattr, Unpacked, Whiteouts};
use crate::image::oci::{Descriptor, Manifest, OCI_MANIFEST};
use crate::image::progress::Progress;
use crate::image::source::{self, Document, Resolved, Source};
use crate::image::{Digest, Image};

/// Media type of a blob that came without a media type; the codec follows from
/// the content.
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Purpose of an installation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The image is on the disk on return, whichever process installed it.
    Import,
    /// The image is used now.
    Open,
}

/// The inputs of an attempt.
pub(super) struct Install<'a> {
    pub(super) store: &'a Images,
    pub(super) source: &'a dyn Source,
    pub(super) resolved: &'a Resolved,
    /// True if the manifest is from the store and not from the source.
    pub(super) adopted: bool,
    pub(super) options: &'a ImportOptions,
    pub(super) purpose: Purpose,
    /// Blobs of the store with wrong bytes.
    pub(super) damaged: &'a HashSet<Digest>,
}

/// Result of an attempt.
pub(super) enum Attempt {
    Installed(Image),
    /// A needed blob of the store is gone.
    Retry,
    /// Needed blobs of the store have wrong bytes; the source may have the
    /// right bytes.
    Damaged(Vec<Digest>),
}

/// A layer that this process builds.
struct Building {
    lock: Lock,
    staged: PathBuf,
}

impl Install<'_> {
    /// Installs the image, unless the store changes meanwhile.
    pub(super) fn once(&self, names: &[String], progress: &mut dyn Progress) -> Result<Attempt> {
        let (mut held, missing) = self.hold(progress)?;
        if missing.is_empty()
            && let Some(manifest) = self.nothing_to_do(names)?
        {
            // Another process may have installed the image without a sync, or
            // may be about to sync.
            if self.purpose == Purpose::Import && self.options.sync {
                FileSystem::of(self.store.path())?.sync()?;
            }
            return Image::in_store(self.store, manifest, &self.resolved.parsed, held)
                .map(Attempt::Installed);
        }
        if !progress.keep_going() {
            return Err(read_blobs::stopped());
        }
        let file_system = FileSystem::of(self.store.path())?;
        let scratch = self.store.scratch()?;
        let build = |(n, (id, lock))| {
            let staged = scratch.path().join(format!("layer-{n}"));
            (id, Building { lock, staged })
        };
        let building = missing.into_iter().enumerate().map(build).collect();
        let layout = self.store.layout();
        let Some(reads) = self.reads(&layout, &scratch, &building)? else {
            return Ok(Attempt::Retry);
        };
        let total = self.resolved.layers.len();
        let done = match read_blobs::run(&reads, &self.layer_options(), total, progress) {
            Err(e) => return self.excused(&reads, e),
            Ok(done) => done,
        };
        for (read, done) in reads.iter().zip(&done) {
            if let (Some(unpacked), Some(building)) = (&done.unpacked, building.get(&read.diff_id))
            {
                self.finish_layer(&building.staged, unpacked, done.blob.0)?;
            }
        }
        let documents = self.documents(&reads, &done)?;
        let mut files = stage_documents(&scratch, &documents)?;
        let kept = reads.iter().zip(&done);
        files.extend(kept.filter_map(|(read, done)| Some((read.keep.clone()?, done.blob.0))));
        if self.options.sync {
            file_system.sync()?;
        }
        let documents = &documents[0];
        match self.publish(&files, &documents.descriptor, building, names)? {
            None => return Ok(Attempt::Retry),
            Some(built) => held.extend(built),
        }
        Image::in_store(self.store, documents, &self.resolved.parsed, held).map(Attempt::Installed)
    }

    /// Turns an error into a new attempt if the cause is a blob of the store
    /// that another process removed, or a damaged blob that the source has.
    fn excused(&self, reads: &[BlobRead<'_>], error: Error) -> Result<Attempt> {
        let of_store = reads.iter().filter(|read| read.keep.is_none());
        let of_store = of_store.filter_map(|read| read.expected);
        match error.kind() {
            Kind::NotFound => {
                let mut gone = of_store.filter(|(digest, size)| !self.has(digest, *size));
                match gone.next() {
                    Some(_) if !self.is_own() => Ok(Attempt::Retry),
                    _ => Err(error),
                }
            }
            Kind::Corrupt if !self.is_own() => {
                let is_damaged = |digest: &Digest| self.store.check_blob(digest).is_err();
                let damaged = of_store.map(|(digest, _)| digest).filter(is_damaged);
                match damaged.collect::<Vec<_>>() {
                    damaged if damaged.is_empty() => Err(error),
                    damaged => Ok(Attempt::Damaged(damaged)),
                }
            }
            _ => Err(error),
        }
    }

    /// Returns whether the source is the store itself.
    fn is_own(&self) -> bool {
        self.purpose == Purpose::Open && self.source.label() == self.store.layout().label()
    }

    /// Returns whether the store has a blob that is not known to be damaged.
    fn has(&self, digest: &Digest, size: u64) -> bool {
        self.store.has_blob(digest, size) && !self.damaged.contains(digest)
    }

    /// Returns the manifest if the store has all its parts and names.
    fn nothing_to_do(&self, names: &[String]) -> Result<Option<&Document>> {
        let Some(manifest) = &self.resolved.manifest else {
            return Ok(None);
        };
        let index = self.store.index()?;
        let has = |document: &Document| {
            let d = &document.descriptor;
            match self.purpose {
                // An import mends wrong bytes, as the error about them
                // promises.
                Purpose::Import => self.store.has_document(d, &document.bytes),
                Purpose::Open => self.store.has_blob(&d.digest, d.size),
            }
        };
        let has_layers = self.resolved.layers.iter().filter_map(|l| l.expected);
        let done = has(manifest)
            && has(&self.resolved.config)
            && has_layers
                .into_iter()
                .all(|(digest, size)| self.has(&digest, size))
            && is_filed(&index, &manifest.descriptor.digest, names);
        Ok(done.then_some(manifest))
    }

    /// Holds each layer, in the order of digests: see [`Images::hold_layer`].
    fn hold(
        &self,
        progress: &mut dyn Progress,
    ) -> Result<(BTreeMap<Digest, Lock>, BTreeMap<Digest, Lock>)> {
        let mut ids: Vec<Digest> = self.resolved.parsed.diff_ids.clone();
        ids.sort_unstable();
        ids.dedup();
        let (mut held, mut missing) = (BTreeMap::new(), BTreeMap::new());
        let mut go_on = || match progress.keep_going() {
            true => Ok(()),
            false => Err(read_blobs::stopped()),
        };
        for id in ids {
            match self
                .store
                .hold_layer(&id, self.options.patience, &mut go_on)?
            {
                Held::Present(lock) => held.insert(id, lock),
                Held::Missing(lock) => missing.insert(id, lock),
            };
        }
        Ok((held, missing))
    }

    /// Returns the blobs to be read: missing blobs, and blobs of missing
    /// layers. Returns `None` if a blob of an adopted manifest is gone, because
    /// the source has the layer in other bytes.
    fn reads<'b>(
        &'b self,
        layout: &'b dyn Source,
        scratch: &Scratch,
        building: &BTreeMap<Digest, Building>,
    ) -> Result<Option<Vec<BlobRead<'b>>>> {
        let mut reads: Vec<BlobRead<'b>> = Vec::new();
        for (index, layer) in self.resolved.layers.iter().enumerate() {
            let stored = layer
                .expected
                .is_some_and(|(digest, size)| self.has(&digest, size));
            if self.adopted && !stored {
                return Ok(None);
            }
            let same = |read: &BlobRead<'_>| {
                read.diff_id == layer.diff_id && read.expected == layer.expected
            };
            let built = reads
                .iter()
                .any(|read| read.diff_id == layer.diff_id && read.tree.is_some());
            let build = building.get(&layer.diff_id).filter(|_| !built);
            if reads.iter().any(same) || stored && build.is_none() {
                continue;
            }
            let (source, member) = match layer.expected {
                Some((digest, _)) if stored => (layout, source::blob_name(&digest)),
                _ => (self.source, layer.member.clone()),
            };
            if let Some(building) = build {
                make_dir(&building.staged, 0o700).map_err(|e| {
                    Error::io(Step::StageLayer, format_args!("{:?}", building.staged), e)
                })?;
            }
            reads.push(BlobRead {
                source,
                member,
                expected: layer.expected,
                diff_id: layer.diff_id,
                index,
                keep: (!stored).then(|| scratch.path().join(format!("blob-{index}"))),
                tree: build.map(|b| Destination::New(staged_tree(&b.staged))),
            });
        }
        Ok(Some(reads))
    }

    fn layer_options(&self) -> Options {
        let ids = self.store.0.ids;
        Options {
            ids: match self.store.0.gives_away {
                true => Ids::Root,
                false => ids,
            },
            whiteouts: Whiteouts::Convert,
            overlay_xattr: match ids {
                Ids::Root => OverlayXattr::Trusted,
                _ => OverlayXattr::User,
            },
            bounds: self.options.bounds.clone(),
        }
    }

    /// Sets owners and writes the metadata: the last steps of a layer.
    fn finish_layer(&self, staged: &Path, unpacked: &Unpacked, blob: Digest) -> Result<()> {
        if let (false, Some(mut chown)) = (unpacked.fixups.is_empty(), self.store.chown()) {
            let tree = staged_tree(staged);
            let root = File::open(&tree)
                .map_err(|e| Error::io(Step::SetOwners, format_args!("{tree:?}"), e))?;
            chown.apply(root.as_fd(), &unpacked.fixups)?;
        }
        implied::write_listing(staged, &unpacked.listing)?;
        let metadata = Metadata {
            blob,
            diff_bytes: unpacked.diff_bytes,
            entries: unpacked.entries,
            opaque_root: unpacked.opaque_root,
            whiteouts: unpacked.listing.has_whiteouts(),
            notes: unpacked.notes.clone(),
        };
        write_metadata(staged, &metadata)
    }

    /// Returns the manifest and the config, in this order.
    fn documents(&self, reads: &[BlobRead<'_>], done: &[Done]) -> Result<[Document; 2]> {
        let config = self.resolved.config.clone();
        if let Some(manifest) = &self.resolved.manifest {
            return Ok([manifest.clone(), config]);
        }
        let blob = |diff_id: &Digest| {
            let at = reads.iter().position(|read| read.diff_id == *diff_id)?;
            Some(Descriptor::new(LAYER, done[at].blob.0, done[at].blob.1))
        };
        let layers = self
            .resolved
            .layers
            .iter()
            .map(|l| blob(&l.diff_id))
            .collect::<Option<Vec<_>>>();
        let layers = layers.expect("a layer without a manifest is always read");
        let manifest = Manifest::new(config.descriptor.clone(), layers);
        let bytes = serde_json::to_vec(&manifest).expect("a manifest is plain data");
        let descriptor = Descriptor::new(OCI_MANIFEST, Digest::of(&bytes), bytes.len() as u64);
        Ok([Document { descriptor, bytes }, config])
    }

    /// Publishes blobs first and the name last. Returns the new layers, held by
    /// shared locks; `None` if a blob that was present is gone.
    fn publish(
        &self,
        files: &[(PathBuf, Digest)],
        manifest: &Descriptor,
        building: BTreeMap<Digest, Building>,
        names: &[String],
    ) -> Result<Option<BTreeMap<Digest, Lock>>> {
        let mut index = self.store.writable_index()?;
        for (path, digest) in files {
            self.store.publish_blob(path, digest)?;
        }
        let mut blobs = self.resolved.layers.iter().filter_map(|l| l.expected);
        if !blobs.all(|(digest, size)| self.store.has_blob(&digest, size)) {
            return Ok(None);
        }
        for (diff_id, building) in &building {
            self.store.publish_layer(&building.staged, diff_id)?;
        }
        // The files are synced; the index must not reach the disk before the
        // directory entries.
        if self.options.sync {
            sync::entries_of_store(&self.store.blobs_dir())?;
            sync::entries_of_store(&self.store.layers_dir())?;
        }
        if index.add(manifest, names) {
            index.complete_unsynced()?;
        }
        if self.options.sync {
            index.sync()?;
        }
        // While the index is locked, no process removes a layer.
        let share = |(diff_id, building): (Digest, Building)| {
            let lock = building.lock.into_shared(self.options.patience)?;
            Ok((diff_id, lock))
        };
        building
            .into_iter()
            .map(share)
            .collect::<Result<_>>()
            .map(Some)
    }
}

/// Writes the small blobs into the staging directory.
fn stage_documents(scratch: &Scratch, documents: &[Document; 2]) -> Result<Vec<(PathBuf, Digest)>> {
    let mut staged = Vec::new();
    for (name, document) in ["manifest", "config"].iter().zip(documents) {
        let path = scratch.path().join(name);
        write_file(&path, &document.bytes, 0o644)
            .map_err(|e| Error::io(Step::WriteBlob, format_args!("{path:?}"), e))?;
        staged.push((path, document.descriptor.digest));
    }
    Ok(staged)
}
