// SPDX-License-Identifier: MIT OR Apache-2.0
//! From the `manifest.json` of a docker-archive to one image.
#![forbid(unsafe_code)]

use serde::Deserialize;

use super::{Choice, Document, Files, Found, FoundLayer, NAMES_SHOWN, check_blob, read_document};
use crate::error::{Error, Kind, Result, shown};
use crate::image::digest::Digest;
use crate::image::oci::{self, Descriptor, LAYERS_MAX, OCI_CONFIG};
use crate::image::{Reference, config};

/// One image of `docker save`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// Finds one image in a docker-archive.
pub(super) fn find(files: &dyn Files, choice: &Choice) -> Result<Found> {
    let label = files.label();
    let saved = match read_manifest(files) {
        Err(e) if e.kind() == Kind::NotFound => {
            let why = format!("{label}: neither oci-layout nor manifest.json in it");
            let error = Error::new(Kind::Corrupt, "find image", why);
            return Err(error.with_cure("an archive that docker save or skopeo wrote"));
        }
        saved => choose(&label, saved?, choice.tag.as_deref())?,
    };
    let bytes = read_document(files, &saved.config)?;
    let digest = Digest::of(&bytes);
    if let Some(named) = digest_in(&saved.config) {
        let size = bytes.len() as u64;
        check_blob(&label, (named, size), (digest, size))?;
    }
    let subject = format!("{label}: {}", shown(&saved.config));
    let parsed = config::parse(&bytes, &subject)?;
    config::check_platform(&subject, &parsed.config, choice.platform.as_ref())?;
    let layers = saved.layers.unwrap_or_default();
    if layers.len() != parsed.diff_ids.len() || layers.len() > LAYERS_MAX {
        let (layers, diff_ids) = (layers.len(), parsed.diff_ids.len());
        let why = format!("{subject}: {layers} layers, but {diff_ids} diff ids");
        return Err(Error::new(Kind::Corrupt, "parse image config", why));
    }
    let layers = layers.into_iter().zip(&parsed.diff_ids);
    let layers = layers.map(|(member, diff_id)| FoundLayer {
        member,
        expected: None,
        diff_id: *diff_id,
    });
    Ok(Found {
        layers: layers.collect(),
        manifest: None,
        config: Document {
            descriptor: Descriptor::new(OCI_CONFIG, digest, bytes.len() as u64),
            bytes,
        },
        names: checked_names(&label, saved.repo_tags)?,
        notes: Vec::new(),
        parsed,
    })
}

/// The names that a `manifest.json` beside an OCI layout gives to the image;
/// `docker save` writes both.
pub(super) fn names(files: &dyn Files, found: &Found) -> Result<Vec<String>> {
    let saved = match read_manifest(files) {
        Err(e) if e.kind() == Kind::NotFound => return Ok(Vec::new()),
        saved => saved?,
    };
    let ours = |s: &Saved| digest_in(&s.config) == Some(found.config.descriptor.digest);
    let tags = saved.into_iter().find(ours).and_then(|s| s.repo_tags);
    checked_names(&files.label(), tags)
}

fn read_manifest(files: &dyn Files) -> Result<Vec<Saved>> {
    let json = read_document(files, "manifest.json")?;
    oci::parse(&json, "parse manifest.json", &files.label())
}

fn choose(label: &str, saved: Vec<Saved>, tag: Option<&str>) -> Result<Saved> {
    let tags = |s: &Saved| s.repo_tags.clone().unwrap_or_default();
    let known = saved.iter().flat_map(tags).filter(|tag| is_named(tag));
    let known: Vec<String> = known.take(NAMES_SHOWN).collect();
    let goes_by = |s: &Saved| tag.is_none_or(|tag| tags(s).iter().any(|t| t == tag));
    let mut fitting: Vec<Saved> = saved.into_iter().filter(goes_by).collect();
    match (fitting.pop(), fitting.is_empty()) {
        (Some(only), true) => Ok(only),
        (None, _) => {
            let why = match tag {
                Some(tag) => format!("{label}: no image {}", shown(tag)),
                None => format!("{label}: no image"),
            };
            let error = Error::new(Kind::NotFound, "find image", why);
            Err(match known.is_empty() {
                true => error,
                false => error.with_cure(format!("one of {}", known.join(", "))),
            })
        }
        (Some(_), false) => Err(Error::new(
            Kind::Invalid,
            "find image",
            format_args!("{label}: several images in it"),
        )
        .with_cure(format!("choose one of {}", known.join(", ")))),
    }
}

/// `<hex>.json` or `blobs/sha256/<hex>`: the image's id.
fn digest_in(member: &str) -> Option<Digest> {
    let last = member.rsplit('/').next()?;
    let hex = last.strip_suffix(".json").unwrap_or(last);
    format!("sha256:{hex}").parse().ok()
}

fn is_named(tag: &str) -> bool {
    matches!(tag.parse(), Ok(Reference::Named { .. }))
}

fn checked_names(label: &str, tags: Option<Vec<String>>) -> Result<Vec<String>> {
    let tags = tags.unwrap_or_default();
    for tag in &tags {
        if !is_named(tag) {
            let why = format!("{label}: RepoTags {} is not a name", shown(tag));
            return Err(Error::new(Kind::Corrupt, "parse manifest.json", why));
        }
    }
    Ok(tags)
}
