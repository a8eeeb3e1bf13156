// SPDX-License-Identifier: MIT OR Apache-2.0
//! Repairs a store: removes damaged files, restores a lost index from the
//! blobs.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::fs;
use std::io;

use super::Images;
use super::check::{CheckReport, blob_subject, layer_subject};
use super::fs::names;
use super::fs::replace_file;
use super::gc::digest_of;
use super::lock::Lock;
use super::open::write_layout;
use super::parts::{DAMAGED, INDEX};
use super::sync;
use crate::error::{Error, Result, Step};
use crate::image::Digest;
use crate::image::config;
use crate::image::oci::{DOCUMENT_MAX, Descriptor, Index, Manifest, OCI_MANIFEST};
use crate::image::source;
use crate::sys::flock::Operation;

const STEP: Step = Step::RepairStore;

/// Result of a repair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Repaired {
    /// Damaged blobs and layers removed.
    pub removed: usize,
    /// Images of a restored index, which have no names; `None` if the index was
    /// sound.
    pub indexed: Option<usize>,
}

impl Images {
    /// Removes the damaged blobs and layers of a report, so that the next
    /// import brings them anew. Checks each again first: files restored by
    /// another process stay, and so do layers in use.
    ///
    /// Restores a lost or unreadable index from the manifests among the blobs.
    /// Names are lost; the old file stays as `index.json.damaged`.
    ///
    /// # Errors
    /// Those of removing and writing files.
    pub fn repair(&self, report: &CheckReport) -> Result<Repaired> {
        let _lock = self.lock_index()?;
        let removed = self.remove_damaged(report)?;
        let indexed = match self.index() {
            Ok(_) => None,
            Err(_) => Some(self.make_index()?),
        };
        let root = self.path();
        write_layout(root).map_err(|e| Error::io(STEP, format_args!("{root:?}"), e))?;
        Ok(Repaired { removed, indexed })
    }

    /// Removes damaged files; call with the index locked.
    fn remove_damaged(&self, report: &CheckReport) -> Result<usize> {
        let scratch = self.scratch()?;
        let mut removed = 0;
        let damaged: HashSet<&str> = report.problems.iter().map(|p| p.subject.as_str()).collect();
        for name in names(&self.blobs_dir())? {
            if damaged.contains(blob_subject(&name).as_str())
                && self.check_blob_named(&name).is_err()
            {
                self.remove_path(&self.blobs_dir().join(name))?;
                removed += 1;
            }
        }
        if removed > 0 {
            sync::entries_of_store(&self.blobs_dir())?;
        }
        for name in names(&self.layers_dir())? {
            if !damaged.contains(layer_subject(&name).as_str()) {
                continue;
            }
            let lock = self.0.root.join("locks").join(&name);
            if let Some(lock) = Lock::try_take(&lock, Operation::Exclusive)?
                && self.check_layer(&name).is_err()
            {
                self.drop_layer(&name, &scratch)?;
                lock.remove();
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Writes a new index of all images among the blobs; returns their number.
    fn make_index(&self) -> Result<usize> {
        let path = self.path().join(INDEX);
        let wrong = |e| Error::io(STEP, format_args!("{path:?}"), e);
        let mut index = Index::empty();
        for name in names(&self.blobs_dir())? {
            let manifest = digest_of(&name).and_then(|digest| self.as_manifest(digest));
            index.manifests.extend(manifest);
        }
        let json = index.to_json_with(&[]);
        match fs::rename(&path, path.with_file_name(DAMAGED)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(wrong(e)),
            _ => {}
        }
        replace_file(&path, &json).map_err(wrong)?;
        sync::entries_of_store(self.path())?;
        Ok(index.manifests.len())
    }

    /// Returns an index entry if the blob is the manifest of a present image.
    fn as_manifest(&self, digest: Digest) -> Option<Descriptor> {
        let path = self.blob_path(&digest);
        let size = fs::symlink_metadata(&path).ok()?.len();
        if size > DOCUMENT_MAX {
            return None;
        }
        let bytes = fs::read(&path).ok()?;
        if Digest::of(&bytes) != digest {
            return None;
        }
        let words: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
        let kind = words["mediaType"].as_str().unwrap_or(OCI_MANIFEST);
        let descriptor = Descriptor::new(kind, digest, size);
        if !descriptor.is_manifest() {
            return None;
        }
        let subject = digest.to_string();
        let manifest = Manifest::parse(&bytes, &subject, kind).ok()?;
        let config = source::read_blob(&self.layout(), &manifest.config).ok()?;
        config::parse(&config.bytes, &subject).ok()?;
        Some(descriptor)
    }
}
