// SPDX-License-Identifier: MIT OR Apache-2.0
//! Imports images: selects, reads and names them.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashSet};
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::path::PathBuf;
use std::time::Instant;

use super::Images;
use super::fs::nameless_file;
use super::install::{Attempt, Install, Purpose};
use super::options::ImportOptions;
use crate::error::{Error, Kind, Result, Step};
use crate::image::oci::{Descriptor, Manifest};
use crate::image::progress::Progress;
use crate::image::reference::whole_name;
use crate::image::source::{self, Archive, Resolved, Room, Selector, Source};
use crate::image::{Digest, Image, Reference};

impl Images {
    /// Imports an image from an OCI layout or an archive; `dir:` and `host` are
    /// used in place.
    ///
    /// Verifies both digests of every layer before the image becomes visible.
    /// Uses blobs and layers that are present; many processes may import the
    /// same image at once. After an error or a kill no part of the image is
    /// visible. On return the image is on the disk, unless
    /// [`ImportOptions::sync`] is false.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] for an inconsistent image, [`Kind::NotFound`] for a
    /// missing source or tag, [`Kind::Unsupported`] if no platform fits this
    /// machine, [`Kind::Busy`] when patience ends, `ECANCELED` if `progress`
    /// stops the import.
    pub fn import(
        &self,
        reference: &Reference,
        options: &ImportOptions,
        progress: &mut dyn Progress,
    ) -> Result<Image> {
        self.import_for(Purpose::Import, reference, options, progress)
    }

    /// [`Images::import`]; opening an image does not wait for a sync of present
    /// files.
    pub(super) fn import_for(
        &self,
        purpose: Purpose,
        reference: &Reference,
        options: &ImportOptions,
        progress: &mut dyn Progress,
    ) -> Result<Image> {
        let names = names(&options.names)?;
        if let (Reference::Host | Reference::Dir(_), true) = (reference, names.is_empty()) {
            return Image::in_place(reference);
        }
        let (source, selector) = self.source(reference, options, progress)?;
        let resolved = source::find(&*source, &selector)?;
        let image = self.install(purpose, (&*source, &resolved), names, options, progress)?;
        log::debug!("image {:?}: in the store", reference.to_string());
        for note in &resolved.notes {
            log::warn!("image {:?}: {note:?}", reference.to_string());
        }
        Ok(image.named(reference).noted(&resolved.notes))
    }

    /// Imports every image of a layout or an archive, under the names there, as
    /// docker-load(1) does; with [`ImportOptions::select`] only the image of
    /// that name.
    ///
    /// Reads the documents of all images before the first import. Each image
    /// becomes visible whole; images before a failure stay.
    ///
    /// # Errors
    /// Those of [`Images::import`], and [`Kind::Invalid`] if
    /// [`ImportOptions::names`] is not empty.
    pub fn load(
        &self,
        reference: &Reference,
        options: &ImportOptions,
        progress: &mut dyn Progress,
    ) -> Result<Vec<Image>> {
        let (source, selector) = self.source(reference, options, progress)?;
        self.load_all(&*source, selector, reference, options, progress)
    }

    /// [`Images::load`] of an open archive: a file, a pipe or a socket, read
    /// from the current offset to the end. Writes a pipe to the store's
    /// `scratch` first.
    ///
    /// # Errors
    /// As [`Images::load`].
    pub fn load_from(
        &self,
        input: BorrowedFd<'_>,
        options: &ImportOptions,
        progress: &mut dyn Progress,
    ) -> Result<Vec<Image>> {
        let path = PathBuf::from(match input.as_raw_fd() {
            0 => "/dev/stdin",
            _ => "a descriptor",
        });
        let file = input
            .try_clone_to_owned()
            .map_err(|e| Error::io(Step::OpenImageArchive, format_args!("{path:?}"), e))?;
        let archive = self.archive(progress, |room| Archive::of(file.into(), &path, room))?;
        let selector = selector(options);
        let reference = Reference::Archive(path);
        self.load_all(&archive, selector, &reference, options, progress)
    }

    fn load_all(
        &self,
        source: &dyn Source,
        mut selector: Selector,
        reference: &Reference,
        options: &ImportOptions,
        progress: &mut dyn Progress,
    ) -> Result<Vec<Image>> {
        if !options.names.is_empty() {
            let why = "names: images that are loaded have their own";
            return Err(Error::new(Kind::Invalid, Step::LoadImage, why));
        }
        selector.names = true;
        let mut last: BTreeMap<String, usize> = BTreeMap::new();
        let mut count = 0;
        source::each(source, &selector, &mut |resolved| {
            let names = resolved.names.iter().map(|name| whole_name(name));
            last.extend(names.map(|name| (name, count)));
            count += 1;
            Ok(())
        })?;
        let mut images = Vec::new();
        source::each(source, &selector, &mut |mut resolved| {
            // A name given twice belongs to the last image, as for every
            // reader.
            let place = images.len();
            resolved
                .names
                .retain(|n| last.get(&whole_name(n)) == Some(&place));
            let names = stored(&resolved);
            let image = self.install(
                Purpose::Import,
                (source, &resolved),
                names,
                options,
                &mut *progress,
            )?;
            images.push(image.named(reference).noted(&resolved.notes));
            Ok(())
        })?;
        Ok(images)
    }

