// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks a store: every blob against the digest, every image and layer for the
//! parts.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::ffi::OsString;
use std::io::{self};

use serde::Serialize;

use super::Images;
use super::fs::names;
use super::gc::digest_of;
use super::layers::{read_metadata, staged_tree};
use super::parts::INDEX;
use crate::error::{Error, Kind, Result, Step};
use crate::image::Digest;
use crate::image::digest::HashingReader;
use crate::image::oci::{Descriptor, Index, Manifest};
use crate::image::source::{self, Source as _};

/// Result of a check.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct CheckReport {
    /// Names and unnamed images in the index.
    pub images: usize,
    /// Blobs read.
    pub blobs: usize,
    /// Bytes of these blobs.
    pub bytes: u64,
    /// Unpacked layers.
    pub layers: usize,
    /// Faults of the store; empty for a sound store.
    pub problems: Vec<Problem>,
}

/// A fault of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file, below the store's directory.
    pub subject: String,
    /// Description of the fault.
    pub why: String,
}

impl Images {
    /// Reads every blob and compares the digest. Looks for the parts of every
    /// image and of every unpacked layer. Changes no file.
    ///
    /// Other processes may work on the store meanwhile: seeming faults are
    /// checked again while the others wait.
    ///
    /// # Errors
    /// Those of reading the directories; all other errors are in the report.
    pub fn check(&self) -> Result<CheckReport> {
        let mut report = self.look_at(&|_| true)?;
        if report.problems.is_empty() {
            return Ok(report);
        }
        // A read-only file system has no lock, and no other process changes it.
        let lock = match self.lock_index() {
            Err(e) if e.errno() == Some(libc::EROFS) => None,
            lock => Some(lock?),
        };
        let seen: HashSet<String> = report.problems.drain(..).map(|p| p.subject).collect();
        let again = self.look_at(&|subject| seen.contains(subject))?;
        drop(lock);
        report.problems = again.problems;
        if seen.contains(INDEX) {
            report.images = again.images;
        }
        Ok(report)
    }

    /// Checks the parts of the store with wanted subjects.
    fn look_at(&self, is_wanted: &dyn Fn(&str) -> bool) -> Result<CheckReport> {
        let mut report = CheckReport::default();
        for name in names(&self.blobs_dir())? {
            let subject = blob_subject(&name);
            if is_wanted(&subject) {
                report.blobs += 1;
                match self.check_blob_named(&name) {
                    Ok(bytes) => report.bytes += bytes,
                    Err(e) => report.add(subject, e),
                }
            }
        }
        for name in names(&self.layers_dir())? {
            let subject = layer_subject(&name);
            if is_wanted(&subject) {
                report.layers += 1;
                if let Err(e) = self.check_layer(&name) {
                    report.add(subject, e);
                }
            }
        }
        if is_wanted(INDEX) {
            let (images, problems) = self.check_index();
            report.images = images;
            report.problems.extend(problems);
        }
        Ok(report)
    }

    /// Compares a file among the blobs with the digest in the file's name.
    pub(super) fn check_blob_named(&self, name: &OsString) -> Result<u64> {
        match digest_of(name) {
            Some(digest) => self.check_blob(&digest),
            None => Err(Error::new(
                Kind::Corrupt,
                Step::VerifyBlob,
                "not the name of a blob",
            )),
        }
    }

    /// Looks for the parts of an unpacked layer.
    pub(super) fn check_layer(&self, name: &OsString) -> Result<()> {
        let dir = self.layers_dir().join(name);
        read_metadata(&dir)?;
        match staged_tree(&dir).is_dir() {
            true => Ok(()),
            false => Err(Error::new(
                Kind::Corrupt,
                Step::VerifyLayer,
                "its files are not there",
            )),
        }
    }

    /// Returns the number of images in the index, and their faults.
    fn check_index(&self) -> (usize, Vec<Problem>) {
        let problem = |why: Error| Problem {
            subject: INDEX.to_owned(),
            why: why.to_string(),
        };
        match self.index() {
            Err(e) => (0, vec![problem(e)]),
            Ok(index) => {
                let images = index.manifests.iter();
                let wrong = images.filter_map(|image| self.check_image(image).err());
                (index.manifests.len(), wrong.map(problem).collect())
            }
        }
    }

    /// Compares a blob with the digest; returns the size.
    pub(super) fn check_blob(&self, digest: &Digest) -> Result<u64> {
        let layout = self.layout();
        let member = layout.open(&source::blob_name(digest))?;
        let mut reader = HashingReader::new(member.reader);
        let subject = digest.to_string();
        io::copy(&mut reader, &mut io::sink())
            .map_err(|e| Error::io(Step::ReadBlob, subject, e))?;
        let (found, bytes, _) = reader.complete();
        source::check_blob(&layout, (*digest, bytes), (found, bytes))?;
        Ok(bytes)
    }

    /// Looks for everything that an entry of the index names.
    fn check_image(&self, descriptor: &Descriptor) -> Result<()> {
        let layout = self.layout();
        let document = source::read_blob(&layout, descriptor)?;
        let subject = descriptor.digest.to_string();
        if descriptor.is_index() {
            return Index::parse(&document.bytes, &subject, Some(&descriptor.media_type)).map(drop);
        }
        let manifest = Manifest::parse(&document.bytes, &subject, &descriptor.media_type)?;
        source::read_blob(&layout, &manifest.config)?;
        for layer in &manifest.layers {
            let member = layout
                .open(&source::blob_name(&layer.digest))
                .map_err(|e| e.with_cure("import the image again"))?;
            let expected = (layer.digest, layer.size);
            source::check_blob(&layout, expected, (layer.digest, member.size))?;
        }
        Ok(())
    }
}

/// Returns the name of a blob in a report.
pub(super) fn blob_subject(name: &OsString) -> String {
    format!("blobs/sha256/{}", name.display())
}

/// Returns the name of an unpacked layer in a report.
pub(super) fn layer_subject(name: &OsString) -> String {
    format!("layers/{}", name.display())
}

impl CheckReport {
    fn add(&mut self, subject: String, why: impl std::fmt::Display) {
        let why = why.to_string();
        self.problems.push(Problem { subject, why });
    }
}
