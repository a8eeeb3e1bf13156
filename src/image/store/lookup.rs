// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finds the images of a store by name, lists them, names them.
#![forbid(unsafe_code)]

use serde::Serialize;

use super::Images;
use super::cache::{Query, StoreState};
use super::import::names;
use super::index::select;
use super::install::Purpose;
use super::options::ImportOptions;
use crate::error::{Error, Kind, Result, Step};
use crate::image::oci::{Descriptor, Listed, Manifest, REF_NAME};
use crate::image::progress::Progress;
use crate::image::source::{self, Opened, Resolved};
use crate::image::{Digest, Image, Platform, Reference, config};

/// Lookups until an error counts, because another process may remove and
/// restore an image meanwhile.
const ATTEMPTS: usize = 5;

/// A line of the list of images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stored {
    /// `NAME:TAG`; `None` for an image without a name.
    pub name: Option<String>,
    /// Digest of the manifest.
    pub digest: Digest,
    /// Bytes of the blobs, as kept.
    pub size: u64,
    /// Time of creation, RFC 3339, as the image gives it.
    pub created: Option<String>,
    /// A `GOARCH` such as `amd64`; empty if the image gives no architecture.
    pub architecture: String,
    /// Number of layers.
    pub layers: usize,
    /// Reason if the image is unusable; then only `name` and `digest` are set.
    pub damage: Option<String>,
}

/// Stops before any work that takes time.
struct AtHand;

impl Progress for AtHand {
    fn keep_going(&mut self) -> bool {
        false
    }
}

impl Images {
    /// Opens an image: by name or digest in the store; from a layout or an
    /// archive, after an import if needed; or a directory or the host in place.
    ///
    /// The store keeps the layers while the image lives.
    ///
    /// # Errors
    /// [`Kind::NotFound`] with the known names as the cure, and those of
    /// [`Images::import`].
    pub fn image(&self, reference: &Reference) -> Result<Image> {
        self.image_with(reference, &ImportOptions::default(), &mut ())
    }

    /// Opens an image with options and progress, for an image that is imported
    /// first or has layers to be unpacked again.
    ///
    /// # Errors
    /// As [`Images::image`].
    pub fn image_with(
        &self,
        reference: &Reference,
        options: &ImportOptions,
        progress: &mut dyn Progress,
    ) -> Result<Image> {
        match reference {
            Reference::Host | Reference::Dir(_) => Image::in_place(reference),
            Reference::Oci { .. } | Reference::Archive(_) => {
                self.import_for(Purpose::Open, reference, options, progress)
            }
            Reference::Named { .. } | Reference::Digest(_) => {
                self.stored(reference, options, progress)
            }
        }
    }

    /// Opens an image that is present with all layers and needs no wait;
    /// otherwise returns `None`.
    ///
    /// # Errors
    /// As [`Images::image`].
    pub(crate) fn image_at_hand(&self, reference: &Reference) -> Result<Option<Image>> {
        if let Reference::Oci { .. } | Reference::Archive(_) = reference {
            // Only the documents tell the layers, and reading documents takes
            // time.
            return Ok(None);
        }
        match self.image_with(reference, &ImportOptions::default(), &mut AtHand) {
            Err(error) if error.errno() == Some(libc::ECANCELED) => Ok(None),
            image => image.map(Some),
        }
    }

    fn stored(
        &self,
        reference: &Reference,
        options: &ImportOptions,
        progress: &mut dyn Progress,
    ) -> Result<Image> {
        let asked = Query::new(reference, options.platform.as_ref());
        let seen = StoreState::now(self);
        if let Some(image) = seen.and_then(|seen| self.cached(&asked, &seen)) {
            return Ok(image);
        }
        let image = self.looked_up(reference, options, progress)?;
        if let Some(seen) = seen {
            self.keep_cached(asked, seen, &image);
        }
        Ok(image)
    }

    fn looked_up(
        &self,
        reference: &Reference,
        options: &ImportOptions,
        progress: &mut dyn Progress,
    ) -> Result<Image> {
        let layout = self.layout();
        let mut attempt = 0;
        // A missing name is an error at once. A missing blob may be a removal
        // that has just happened.
        let mut descriptors = self.find(reference)?;
        loop {
            attempt += 1;
            let found = self.found(descriptors, options.platform.as_ref());
            let image = found.and_then(|f| {
                self.install(Purpose::Open, (&layout, &f), Vec::new(), options, progress)
            });
            descriptors = match &image {
                Err(e) if e.kind() == Kind::NotFound => self.find(reference)?,
                _ => Vec::new(),
            };
            match image {
                Err(e) if e.kind() == Kind::NotFound && attempt < ATTEMPTS => {}
                Err(e) if e.kind() == Kind::NotFound && e.cure().is_none() => {
                    return Err(e.with_cure("import the image again"));
                }
                image => return image.map(|image| image.named(reference)),
            }
        }
    }

