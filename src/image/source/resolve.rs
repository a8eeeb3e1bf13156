// SPDX-License-Identifier: MIT OR Apache-2.0
//! From an OCI index to one image: by name, then by platform.
#![forbid(unsafe_code)]

use serde::Deserialize;

use super::{
    Choice, Files, Found, FoundLayer, NAMES_SHOWN, blob_name, docker, read_blob, read_document,
};
use crate::error::{Error, Kind, Result, shown};
use crate::image::oci::{self, Descriptor, IMAGE_NAME, Index, Manifest, REF_NAME};
use crate::image::platform::Platform;
use crate::image::reference::is_ref_name;
use crate::image::{Reference, config};

/// Indexes within indexes; two are in use in the field.
const DEPTH_MAX: usize = 4;
/// Documents read to find one image.
const INDEXES_MAX: usize = 64;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    image_layout_version: String,
}

/// Finds one image in an OCI image layout.
pub(super) fn find(files: &dyn Files, choice: &Choice) -> Result<Found> {
    let label = files.label();
    let marker = read_document(files, "oci-layout")?;
    let marker: Marker = oci::parse(&marker, "parse oci-layout", &label)?;
    if !marker.image_layout_version.starts_with("1.") {
        let version = marker.image_layout_version;
        return Err(Error::new(
            Kind::Unsupported,
            "open OCI image layout",
            format_args!("{label}: version {}, not 1", shown(&version)),
        ));
    }
    let index = read_document(files, "index.json")?;
    let index = Index::parse(&index, &format!("{label}: index.json"), None)?;
    let top = named(&label, index.manifests, choice.tag.as_deref())?;
    let names = names(&top);
    let mut found = find_manifest(files, top, choice.platform.as_ref())?;
    found.names = match docker::names(files, &found)? {
        given if given.is_empty() => names,
        given => given,
    };
    Ok(found)
}

/// Reads the image behind some descriptors of which one is for the platform.
pub(crate) fn find_manifest(
    files: &dyn Files,
    top: Vec<Descriptor>,
    platform: Option<&Platform>,
) -> Result<Found> {
    let host = Platform::host();
    let descriptor = choose(files, top, platform.unwrap_or(&host))?;
    let document = read_blob(files, &descriptor)?;
    let subject = format!("{}: {}", files.label(), descriptor.digest);
    let manifest = Manifest::parse(&document.bytes, &subject, &descriptor.media_type)?;
    let config = read_blob(files, &manifest.config)?;
    let parsed = config::parse(&config.bytes, &subject)?;
    config::check_platform(&subject, &parsed.config, platform)?;
    if parsed.diff_ids.len() != manifest.layers.len() {
        let (layers, diff_ids) = (manifest.layers.len(), parsed.diff_ids.len());
        let why = format!("{subject}: {layers} layers, but {diff_ids} diff ids");
        return Err(Error::new(Kind::Corrupt, "parse image config", why));
    }
    let layers = manifest.layers.iter().zip(&parsed.diff_ids);
    let layers = layers.map(|(layer, diff_id)| FoundLayer {
        member: blob_name(&layer.digest),
        expected: Some((layer.digest, layer.size)),
        diff_id: *diff_id,
    });
    Ok(Found {
        layers: layers.collect(),
        manifest: Some(document),
        config,
        names: Vec::new(),
        parsed,
    })
}

/// The descriptors that go by the name, or all of them if there is one image only.
fn named(label: &str, all: Vec<Descriptor>, tag: Option<&str>) -> Result<Vec<Descriptor>> {
    let goes_by = |d: &Descriptor, name: &str| {
        d.annotation(REF_NAME) == Some(name) || d.annotation(IMAGE_NAME) == Some(name)
    };
    let mut tags: Vec<String> = all
        .iter()
        .filter_map(|d| d.annotation(REF_NAME))
        .map(str::to_owned)
        .collect();
    tags.dedup();
    let several = all.len() > 1 && tags.len() > 1;
    let wanted: Vec<Descriptor> = match tag {
        Some(tag) => all.into_iter().filter(|d| goes_by(d, tag)).collect(),
        None if several => all.into_iter().filter(|d| goes_by(d, "latest")).collect(),
        None => all,
    };
    if !wanted.is_empty() {
        return Ok(wanted);
    }
    // Others could not be typed, and might not be fit to be seen.
    tags.retain(|tag| is_ref_name(tag));
    tags.truncate(NAMES_SHOWN);
    let why = match tag {
        Some(tag) => format!("{label}: no image {}", shown(tag)),
        None if several => format!("{label}: several images, none of them \"latest\""),
        None => format!("{label}: no image"),
    };
    let kind = if several && tag.is_none() {
        Kind::Invalid
    } else {
        Kind::NotFound
    };
    let error = Error::new(kind, "find image", why);
    Err(match tags.is_empty() {
        true => error,
        false => error.with_cure(format!("one of {}", tags.join(", "))),
    })
}

/// Walks indexes breadth first, and takes the first manifest for the platform;
/// one that names the very variant goes before one that leaves it open.
fn choose(files: &dyn Files, top: Vec<Descriptor>, wanted: &Platform) -> Result<Descriptor> {
    let mut others = Vec::new();
    let mut second = None;
    let mut level = top;
    let mut indexes = 0;
    for _ in 0..=DEPTH_MAX {
        let mut next = Vec::new();
        for descriptor in level {
            if descriptor.is_index() {
                indexes += 1;
                if indexes > INDEXES_MAX {
                    return Err(too_much(files));
                }
                next.push(descriptor);
                continue;
            }
            match (&descriptor.platform, descriptor.is_manifest()) {
                (Some(platform), true) if platform == wanted => return Ok(descriptor),
                (Some(platform), true) if !platform.serves(wanted) => {
                    others.push(platform.to_string().chars().take(100).collect())
                }
                (_, true) => second = second.or(Some(descriptor)),
                (_, false) => others.push(shown(&descriptor.media_type)),
            }
        }
        if next.is_empty() || second.is_some() {
            return second.ok_or_else(|| none_for(files, wanted, others));
        }
        level = Vec::new();
        for index in next {
            let document = read_blob(files, &index)?;
            let subject = format!("{}: {}", files.label(), index.digest);
            level.extend(
                Index::parse(&document.bytes, &subject, Some(&index.media_type))?.manifests,
            );
        }
    }
    Err(too_much(files))
}

fn too_much(files: &dyn Files) -> Error {
    let why = format!("{}: indexes nested too deep or too many", files.label());
    Error::new(Kind::Corrupt, "find image", why)
}

fn none_for(files: &dyn Files, wanted: &Platform, mut others: Vec<String>) -> Error {
    others.dedup();
    others.truncate(NAMES_SHOWN);
    let has = match others.is_empty() {
        true => String::new(),
        false => format!(", there is {}", others.join(", ")),
    };
    let why = format!("{}: no image for {wanted}{has}", files.label());
    Error::new(Kind::Unsupported, "find image", why)
}

/// Whole names that the layout gives the image; `latest` alone is not one.
fn names(top: &[Descriptor]) -> Vec<String> {
    let named = top.iter().filter_map(|d| d.annotation(IMAGE_NAME));
    let valid = |name: &&str| matches!(name.parse(), Ok(Reference::Named { .. }));
    let mut names: Vec<String> = named.filter(valid).map(str::to_owned).collect();
    names.dedup();
    names
}
