// SPDX-License-Identifier: MIT OR Apache-2.0
//! Serializes an image in the form that all faces print.
#![forbid(unsafe_code)]

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use super::{Image, ImageConfig, Root};

impl Serialize for Image {
    /// Keys: `reference`, `digest`, `created`, `size`, `architecture`, `os`,
    /// `config`, `notes`, `layers`, `root`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let config = self.config();
        let mut image = serializer.serialize_struct("Image", 10)?;
        image.serialize_field("reference", &self.reference().to_string())?;
        image.serialize_field("digest", &self.digest())?;
        image.serialize_field("created", &self.created())?;
        image.serialize_field("size", &self.size())?;
        image.serialize_field("architecture", &config.architecture)?;
        image.serialize_field("os", &config.os)?;
        image.serialize_field("config", config)?;
        image.serialize_field("notes", self.notes())?;
        image.serialize_field("layers", self.layers())?;
        match self.root() {
            Root::Host => image.serialize_field("root", "/")?,
            Root::Dir(dir) => image.serialize_field("root", dir)?,
            Root::Layers(layers) => image.serialize_field("root", layers)?,
        }
        image.end()
    }
}

impl Serialize for ImageConfig {
    /// Keys about running the image; variables as `NAME=VALUE`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let variables = self
            .env
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let mut config = serializer.serialize_struct("ImageConfig", 9)?;
        config.serialize_field("env", &variables.collect::<Vec<_>>())?;
        config.serialize_field("entrypoint", &self.entrypoint)?;
        config.serialize_field("cmd", &self.cmd)?;
        config.serialize_field("workdir", &self.workdir)?;
        config.serialize_field("user", &self.user)?;
        config.serialize_field("exposed_ports", &self.exposed_ports)?;
        config.serialize_field("volumes", &self.volumes)?;
        config.serialize_field("labels", &self.labels)?;
        config.serialize_field("stop_signal", &self.stop_signal)?;
        config.end()
    }
}