    /// Opens the source of a reference outside the store.
    fn source(
        &self,
        reference: &Reference,
        options: &ImportOptions,
        progress: &mut dyn Progress,
    ) -> Result<(Box<dyn Source>, Selector)> {
        let mut selector = selector(options);
        let source: Box<dyn Source> = match reference {
            Reference::Oci { path, tag } => {
                selector.tag = tag.clone().or(selector.tag);
                Box::new(source::open_layout(path)?)
            }
            Reference::Archive(path) => {
                Box::new(self.archive(progress, |room| Archive::open(path, room))?)
            }
            other => {
                let why = format!("{other}: only oci: and archive: can be imported");
                return Err(Error::new(Kind::Invalid, Step::ImportImage, why));
            }
        };
        Ok((source, selector))
    }

    /// Opens an archive, with room in the store for bytes to be written out.
    fn archive(
        &self,
        progress: &mut dyn Progress,
        open: impl FnOnce(&mut Room<'_>) -> Result<Archive>,
    ) -> Result<Archive> {
        let place = self.scratch_dir();
        let room = &mut Room {
            spool: &|| nameless_file(&place),
            place: &place,
            progress,
        };
        open(room).map_err(|e| self.explained(e))
    }

    /// Installs an image of a source in the store.
    pub(super) fn install(
        &self,
        purpose: Purpose,
        (source, resolved): (&dyn Source, &Resolved),
        mut names: Vec<String>,
        options: &ImportOptions,
        progress: &mut dyn Progress,
    ) -> Result<Image> {
        if options.source_names {
            names.extend(stored(resolved));
        }
        let mut damaged = HashSet::new();
        let start = Instant::now();
        loop {
            let known = match resolved.manifest {
                Some(_) => None,
                None => self.known_manifest(resolved, &damaged)?,
            };
            let install = Install {
                store: self,
                source,
                resolved: known.as_ref().unwrap_or(resolved),
                adopted: known.is_some(),
                options,
                purpose,
                damaged: &damaged,
            };
            match install
                .once(&names, progress)
                .map_err(|e| self.explained(e))?
            {
                Attempt::Installed(image) => return Ok(image),
                // The next attempt reads these blobs from the source.
                Attempt::Damaged(digests) => damaged.extend(digests),
                Attempt::Retry if start.elapsed() < options.patience => {}
                Attempt::Retry => {
                    let why = "other processes remove its blobs as fast as they come";
                    let subject = format!("{}: {why}", source.label());
                    let error = Error::new(Kind::Busy, Step::ImportImage, subject);
                    return Err(error.with_cure("end the processes that remove images"));
                }
            }
        }
    }

    /// Adds a cure that names the full file system; the error names only the
    /// file.
    pub(super) fn explained(&self, error: Error) -> Error {
        let full = [libc::ENOSPC, libc::EDQUOT]
            .map(Some)
            .contains(&error.errno());
        if !full || error.cure().is_some() {
            return error;
        }
        let path = self.path();
        error.with_cure(format!(
            "more room below {path:?}, or another store (TARE_STORE)"
        ))
    }

    /// Returns the image with the manifest of the store, if a docker-archive
    /// without a manifest holds an image that is present. An equal
    /// configuration means an equal image, because it names all layers.
    fn known_manifest(
        &self,
        resolved: &Resolved,
        damaged: &HashSet<Digest>,
    ) -> Result<Option<Resolved>> {
        let manifests = self.index()?.manifests;
        for descriptor in manifests.into_iter().filter(Descriptor::is_manifest) {
            let Ok(document) = source::read_blob(&self.layout(), &descriptor) else {
                continue;
            };
            let subject = descriptor.digest.to_string();
            let Ok(manifest) = Manifest::parse(&document.bytes, &subject, &descriptor.media_type)
            else {
                continue;
            };
            let has =
                |l: &Descriptor| self.has_blob(&l.digest, l.size) && !damaged.contains(&l.digest);
            if manifest.config.digest == resolved.config.descriptor.digest
                && manifest.layers.iter().all(has)
            {
                let mut resolved = resolved.clone();
                for (layer, known) in resolved.layers.iter_mut().zip(&manifest.layers) {
                    layer.expected = Some((known.digest, known.size));
                }
                resolved.config.descriptor = manifest.config;
                resolved.manifest = Some(document);
                return Ok(Some(resolved));
            }
        }
        Ok(None)
    }
}

fn selector(options: &ImportOptions) -> Selector {
    Selector {
        tag: options.select.clone(),
        platform: options.platform.clone(),
        names: options.source_names,
    }
}

/// Returns the names that the source gives, in the form of the index.
fn stored(resolved: &Resolved) -> Vec<String> {
    let stored = |name: &String| name.parse::<Reference>().ok()?.stored_name();
    resolved.names.iter().filter_map(stored).collect()
}

/// Returns names in the form of the index.
pub(super) fn names(names: &[Reference]) -> Result<Vec<String>> {
    let filed = |reference: &Reference| match reference {
        Reference::Named { digest: None, .. } => Ok(reference.stored_name().expect("it is a name")),
        other => {
            let why = format_args!("{other} is not NAME[:TAG]");
            Err(Error::new(Kind::Invalid, Step::NameImage, why))
        }
    };
    names.iter().map(filed).collect()
}
