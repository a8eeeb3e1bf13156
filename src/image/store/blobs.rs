// SPDX-License-Identifier: MIT OR Apache-2.0
//! The blobs of a store: where they are, whether they are there, how they appear.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use super::Images;
use super::parts::AGAIN;
use crate::error::{Error, Result};
use crate::image::digest::Digest;
use crate::image::oci::Descriptor;
use crate::image::source::Layout;

impl Images {
    pub(super) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blobs_dir().join(digest.hex())
    }

    /// Whether the blob is there whole; one of another size was damaged since.
    pub(super) fn has_blob(&self, digest: &Digest, size: u64) -> bool {
        fs::symlink_metadata(self.blob_path(digest)).is_ok_and(|m| m.is_file() && m.len() == size)
    }

    /// Whether a document is there with exactly these bytes.
    pub(super) fn has_document(&self, descriptor: &Descriptor, bytes: &[u8]) -> bool {
        self.has_blob(&descriptor.digest, descriptor.size)
            && fs::read(self.blob_path(&descriptor.digest)).is_ok_and(|read| read == bytes)
    }

    /// Makes a verified file visible as a blob.
    pub(super) fn publish_blob(&self, staged: &Path, digest: &Digest) -> Result<()> {
        let path = self.blob_path(digest);
        fs::rename(staged, &path)
            .map_err(|e| Error::io("publish blob", format_args!("{path:?}"), e))
    }

    /// The store's own blobs, to be read like those of any other layout.
    pub(in crate::image) fn layout(&self) -> Layout {
        Layout::of_store(self.path(), AGAIN)
    }
}
