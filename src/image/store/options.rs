// SPDX-License-Identifier: MIT OR Apache-2.0
//! How an image is brought into a store.
#![forbid(unsafe_code)]

use std::time::Duration;

use crate::image::layer::Bounds;
use crate::image::{Platform, Reference};

/// How an image is brought into a store.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// Names to file the image under, [`Reference::Named`] each; taken from the
    /// image that has them. Default: none.
    pub names: Vec<Reference>,
    /// Also use the names that an archive gives its image, as `docker load` does.
    /// Default: false, since an archive could take the name of another image.
    pub source_names: bool,
    /// Which image of a source that holds several, by its name there or the digest of its
    /// manifest. Default: the only one.
    pub select: Option<String>,
    /// Which platform of an index. Default: this machine's.
    pub platform: Option<Platform>,
    /// How much a layer may ask for. Default: [`Bounds::default`].
    pub bounds: Bounds,
    /// One syncfs(2) before the image becomes visible and one fsync(2) of each
    /// directory that leads to it: a power cut leaves the image whole or
    /// absent, and whole once the call has returned. Default: true.
    pub sync: bool,
    /// How long to wait for a process that builds the same layer. Default: 10 minutes.
    pub patience: Duration,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            source_names: false,
            select: None,
            platform: None,
            bounds: Bounds::default(),
            sync: true,
            patience: Duration::from_secs(600),
        }
    }
}
