// SPDX-License-Identifier: MIT OR Apache-2.0
//! Names the files that a sandbox starts from: an image, the machine, or a
//! directory.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use crate::backend::Lower;
use crate::image::{Image, ImageConfig, Root};

/// The root file system of a sandbox before anything is written to it.
#[derive(Debug)]
pub(crate) struct Rootfs {
    pub(crate) lower: Lower,
    pub(crate) config: ImageConfig,
    /// Keeps the layers in the store.
    image: Option<Image>,
}

impl Rootfs {
    /// A directory that is used as it is.
    pub(crate) fn plain(root: PathBuf) -> Self {
        Self {
            lower: Lower::Plain(root),
            config: ImageConfig::default(),
            image: None,
        }
    }

    /// Returns what was dropped of the image, and why.
    pub(crate) fn notes(&self) -> &[String] {
        self.image.as_ref().map_or(&[], Image::notes)
    }

    /// An image, with its configuration.
    pub(crate) fn of(image: Image) -> Self {
        let lower = match image.root() {
            Root::Host => Lower::Host,
            Root::Dir(dir) => Lower::Layers(vec![dir.clone()]),
            Root::Layers(layers) => Lower::Layers(layers.clone()),
        };
        Self {
            lower,
            config: image.config().clone(),
            image: Some(image),
        }
    }
}
