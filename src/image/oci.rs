// SPDX-License-Identifier: MIT OR Apache-2.0
//! Parses, bounds and checks the JSON documents of the OCI image spec and of
//! Docker's schema 2.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::{Error, Kind, Result, Step, shown};
use crate::image::digest::Digest;
use crate::image::platform::{Platform, nullable};

/// Size of the largest document that is read; other tools use the same bound.
pub(crate) const DOCUMENT_MAX: u64 = 4 << 20;
/// Number of layers that an overlay takes (`OVL_MAX_STACK`).
pub(crate) const LAYERS_MAX: usize = 500;
/// Entries of an index that are read.
const MANIFESTS_MAX: usize = 10_000;

pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.";
/// Key of an image's name inside a layout.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Key of an image's whole name, as containerd and `docker save` write it.
pub(crate) const IMAGE_NAME: &str = "io.containerd.image.name";

/// Points at a blob. OCI image spec, "Content Descriptors".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<Platform>,
    #[serde(
        default,
        deserialize_with = "texts",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) annotations: Option<BTreeMap<String, String>>,
    /// Keys of other tools, kept as they are.
    #[serde(flatten)]
    pub(crate) rest: serde_json::Map<String, Value>,
}

impl Descriptor {
    pub(crate) fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            platform: None,
            annotations: None,
            rest: serde_json::Map::new(),
        }
    }

    pub(crate) fn annotation(&self, key: &str) -> Option<&str> {
        Some(self.annotations.as_ref()?.get(key)?.as_str())
    }

    pub(crate) fn is_index(&self) -> bool {
        is_index(&self.media_type)
    }

    pub(crate) fn is_manifest(&self) -> bool {
        is_manifest(&self.media_type)
    }
}

fn is_index(media_type: &str) -> bool {
    matches!(media_type, OCI_INDEX | DOCKER_INDEX)
}

fn is_manifest(media_type: &str) -> bool {
    matches!(media_type, OCI_MANIFEST | DOCKER_MANIFEST)
}

fn is_image(media_type: &str) -> bool {
    is_index(media_type) || is_manifest(media_type)
}

/// A list of manifests. OCI image spec, "Image Index".
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index<Entry = Descriptor> {
    pub(crate) schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    pub(crate) manifests: Vec<Entry>,
    #[serde(flatten)]
    pub(crate) rest: serde_json::Map<String, Value>,
}

/// The entries of an index that another program wrote.
#[derive(Debug, Clone, Default)]
pub(crate) struct Listed {
    pub(crate) entries: Vec<Descriptor>,
    pub(crate) strange: Vec<Strange>,
}

/// An entry of an index that is no descriptor.
#[derive(Debug, Clone)]
pub(crate) struct Strange {
    /// Platform of the entry, as far as the entry can be read.
    pub(crate) platform: Option<Platform>,
    pub(crate) annotations: BTreeMap<String, String>,
    /// True if the entry has the words of an image or an index, so that another
    /// reader could choose it.
    pub(crate) image: bool,
    /// Position of the entry, and the reason.
    pub(crate) why: String,
}

impl Strange {
    fn new(place: usize, json: &str, error: &serde_json::Error) -> Self {
        let read: Value = serde_json::from_str(json).unwrap_or_default();
        let platform = Platform::deserialize(&read["platform"]).ok();
        let annotations = texts(&read["annotations"]).ok().flatten();
        let kind = read["mediaType"].as_str();
        Self {
            platform,
            image: read["artifactType"].is_null() && kind.is_some_and(is_image),
            annotations: annotations.unwrap_or_default(),
            why: format!("index entry {place}: {}", reason(error)),
        }
    }

    /// Returns the note that the entry was skipped.
    pub(crate) fn passed_over(&self) -> String {
        format!("{}: passed over", self.why)
    }
}

impl Index {
    /// Returns an index of no entries.
    pub(crate) fn empty() -> Self {
        Self {
            schema_version: 2,
            media_type: Some(OCI_INDEX.to_owned()),
            manifests: Vec::new(),
            rest: serde_json::Map::new(),
        }
    }

    /// Reads an index whose descriptor gave it `media_type`.
    pub(crate) fn parse(json: &[u8], subject: &str, media_type: Option<&str>) -> Result<Self> {
        Self::read(json, subject, media_type)
    }

    /// Reads an index; returns entries that are no descriptors apart.
    pub(crate) fn parse_apart(json: &[u8], subject: &str) -> Result<(Self, Vec<Value>)> {
        let read: Index<Value> = Index::read(json, subject, None)?;
        let mut strange = Vec::new();
        let mut manifests = Vec::new();
        for entry in read.manifests {
            match Descriptor::deserialize(&entry) {
                Ok(descriptor) => manifests.push(descriptor),
                Err(_) => strange.push(entry),
            }
        }
        let index = Self {
            schema_version: read.schema_version,
            media_type: read.media_type,
            manifests,
            rest: read.rest,
        };
        Ok((index, strange))
    }

    /// Returns the index as JSON, with `more` entries at the end.
    pub(crate) fn to_json_with(&self, more: &[Value]) -> Vec<u8> {
        let entry = |d: &Descriptor| serde_json::to_value(d).expect("a descriptor is plain data");
        let manifests = self.manifests.iter().map(entry);
        let index = Index {
            schema_version: self.schema_version,
            media_type: self.media_type.clone(),
            manifests: manifests.chain(more.iter().cloned()).collect(),
            rest: self.rest.clone(),
        };
        serde_json::to_vec(&index).expect("an index is plain data")
    }

