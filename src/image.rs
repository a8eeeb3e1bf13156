// SPDX-License-Identifier: MIT OR Apache-2.0
//! Images: from bytes on disk to directories that can be mounted.
#![forbid(unsafe_code)]

mod config;
mod describe;
pub mod digest;
#[cfg(any(test, feature = "bench"))]
pub(crate) mod fuzz;
mod inflate;
pub mod layer;
mod oci;
mod ownership;
mod platform;
mod progress;
mod reference;
mod remove_tree;
mod source;
mod store;
pub(crate) mod tar;
mod unpack;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Error, Kind, Result, Step};

pub use config::{ImageConfig, LayerInfo};
pub use digest::Digest;
pub(crate) use inflate::inflate;
pub use ownership::Chown;
pub use platform::Platform;
pub use progress::Progress;
pub use reference::Reference;
pub use store::{
    CheckReport, Collected, Images, ImportOptions, ImportProgress, Importing, Problem, Repaired,
    Scratch, Stored, Swept,
};
pub(crate) use store::{HandedOver, MountRecord, default_path};
pub use unpack::{UnpackOptions, unpack};

/// An image that is ready to be mounted: a configuration and a root.
///
/// Cheap to clone. While any clone lives in the process that opened the image,
/// the store keeps the layers.
#[derive(Debug, Clone)]
pub struct Image {
    of: Arc<Inner>,
    lease: Arc<store::Lease>,
}

#[derive(Debug, Clone)]
struct Inner {
    reference: Reference,
    digest: Option<Digest>,
    config: ImageConfig,
    layers: Vec<LayerInfo>,
    root: Root,
    size: u64,
    notes: Vec<String>,
}

/// The files of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// The machine's own `/`.
    Host,
    /// A directory, used in place and never written.
    Dir(PathBuf),
    /// A directory per layer in the form that overlayfs stacks, bottom first,
    /// each once; empty for an image without layers.
    ///
    /// Layers hidden by an opaque layer are left out. A last directory may hold
    /// directories that a layer has without listing them, with the attributes
    /// that a lower layer lists.
    Layers(Vec<PathBuf>),
}

impl Image {
    /// Returns the reference that opened the image.
    pub fn reference(&self) -> &Reference {
        &self.of.reference
    }

    /// Returns the digest of the manifest; `None` for a directory and the host.
    pub fn digest(&self) -> Option<&Digest> {
        self.of.digest.as_ref()
    }

    /// Returns the configuration: how to run the image. Empty for a directory
    /// and the host.
    pub fn config(&self) -> &ImageConfig {
        &self.of.config
    }

    /// Returns the files.
    pub fn root(&self) -> &Root {
        &self.of.root
    }

    /// Returns the layers, bottom first, as the manifest lists them; empty for
    /// a directory and the host.
    pub fn layers(&self) -> &[LayerInfo] {
        &self.of.layers
    }

    /// Returns the time of creation, RFC 3339, as the image gives it.
    pub fn created(&self) -> Option<&str> {
        self.of.config.created.as_deref()
    }

    /// Returns a sentence for each part of the index, the configuration and the
    /// layers that was skipped, dropped or changed.
    ///
    /// Notes about an index exist only if the image was opened from outside the
    /// store.
    pub fn notes(&self) -> &[String] {
        &self.of.notes
    }

    /// Returns the bytes of the layers, as kept; zero for a directory and the
    /// host.
    pub fn size(&self) -> u64 {
        self.of.size
    }

    fn in_place(reference: &Reference) -> Result<Self> {
        let root = match reference {
            Reference::Host => Root::Host,
            Reference::Dir(path) => Root::Dir(directory(path)?),
            other => unreachable!("{other} is not used in place"),
        };
        let of = Inner {
            reference: reference.clone(),
            digest: None,
            config: ImageConfig::default(),
            layers: Vec::new(),
            root,
            size: 0,
            notes: Vec::new(),
        };
        Ok(Self::held(Arc::new(of), store::Lease::new(Vec::new())))
    }

    fn held(of: Arc<Inner>, lease: store::Lease) -> Self {
        Self {
            of,
            lease: Arc::new(lease),
        }
    }

    /// Builds an image of layers that are all present and held.
    fn in_store(
        store: &Images,
        manifest: &source::Document,
        parsed: &config::Parsed,
        held: BTreeMap<Digest, store::Lock>,
    ) -> Result<Self> {
        let digest = manifest.descriptor.digest;
        let subject = digest.to_string();
        let media_type = &manifest.descriptor.media_type;
        let listed = oci::Manifest::parse(&manifest.bytes, &subject, media_type)?.layers;
        let layers = listed
            .iter()
            .zip(&parsed.diff_ids)
            .map(|(layer, diff_id)| LayerInfo {
                digest: layer.digest,
                diff_id: *diff_id,
                size: layer.size,
            });
        let mut notes = parsed.config.notes.clone();
        let (mut stacked, whiteouts) = stack(store, &parsed.diff_ids, &mut notes)?;
        // A single layer without whiteouts needs no directory on top.
        if whiteouts || stacked.len() > 1 {
            stacked.extend(store.implied_tree(&stacked)?);
        }
        let of = Inner {
            reference: Reference::Digest(digest),
            digest: Some(digest),
            config: parsed.config.clone(),
            layers: layers.collect(),
            root: Root::Layers(stacked),
            size: listed
                .iter()
                .fold(0, |sum, layer| sum.saturating_add(layer.size)),
            notes,
        };
        let lease = store::Lease::new(held.into_values().collect());
        Ok(Self::held(Arc::new(of), lease))
    }

    fn named(self, reference: &Reference) -> Self {
        self.with(|of| of.reference = reference.clone())
    }

    /// Puts the notes of the source before the notes of the image.
    fn noted(self, notes: &[String]) -> Self {
        match notes {
            [] => self,
            notes => self.with(|of| drop(of.notes.splice(..0, notes.iter().cloned()))),
        }
    }

    fn with(self, change: impl FnOnce(&mut Inner)) -> Self {
        let mut of = Arc::unwrap_or_clone(self.of);
        change(&mut of);
        Self {
            of: Arc::new(of),
            lease: self.lease,
        }
    }
}

/// Returns the directories to stack, and whether these hold whiteouts.
///
/// A repeated layer counts at the last place: there the layer covers all that
/// the first did, and overlayfs rejects a directory given twice. Adds the notes
/// of the layers' unpacker to `notes`.
fn stack(
    store: &Images,
    diff_ids: &[Digest],
    notes: &mut Vec<String>,
) -> Result<(Vec<PathBuf>, bool)> {
    let mut whiteouts = false;
    let mut top_first: Vec<PathBuf> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids.iter().rev() {
        let tree = store.layer_tree(diff_id);
        if top_first.contains(&tree) {
            continue;
        }
        let layer = store::stacked(&tree)?;
        let noted = layer.notes.into_iter().filter(|note| !notes.contains(note));
        notes.extend(noted.collect::<Vec<_>>());
        whiteouts |= layer.whiteouts;
        top_first.push(tree);
        if layer.opaque_root {
            break;
        }
    }
    top_first.reverse();
    Ok((top_first, whiteouts))
}

fn directory(path: &std::path::Path) -> Result<PathBuf> {
    let wrong = |e| Error::io(Step::OpenImage, format_args!("dir:{}", path.display()), e);
    let path = path.canonicalize().map_err(wrong)?;
    match path.is_dir() {
        true => Ok(path),
        false => Err(Error::new(
            Kind::Invalid,
            Step::OpenImage,
            format_args!("dir:{}: not a directory", path.display()),
        )),
    }
}
