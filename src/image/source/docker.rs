// SPDX-License-Identifier: MIT OR Apache-2.0
//! Resolves the `manifest.json` of a docker-archive to images.
#![forbid(unsafe_code)]

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::select::is_whole;
use super::{
    Document, NAMES_SHOWN, Resolved, ResolvedLayer, Selector, Source, Take, check_blob,
    read_document,
};
use crate::error::{Error, Kind, Result, Step, shown};
use crate::image::config;
use crate::image::digest::Digest;
use crate::image::oci::{self, Descriptor, LAYERS_MAX, OCI_CONFIG};
use crate::image::reference::same_name;

/// An image of `docker save`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default, deserialize_with = "tags")]
    repo_tags: Vec<Value>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// Finds an image in a docker-archive.
pub(super) fn find(source: &dyn Source, selector: &Selector) -> Result<Resolved> {
    let saved = choose(&source.label(), saved(source)?, selector.tag.as_deref())?;
    resolve(source, saved, selector)
}

/// Finds every image of a docker-archive.
pub(super) fn each(source: &dyn Source, selector: &Selector, take: &mut Take<'_>) -> Result<()> {
    let saved = saved(source)?;
    if saved.is_empty() {
        return choose(&source.label(), saved, None).map(drop);
    }
    for saved in saved {
        take(resolve(source, saved, selector)?)?;
    }
    Ok(())
}

/// Reads the images of `manifest.json`, which an archive without `oci-layout`
/// must have.
fn saved(source: &dyn Source) -> Result<Vec<Saved>> {
    let label = source.label();
    let mut images: Vec<Saved> = Vec::new();
    let read = read_manifest(source).map_err(|e| match e.kind() {
        Kind::NotFound => {
            let why = format!("{label}: neither oci-layout nor manifest.json in it");
            Error::new(Kind::Corrupt, Step::FindImage, why)
                .with_cure("an archive that docker save or skopeo wrote")
        }
        _ => e,
    })?;
    for mut image in read {
        let same =
            |known: &&mut Saved| known.config == image.config && known.layers == image.layers;
        match images.iter_mut().find(same) {
            Some(known) => known.repo_tags.append(&mut image.repo_tags),
            None => images.push(image),
        }
    }
    Ok(images)
}

fn resolve(source: &dyn Source, saved: Saved, selector: &Selector) -> Result<Resolved> {
    let label = source.label();
    let bytes = read_document(source, &saved.config)?;
    let digest = Digest::of(&bytes);
    if let Some(named) = digest_in(&saved.config) {
        let size = bytes.len() as u64;
        check_blob(source, (named, size), (digest, size))?;
    }
    let subject = format!("{label}: {}", shown(&saved.config));
    let parsed = config::parse(&bytes, &subject)?;
    config::check_platform(&subject, &parsed.config, selector.platform.as_ref())?;
    let layers = saved.layers.unwrap_or_default();
    if layers.len() != parsed.diff_ids.len() || layers.len() > LAYERS_MAX {
        let (layers, diff_ids) = (layers.len(), parsed.diff_ids.len());
        let why = format!("{subject}: {layers} layers, but {diff_ids} diff ids");
        return Err(Error::new(Kind::Corrupt, Step::ParseImageConfig, why));
    }
    let layers = layers.into_iter().zip(&parsed.diff_ids);
    let layers = layers.map(|(member, diff_id)| ResolvedLayer {
        member,
        expected: None,
        diff_id: *diff_id,
    });
    let (names, notes) = match selector.names {
        true => checked(saved.repo_tags),
        false => Default::default(),
    };
    Ok(Resolved {
        layers: layers.collect(),
        manifest: None,
        config: Document {
            descriptor: Descriptor::new(OCI_CONFIG, digest, bytes.len() as u64),
            bytes,
        },
        names,
        notes,
        parsed,
    })
}

/// Returns the names that a `manifest.json` beside an OCI layout gives the
/// image, and notes about invalid names; `docker save` writes both files.
pub(super) fn names(
    source: &dyn Source,
    resolved: &Resolved,
) -> Result<(Vec<String>, Vec<String>)> {
    let saved = match read_manifest(source) {
        Err(e) if e.kind() == Kind::NotFound => return Ok(Default::default()),
        saved => saved?,
    };
    let ours = |s: &Saved| digest_in(&s.config) == Some(resolved.config.descriptor.digest);
    Ok(checked(
        saved
            .into_iter()
            .filter(ours)
            .flat_map(|s| s.repo_tags)
            .collect(),
    ))
}

fn read_manifest(source: &dyn Source) -> Result<Vec<Saved>> {
    let json = read_document(source, "manifest.json")?;
    oci::parse(&json, Step::ParseManifestJson, &source.label())
}

fn choose(label: &str, mut saved: Vec<Saved>, tag: Option<&str>) -> Result<Saved> {
    let tags = |s: &Saved| checked(s.repo_tags.clone()).0;
    let known: Vec<String> = saved.iter().flat_map(tags).take(NAMES_SHOWN).collect();
    if let Some(tag) = tag {
        let same = |s: &Saved| tags(s).iter().any(|known| same_name(known, tag));
        saved.retain(same);
    }
    let (kind, why) = match (saved.pop(), saved.is_empty(), tag) {
        (Some(only), true, _) => return Ok(only),
        (None, _, None) => (Kind::NotFound, "no image".to_owned()),
        (None, _, Some(tag)) => (Kind::NotFound, format!("no image {}", shown(tag))),
        (Some(_), false, None) => (Kind::Invalid, "several images in it".to_owned()),
        (Some(_), false, Some(tag)) => {
            (Kind::Invalid, format!("several images are {}", shown(tag)))
        }
    };
    let error = Error::new(kind, Step::FindImage, format_args!("{label}: {why}"));
    Err(match known.is_empty() {
        true => error,
        false => error.with_cure(format!("one of {}", known.join(", "))),
    })
}

/// `<hex>.json` or `blobs/sha256/<hex>`: the image's id.
fn digest_in(member: &str) -> Option<Digest> {
    let last = member.rsplit('/').next()?;
    let hex = last.strip_suffix(".json").unwrap_or(last);
    format!("sha256:{hex}").parse().ok()
}

/// Returns the tags that are names, each once, and a note for each other tag.
fn checked(tags: Vec<Value>) -> (Vec<String>, Vec<String>) {
    let (mut names, mut notes) = (Vec::new(), Vec::new());
    for tag in tags {
        match tag {
            Value::String(name) if is_whole(&name) && !names.contains(&name) => names.push(name),
            Value::String(name) if is_whole(&name) => {}
            Value::String(name) if notes.len() < NAMES_SHOWN => {
                notes.push(format!("RepoTags {} is not a name: dropped", shown(&name)));
            }
            Value::String(_) | Value::Null => {}
            _ if notes.len() < NAMES_SHOWN => {
                notes.push("RepoTags has what is no text: dropped".to_owned());
            }
            _ => {}
        }
    }
    notes.dedup();
    (names, notes)
}

/// Reads tags of any type; null is the same as no tags.
fn tags<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Value>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Null => Vec::new(),
        Value::Array(tags) => tags,
        other => vec![other],
    })
}
