// SPDX-License-Identifier: MIT OR Apache-2.0
//! Blobs of a store: found, checked and published.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use super::Images;
use super::parts::AGAIN;
use crate::error::{Error, Result, Step};
use crate::image::digest::Digest;
use crate::image::oci::Descriptor;
use crate::image::source::Layout;

impl Images {
    pub(super) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blobs_dir().join(digest.hex())
    }

    /// Returns whether the whole blob is present; another size means damage.
    pub(super) fn has_blob(&self, digest: &Digest, size: u64) -> bool {
        fs::symlink_metadata(self.blob_path(digest)).is_ok_and(|m| m.is_file() && m.len() == size)
    }

    /// Returns whether a document is present with exactly these bytes.
    pub(super) fn has_document(&self, descriptor: &Descriptor, bytes: &[u8]) -> bool {
        self.has_blob(&descriptor.digest, descriptor.size)
            && fs::read(self.blob_path(&descriptor.digest)).is_ok_and(|read| read == bytes)
    }

    /// Makes a verified file visible as a blob.
    pub(super) fn publish_blob(&self, staged: &Path, digest: &Digest) -> Result<()> {
        let path = self.blob_path(digest);
        fs::rename(staged, &path)
            .map_err(|e| Error::io(Step::PublishBlob, format_args!("{path:?}"), e))
    }

    /// Returns the store's own blobs, to be read like another layout.
    pub(in crate::image) fn layout(&self) -> Layout {
        Layout::of_store(self.path(), AGAIN)
    }
}
