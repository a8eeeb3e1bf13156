// SPDX-License-Identifier: MIT OR Apache-2.0
//! Unpacked layers: held while in use, or built under a lock.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Images;
use super::fs::write_file;
use super::lock::Lock;
use crate::error::{Error, Result, Step};
use crate::image::digest::Digest;
use crate::image::layer::Ids;
use crate::sys::flock::Operation;

/// Name of the tree inside a layer's directory.
pub(super) const TREE: &str = "fs";
const METADATA: &str = "layer.json";

/// Facts about an unpacked layer, kept beside the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Metadata {
    /// The unpacked blob.
    pub(super) blob: Digest,
    /// Bytes of the plain tar.
    pub(super) diff_bytes: u64,
    /// Entries of the tar.
    pub(super) entries: u64,
    /// True if the layer hides everything below.
    #[serde(default)]
    pub(super) opaque_root: bool,
    /// True if the tree holds whiteouts.
    #[serde(default)]
    pub(super) whiteouts: bool,
    /// Sentences about entries that the unpacker left out or changed.
    #[serde(default)]
    pub(super) notes: Vec<String>,
}

/// A held layer.
pub(super) enum Held {
    /// Present: no process removes the layer meanwhile.
    Present(Lock),
    /// Missing: no other process builds the layer meanwhile.
    Missing(Lock),
}

/// Returns the kind of ids in a layer. The kind is part of the directory's
/// name, so that a user who gains or loses subordinate ids never uses trees of
/// the other kind.
pub(super) fn ids_name(ids: Ids) -> &'static str {
    match ids {
        Ids::Root => "root",
        Ids::Single => "single",
        Ids::Deferred => "subids",
    }
}

impl Images {
    fn layer_name(&self, diff_id: &Digest) -> String {
        format!("{}.{}", diff_id.hex(), ids_name(self.0.ids))
    }

    pub(super) fn layer_dir(&self, diff_id: &Digest) -> PathBuf {
        self.layers_dir().join(self.layer_name(diff_id))
    }

    /// Returns the directory of the layer's own files.
    pub(in crate::image) fn layer_tree(&self, diff_id: &Digest) -> PathBuf {
        self.layer_dir(diff_id).join(TREE)
    }

    fn has_layer(&self, diff_id: &Digest) -> bool {
        self.layer_tree(diff_id).is_dir()
    }

    /// Holds a layer, present or missing. Hold several layers in the order of
    /// their digests: then no two processes ever wait for each other.
    pub(super) fn hold_layer(
        &self,
        diff_id: &Digest,
        patience: Duration,
        go_on: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Held> {
        let path = self.lock_path(&self.layer_name(diff_id));
        loop {
            let lock = Lock::take(&path, Operation::Shared, patience, &mut *go_on)?;
            if self.has_layer(diff_id) {
                return Ok(Held::Present(lock));
            }
            drop(lock);
            let lock = Lock::take(&path, Operation::Exclusive, patience, &mut *go_on)?;
            if !self.has_layer(diff_id) {
                return Ok(Held::Missing(lock));
            }
        }
    }

    /// Makes a verified directory visible as a layer. The caller's lock keeps
    /// holding the layer.
    pub(super) fn publish_layer(&self, staged: &Path, diff_id: &Digest) -> Result<()> {
        let dir = self.layer_dir(diff_id);
        fs::rename(staged, &dir)
            .map_err(|e| Error::io(Step::PublishLayer, format_args!("{dir:?}"), e))
    }
}

/// Returns the tree in a layer's directory.
pub(super) fn staged_tree(staged: &Path) -> PathBuf {
    staged.join(TREE)
}

/// Writes the metadata of a new layer.
pub(super) fn write_metadata(staged: &Path, metadata: &Metadata) -> Result<()> {
    let json = serde_json::to_vec(metadata).expect("metadata is plain data");
    write_beside(staged, METADATA, &json)
}

/// Writes a file beside the tree of a staged layer.
pub(super) fn write_beside(staged: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let path = staged.join(name);
    let written = write_file(&path, bytes, 0o644).map(drop);
    written.map_err(|e| Error::io(Step::WriteLayerMetadata, format_args!("{path:?}"), e))
}

/// Reads the metadata of an unpacked layer.
pub(super) fn read_metadata(dir: &Path) -> Result<Metadata> {
    let path = dir.join(METADATA);
    let subject = format!("{path:?}");
    let json = fs::read(&path).map_err(|e| Error::io(Step::ReadLayerMetadata, &subject, e))?;
    crate::image::oci::parse(&json, Step::ReadLayerMetadata, &subject)
}

/// Facts that decide how a layer is stacked.
#[derive(Default)]
pub(in crate::image) struct Stacked {
    /// True if the layer hides everything below, which overlayfs does not see.
    pub(in crate::image) opaque_root: bool,
    /// True if the tree holds whiteouts.
    pub(in crate::image) whiteouts: bool,
    /// Notes of the unpacker.
    pub(in crate::image) notes: Vec<String>,
}

/// Reads the facts about the layer of a tree.
pub(in crate::image) fn stacked(tree: &Path) -> Result<Stacked> {
    let Some(dir) = tree.parent() else {
        return Ok(Stacked::default());
    };
    let metadata = read_metadata(dir)?;
    Ok(Stacked {
        opaque_root: metadata.opaque_root,
        whiteouts: metadata.whiteouts,
        notes: metadata.notes,
    })
}
