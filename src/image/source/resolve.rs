// SPDX-License-Identifier: MIT OR Apache-2.0
//! Resolves an OCI index to images: by name, then by platform.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use serde::Deserialize;

use super::select::{self, Selected};
use super::{
    NAMES_SHOWN, Resolved, ResolvedLayer, Selector, Source, Take, blob_name, docker, read_blob,
    read_document,
};
use crate::error::{Error, Kind, Result, Step, shown};
use crate::image::config;
use crate::image::oci::{self, Descriptor, Index, Listed, Manifest, Strange};
use crate::image::platform::Platform;
use crate::image::reference::whole_name;

/// Nesting of indexes; two levels are in use in the field.
const DEPTH_MAX: usize = 4;
/// Documents read to find an image.
const INDEXES_MAX: usize = 64;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    image_layout_version: String,
}

/// Finds an image in an OCI image layout.
pub(super) fn find(source: &dyn Source, selector: &Selector) -> Result<Resolved> {
    let image = select::only(&source.label(), images(source)?, selector.tag.as_deref())?;
    resolve(source, image.top, selector)
}

/// Finds every image of an OCI image layout. Notes unreadable images with the
/// first image.
pub(super) fn each(source: &dyn Source, selector: &Selector, take: &mut Take<'_>) -> Result<()> {
    let (images, strange): (Vec<_>, Vec<_>) = images(source)?
        .into_iter()
        .partition(|image| !image.top.entries.is_empty());
    let mut strange = strange.iter().flat_map(|image| &image.top.strange);
    if images.is_empty() {
        let error = strange.next().map(|entry| unreadable(source, entry));
        let why = format!("{}: no image", source.label());
        return Err(error.unwrap_or_else(|| Error::new(Kind::NotFound, Step::FindImage, why)));
    }
    for image in images {
        let mut resolved = resolve(source, image.top, selector)?;
        let noted = strange.by_ref().take(NAMES_SHOWN);
        resolved.notes.extend(noted.map(Strange::passed_over));
        take(resolved)?;
    }
    Ok(())
}

fn images(source: &dyn Source) -> Result<Vec<Selected>> {
    let label = source.label();
    let marker = read_document(source, "oci-layout")?;
    let marker: Marker = oci::parse(&marker, Step::ParseOciLayout, &label)?;
    if !marker.image_layout_version.starts_with("1.") {
        let version = marker.image_layout_version;
        let why = format!("{label}: version {}, not 1", shown(&version));
        return Err(Error::new(Kind::Unsupported, Step::OpenOCIImageLayout, why));
    }
    let index = read_document(source, "index.json")?;
    let listed = Index::parse_each(&index, &format!("{label}: index.json"), None)?;
    Ok(select::images(listed))
}

fn resolve(source: &dyn Source, top: Listed, selector: &Selector) -> Result<Resolved> {
    let (names, notes) = select::names(&top);
    let mut resolved = find_manifest(source, top, selector.platform.as_ref())?;
    if !selector.names {
        return Ok(resolved);
    }
    let (given, strange) = docker::names(source, &resolved)?;
    if let (Some(name), Some(other)) = (names.first(), given.first())
        && !same_names(&names, &given)
    {
        let (name, other) = (shown(name), shown(other));
        let label = source.label();
        let why = format!("{label}: {name} in index.json is {other} in manifest.json");
        return Err(Error::new(Kind::Corrupt, Step::FindImage, why));
    }
    resolved.notes.extend(strange);
    if given.is_empty() {
        resolved.notes.extend(notes);
    }
    resolved.names = if given.is_empty() { names } else { given };
    Ok(resolved)
}

/// Returns whether both lists name the same images: Docker reads
/// `manifest.json` with the classic store, `index.json` with containerd's.
fn same_names(a: &[String], b: &[String]) -> bool {
    let whole = |names: &[String]| -> BTreeSet<String> {
        names.iter().map(|name| whole_name(name)).collect()
    };
    whole(a) == whole(b)
}