    /// Returns the documents and open layers of an image of the store. A
    /// removal does not end the reading of open layers.
    pub(in crate::image) fn find_open(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
    ) -> Result<(Opened, Resolved)> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            // As in `looked_up`.
            let found = self.found(self.find(reference)?, platform);
            let opened = found.and_then(|found| {
                let members = found.layers.iter().map(|layer| &layer.member);
                Ok((Opened::new(self.layout(), members)?, found))
            });
            match opened {
                Err(e) if e.kind() == Kind::NotFound && attempt < ATTEMPTS => {}
                other => return other,
            }
        }
    }

    fn found(&self, entries: Vec<Descriptor>, platform: Option<&Platform>) -> Result<Resolved> {
        let top = Listed {
            entries,
            ..Listed::default()
        };
        source::find_manifest(&self.layout(), top, platform)
    }

    /// Lists the images of the store, an entry per name.
    ///
    /// # Errors
    /// Those of reading the index; a damaged image is listed with the damage.
    pub fn list(&self) -> Result<Vec<Stored>> {
        let seen = self.list_now()?;
        if seen.iter().all(|stored| stored.damage.is_none()) {
            return Ok(seen);
        }
        // Another process may have removed an image since the index was read.
        // Without the lock, the first list must do.
        match self.lock_index() {
            Ok(_lock) => self.list_now(),
            Err(_) => Ok(seen),
        }
    }

    fn list_now(&self) -> Result<Vec<Stored>> {
        let describe = |descriptor: &Descriptor| {
            let mut stored = Stored {
                name: descriptor.annotation(REF_NAME).map(str::to_owned),
                digest: descriptor.digest,
                size: 0,
                created: None,
                architecture: String::new(),
                layers: 0,
                damage: None,
            };
            if let Err(e) = self.describe(descriptor, &mut stored) {
                stored.damage = Some(e.to_string());
            }
            stored
        };
        Ok(self.index()?.manifests.iter().map(describe).collect())
    }

    fn describe(&self, descriptor: &Descriptor, stored: &mut Stored) -> Result<()> {
        let layout = self.layout();
        if descriptor.is_index() {
            stored.size = descriptor.size;
            return Ok(());
        }
        let subject = descriptor.digest.to_string();
        let document = source::read_blob(&layout, descriptor)?;
        let manifest = Manifest::parse(&document.bytes, &subject, &descriptor.media_type)?;
        let config = source::read_blob(&layout, &manifest.config)?;
        let config = config::parse(&config.bytes, &subject)?.config;
        let layers = manifest.layers.iter().map(|layer| layer.size);
        stored.size = layers.fold(descriptor.size + manifest.config.size, u64::saturating_add);
        stored.created = config.created;
        stored.architecture = config.architecture;
        stored.layers = manifest.layers.len();
        Ok(())
    }

    /// Adds a name to an image of the store; another image with the name loses
    /// it.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if the store has no such image, [`Kind::Invalid`] if
    /// `name` is not `NAME[:TAG]`.
    pub fn tag(&self, reference: &Reference, name: &Reference) -> Result<()> {
        let names = names(std::slice::from_ref(name))?;
        let mut index = self.writable_index()?;
        let descriptor = self.find(reference)?.swap_remove(0);
        if index.add(&descriptor, &names) {
            index.complete_unsynced()?;
        }
        index.sync()
    }

    /// Returns the entries that a reference names; never empty.
    fn find(&self, reference: &Reference) -> Result<Vec<Descriptor>> {
        let all = self.index()?.manifests;
        let (found, others) = select(all, reference)?;
        if !found.is_empty() {
            return Ok(found);
        }
        Err(not_found(reference, &others, Some(HOST)))
    }
}

/// The view of the machine, which needs no image.
const HOST: &str = "host";

/// Returns the error for an image that is not in the store. The nearest name,
/// `also` among them, is the cure.
pub(super) fn not_found(
    reference: &Reference,
    known: &[Descriptor],
    also: Option<&'static str>,
) -> Error {
    let why = format_args!("{reference}: not in the store");
    let error = Error::new(Kind::NotFound, Step::FindImage, why);
    let names = known.iter().filter_map(|d| d.annotation(REF_NAME));
    let names = names.chain(also);
    let wanted = reference.to_string();
    let near = names.max_by(|a, b| {
        strsim::jaro_winkler(&wanted, a).total_cmp(&strsim::jaro_winkler(&wanted, b))
    });
    match near {
        Some(name) if strsim::jaro_winkler(&wanted, name) > 0.8 => error.with_cure(name.to_owned()),
        _ => error.with_cure("an import of it first, from oci:PATH or archive:FILE"),
    }
}
