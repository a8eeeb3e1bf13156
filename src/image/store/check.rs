// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks a store: every blob against its digest, every image and layer for its parts.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::io::{self};

use serde::Serialize;

use super::Store;
use super::gc::{digest_of, names};
use super::layers::{read_metadata, staged_tree};
use super::lock::Lock;
use super::sync;
use crate::error::{Error, Result};
use crate::image::Digest;
use crate::image::digest::HashingReader;
use crate::image::oci::{Descriptor, Index, Manifest};
use crate::image::source::{self, Files as _};
use crate::sys::flock::Operation;

/// What brings back what is damaged: an import alone takes what it has for what it should be.
const AGAIN: &str = "tare store check --repair, then import the image again";

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// Names and unnamed images in the index.
    pub images: usize,
    /// Blobs read.
    pub blobs: usize,
    /// Bytes of these blobs.
    pub bytes: u64,
    /// Unpacked layers.
    pub layers: usize,
    /// What is wrong; empty for a sound store.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong in a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file, below the store's directory.
    pub subject: String,
    /// What is wrong with it.
    pub why: String,
}

impl Store {
    /// Reads every blob and compares it with its digest; looks whether every image
    /// has its parts and every unpacked layer is whole. Changes nothing.
    ///
    /// # Errors
    /// Those of reading the directories; all else is in the report.
    pub fn check(&self) -> Result<Report> {
        let mut report = Report::default();
        for name in names(&self.blobs_dir())? {
            report.blobs += 1;
            let subject = format!("blobs/sha256/{}", name.display());
            match digest_of(&name) {
                None => report.add(subject, "not the name of a blob"),
                Some(digest) => match self.check_blob(&digest) {
                    Ok(bytes) => report.bytes += bytes,
                    Err(e) => report.add(subject, e),
                },
            }
        }
        for name in names(&self.layers_dir())? {
            report.layers += 1;
            let dir = self.layers_dir().join(&name);
            let subject = format!("layers/{}", name.display());
            if let Err(e) = read_metadata(&dir) {
                report.add(subject, e);
            } else if !staged_tree(&dir).is_dir() {
                report.add(subject, "its files are not there");
            }
        }
        let index = self.index().map(|index| index.manifests);
        let manifests = index.unwrap_or_else(|e| {
            report.add("index.json".to_owned(), e);
            Vec::new()
        });
        for descriptor in manifests {
            report.images += 1;
            if let Err(e) = self.check_image(&descriptor) {
                report.add("index.json".to_owned(), e);
            }
        }
        Ok(report)
    }

    /// Removes the damaged blobs and layers of a report, so that the next import of
    /// their images brings them anew. Layers in use stay. Returns how many went.
    ///
    /// # Errors
    /// Those of removing files.
    pub fn remove_damaged(&self, report: &Report) -> Result<usize> {
        let _index = self.writable_index()?;
        let scratch = self.scratch()?;
        let mut removed = 0;
        let damaged: HashSet<&str> = report.problems.iter().map(|p| p.subject.as_str()).collect();
        for name in names(&self.blobs_dir())? {
            if damaged.contains(format!("blobs/sha256/{}", name.display()).as_str()) {
                self.remove_path(&self.blobs_dir().join(name))?;
                removed += 1;
            }
        }
        if removed > 0 {
            sync::entries_of_store(&self.blobs_dir())?;
        }
        for name in names(&self.layers_dir())? {
            if !damaged.contains(format!("layers/{}", name.display()).as_str()) {
                continue;
            }
            let lock = self.0.root.join("locks").join(&name);
            if let Some(lock) = Lock::try_take(&lock, Operation::Exclusive)? {
                self.drop_layer(&name, &scratch)?;
                lock.remove();
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn check_blob(&self, digest: &Digest) -> Result<u64> {
        let files = self.files();
        let member = files.open(&source::blob_name(digest))?;
        let mut reader = HashingReader::new(member.reader);
        let subject = digest.to_string();
        io::copy(&mut reader, &mut io::sink()).map_err(|e| Error::io("read blob", subject, e))?;
        let (found, bytes, _) = reader.complete();
        source::check_blob("store", (*digest, bytes), (found, bytes))
            .map_err(|e| e.with_cure(AGAIN))?;
        Ok(bytes)
    }

    /// Whether everything an entry of the index names is there.
    fn check_image(&self, descriptor: &Descriptor) -> Result<()> {
        let files = self.files();
        let document = source::read_blob(&files, descriptor)?;
        let subject = descriptor.digest.to_string();
        if descriptor.is_index() {
            return Index::parse(&document.bytes, &subject, Some(&descriptor.media_type)).map(drop);
        }
        let manifest = Manifest::parse(&document.bytes, &subject, &descriptor.media_type)?;
        source::read_blob(&files, &manifest.config)?;
        for layer in &manifest.layers {
            let member = files
                .open(&source::blob_name(&layer.digest))
                .map_err(|e| e.with_cure("import the image again"))?;
            let expected = (layer.digest, layer.size);
            source::check_blob("store", expected, (layer.digest, member.size))
                .map_err(|e| e.with_cure(AGAIN))?;
        }
        Ok(())
    }
}

impl Report {
    fn add(&mut self, subject: String, why: impl std::fmt::Display) {
        let why = why.to_string();
        self.problems.push(Problem { subject, why });
    }
}