/// Reads the image behind descriptors, by platform.
pub(crate) fn find_manifest(
    source: &dyn Source,
    top: Listed,
    platform: Option<&Platform>,
) -> Result<Resolved> {
    let host = Platform::host();
    let wanted = platform.unwrap_or(&host).clone().canonical();
    let mut notes = Vec::new();
    let descriptor = choose(source, top, &wanted, &mut notes)?;
    let document = read_blob(source, &descriptor)?;
    let subject = format!("{}: {}", source.label(), descriptor.digest);
    let manifest = Manifest::parse(&document.bytes, &subject, &descriptor.media_type)?;
    let config = read_blob(source, &manifest.config)?;
    let parsed = config::parse(&config.bytes, &subject)?;
    config::check_platform(&subject, &parsed.config, platform)?;
    if parsed.diff_ids.len() != manifest.layers.len() {
        let (layers, diff_ids) = (manifest.layers.len(), parsed.diff_ids.len());
        let why = format!("{subject}: {layers} layers, but {diff_ids} diff ids");
        return Err(Error::new(Kind::Corrupt, Step::ParseImageConfig, why));
    }
    let layers = manifest.layers.iter().zip(&parsed.diff_ids);
    let layers = layers.map(|(layer, diff_id)| ResolvedLayer {
        member: blob_name(&layer.digest),
        expected: Some((layer.digest, layer.size)),
        diff_id: *diff_id,
    });
    Ok(Resolved {
        layers: layers.collect(),
        manifest: Some(document),
        config,
        names: Vec::new(),
        notes,
        parsed,
    })
}

/// Walks indexes breadth first, and takes the first manifest for the platform.
/// An exact variant goes before an open variant.
///
/// Skips an unreadable entry with a note, unless another reader could choose
/// the entry: the two would run different images.
fn choose(
    source: &dyn Source,
    top: Listed,
    wanted: &Platform,
    notes: &mut Vec<String>,
) -> Result<Descriptor> {
    let mut others = Vec::new();
    let mut second = None;
    let mut level = top;
    let mut indexes = 0;
    for _ in 0..=DEPTH_MAX {
        let mut next = Vec::new();
        let open = passed_over(source, level.strange, wanted, notes)?;
        for descriptor in level.entries {
            if descriptor.is_index() {
                indexes += 1;
                if indexes > INDEXES_MAX {
                    return Err(too_much(source));
                }
                next.push(descriptor);
                continue;
            }
            let platform = descriptor.platform.clone().map(Platform::canonical);
            match (platform, descriptor.is_manifest()) {
                (Some(platform), true) if platform == *wanted => return Ok(descriptor),
                (Some(platform), true) if !platform.serves(wanted) => {
                    others.push(platform.to_string().chars().take(100).collect())
                }
                (_, true) => second = second.or(Some(descriptor)),
                (_, false) => others.push(shown(&descriptor.media_type)),
            }
        }
        if let Some(strange) = open
            && second.as_ref().is_none_or(|d| d.platform.is_none())
        {
            return Err(unreadable(source, &strange));
        }
        if next.is_empty() || second.is_some() {
            return second.ok_or_else(|| none_for(source, wanted, others));
        }
        level = Listed::default();
        for index in next {
            let document = read_blob(source, &index)?;
            let subject = format!("{}: {}", source.label(), index.digest);
            let media_type = Some(index.media_type.as_str());
            let mut listed = Index::parse_each(&document.bytes, &subject, media_type)?;
            level.entries.append(&mut listed.entries);
            level.strange.append(&mut listed.strange);
        }
    }
    Err(too_much(source))
}

/// Notes entries for other platforms, and returns the first entry without a
/// platform: readers choose such an entry only if no other entry names the
/// platform.
fn passed_over(
    source: &dyn Source,
    strange: Vec<Strange>,
    wanted: &Platform,
    notes: &mut Vec<String>,
) -> Result<Option<Strange>> {
    let mut open = None;
    for entry in strange {
        let serves = |platform: &Platform| platform.serves(wanted);
        if entry.image && entry.platform.as_ref().is_some_and(serves) {
            return Err(unreadable(source, &entry));
        }
        if notes.len() < NAMES_SHOWN {
            notes.push(entry.passed_over());
        }
        if entry.image && entry.platform.is_none() {
            open = open.or(Some(entry));
        }
    }
    Ok(open)
}

fn unreadable(source: &dyn Source, entry: &Strange) -> Error {
    let why: String = entry.why.chars().take(300).collect();
    let why = format!("{}: {why}", source.label());
    Error::new(Kind::Corrupt, Step::ParseImageIndex, why)
}

fn too_much(source: &dyn Source) -> Error {
    let why = format!("{}: indexes nested too deep or too many", source.label());
    Error::new(Kind::Corrupt, Step::FindImage, why)
}

fn none_for(source: &dyn Source, wanted: &Platform, mut others: Vec<String>) -> Error {
    others.dedup();
    others.truncate(NAMES_SHOWN);
    let has = match others.is_empty() {
        true => String::new(),
        false => format!(", there is {}", others.join(", ")),
    };
    let why = format!("{}: no image for {wanted}{has}", source.label());
    Error::new(Kind::Unsupported, Step::FindImage, why)
}
