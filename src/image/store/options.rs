// SPDX-License-Identifier: MIT OR Apache-2.0
//! Options of an import.
#![forbid(unsafe_code)]

use std::time::Duration;

use crate::image::layer::Bounds;
use crate::image::{Platform, Reference};

/// Options of an import.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// Names for the image, [`Reference::Named`] each; other images lose them.
    /// Default: empty.
    pub names: Vec<Reference>,
    /// Adds the names that an archive gives its image, as `docker load` does.
    /// Default: false, because an archive could take the name of another image.
    pub source_names: bool,
    /// Name or digest of the image in a source of several. Default: the only
    /// image.
    pub select: Option<String>,
    /// Platform in an index. Default: this machine's.
    pub platform: Option<Platform>,
    /// Most that a layer may ask for. Default: [`Bounds::default`].
    pub bounds: Bounds,
    /// Calls syncfs(2) before the image becomes visible, and fsync(2) on each
    /// directory above. A power cut then leaves the image whole or absent, and
    /// whole after the call has returned. Default: true.
    pub sync: bool,
    /// Patience with a process that builds the same layer. Default: 10 minutes.
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