    /// Reads an index of another program: an entry that is no descriptor does
    /// not spoil the others.
    pub(crate) fn parse_each(
        json: &[u8],
        subject: &str,
        media_type: Option<&str>,
    ) -> Result<Listed> {
        let index: Index<Box<RawValue>> = Index::read(json, subject, media_type)?;
        let mut listed = Listed::default();
        for (place, json) in (1..).zip(index.manifests) {
            match serde_json::from_str(json.get()) {
                Ok(descriptor) => listed.entries.push(descriptor),
                Err(e) => listed.strange.push(Strange::new(place, json.get(), &e)),
            }
        }
        Ok(listed)
    }
}

impl<Entry: DeserializeOwned> Index<Entry> {
    fn read(json: &[u8], subject: &str, media_type: Option<&str>) -> Result<Self> {
        let index: Self = parse(json, Step::ParseImageIndex, subject)?;
        let wrong = |why: &str| wrong(Step::ParseImageIndex, subject, why);
        if index.schema_version != 2 {
            return Err(wrong("schemaVersion is not 2"));
        }
        if ["layers", "config", "fsLayers"]
            .iter()
            .any(|key| index.rest.contains_key(*key))
        {
            return Err(wrong("both an index and a manifest"));
        }
        if index.manifests.len() > MANIFESTS_MAX {
            return Err(wrong("more than 10000 manifests"));
        }
        same_type(index.media_type.as_deref(), media_type).map_err(|why| wrong(&why))?;
        Ok(index)
    }
}

/// An image. OCI image spec, "Image Manifest"; Docker's schema 2 has the same
/// shape.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
    #[serde(flatten)]
    pub(crate) rest: serde_json::Map<String, Value>,
}

impl Manifest {
    /// Returns the manifest of an image that came without a manifest.
    pub(crate) fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(OCI_MANIFEST.to_owned()),
            config,
            layers,
            rest: serde_json::Map::new(),
        }
    }

    /// Reads a manifest whose descriptor gave it `media_type`.
    pub(crate) fn parse(json: &[u8], subject: &str, media_type: &str) -> Result<Self> {
        let manifest: Self = parse(json, Step::ParseImageManifest, subject)?;
        let wrong = |why: &str| wrong(Step::ParseImageManifest, subject, why);
        if manifest.schema_version != 2 {
            return Err(wrong("schemaVersion is not 2"));
        }
        if ["manifests", "fsLayers"]
            .iter()
            .any(|key| manifest.rest.contains_key(*key))
        {
            return Err(wrong("both a manifest and an index"));
        }
        same_type(manifest.media_type.as_deref(), Some(media_type)).map_err(|why| wrong(&why))?;
        if !matches!(
            manifest.config.media_type.as_str(),
            OCI_CONFIG | DOCKER_CONFIG
        ) {
            return Err(wrong(&format!(
                "config of type {} is not an image's",
                shown(&manifest.config.media_type)
            )));
        }
        if manifest.layers.len() > LAYERS_MAX {
            return Err(wrong("more than 500 layers"));
        }
        for layer in &manifest.layers {
            check_layer(layer).map_err(|why| wrong(&why))?;
        }
        Ok(manifest)
    }
}

/// Reads JSON from outside. Bounds the size here, the depth in the parser
/// (128), and refuses a known key that is given twice.
pub(crate) fn parse<T: DeserializeOwned>(json: &[u8], step: Step, subject: &str) -> Result<T> {
    if json.len() as u64 > DOCUMENT_MAX {
        return Err(wrong(step, subject, "larger than 4 MiB"));
    }
    serde_json::from_slice(json).map_err(|e| wrong(step, subject, &reason(&e)))
}

/// Returns an error of the parser without the quoted text, because a misplaced
/// value may be a secret.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let quoted = text.split_once(": string \"");
    match (quoted, text.rsplit_once("\", expected ")) {
        (Some((kind, _)), Some((_, expected))) => format!("{kind}: a text, expected {expected}"),
        _ => text,
    }
}

/// Reads annotations; null is the empty text.
fn texts<'de, D>(deserializer: D) -> Result<Option<BTreeMap<String, String>>, D::Error>
where
    D: Deserializer<'de>,
{
    let texts: Option<BTreeMap<String, Option<String>>> = Option::deserialize(deserializer)?;
    let text = |(key, text): (String, Option<String>)| (key, text.unwrap_or_default());
    Ok(texts.map(|texts| texts.into_iter().map(text).collect()))
}

fn wrong(step: Step, subject: &str, why: &str) -> Error {
    let why: String = why.chars().take(300).collect();
    Error::new(Kind::Corrupt, step, format_args!("{subject}: {why}"))
}

/// Refuses a document that contradicts its descriptor, because two readers
/// could see two images. CVE-2021-41190.
fn same_type(inside: Option<&str>, outside: Option<&str>) -> Result<(), String> {
    match (inside, outside) {
        (Some(inside), Some(outside)) if inside != outside => Err(format!(
            "mediaType {}, but its descriptor says {}",
            shown(inside),
            shown(outside)
        )),
        _ => Ok(()),
    }
}

/// Refuses a layer that is no tar at all. The codec follows from the content
/// later.
fn check_layer(layer: &Descriptor) -> Result<(), String> {
    let kind = layer.media_type.as_str();
    let tar = kind.starts_with(OCI_LAYER) || kind.starts_with(DOCKER_LAYER);
    if !tar || kind.contains("encrypted") {
        return Err(format!("layer of type {} cannot be unpacked", shown(kind)));
    }
    Ok(())
}

#[cfg(test)]
#[path = "oci/tests.rs"]
mod tests;
