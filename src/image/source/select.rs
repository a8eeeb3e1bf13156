// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tells the images of an `index.json` apart, and selects by name.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use super::NAMES_SHOWN;
use crate::error::{Error, Kind, Result, Step, shown};
use crate::image::Reference;
use crate::image::digest::Digest;
use crate::image::oci::{Descriptor, IMAGE_NAME, Listed, REF_NAME, Strange};
use crate::image::reference::{is_ref_name, same_name};

/// Name that skopeo and umoci give an image by default.
const DEFAULT: &str = "latest";

/// An image: its entries for some platform or under some name.
#[derive(Debug)]
pub(super) struct Selected {
    key: Key,
    pub(super) top: Listed,
}

/// Common property of the entries of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    /// containerd gives each image the whole name, and only the tag as
    /// `ref.name`: two images of an archive may both be `latest` there.
    Name(String),
    /// Entries with a platform and without a name are a single image.
    Platforms,
    /// An entry with neither is an image by itself.
    Digest(Digest),
}

impl Key {
    fn of(entry: &Descriptor) -> Self {
        let name = name(|key| entry.annotation(key));
        match (name, &entry.platform) {
            (Some(name), _) => Self::Name(name.to_owned()),
            (None, Some(_)) => Self::Platforms,
            (None, None) => Self::Digest(entry.digest),
        }
    }
}

fn name<'a>(annotation: impl Fn(&str) -> Option<&'a str>) -> Option<&'a str> {
    let given = |key| annotation(key).filter(|name| !name.is_empty());
    given(IMAGE_NAME).or_else(|| given(REF_NAME))
}

/// Returns the images of an index, in order.
pub(super) fn images(listed: Listed) -> Vec<Selected> {
    let mut images: Vec<Selected> = Vec::new();
    for entry in listed.entries {
        let image = group(&mut images, Key::of(&entry));
        image.top.entries.push(entry);
    }
    let mut images = merged(images);
    for entry in listed.strange {
        add_strange(&mut images, entry);
    }
    images
}

fn group(images: &mut Vec<Selected>, key: Key) -> &mut Selected {
    let at = images.iter().position(|image| image.key == key);
    let at = at.unwrap_or_else(|| {
        let top = Listed::default();
        images.push(Selected { key, top });
        images.len() - 1
    });
    &mut images[at]
}

/// Merges an image that has several names.
fn merged(images: Vec<Selected>) -> Vec<Selected> {
    let digests = |image: &Selected| -> BTreeSet<Digest> {
        image.top.entries.iter().map(|entry| entry.digest).collect()
    };
    let mut merged: Vec<(BTreeSet<Digest>, Selected)> = Vec::new();
    for image in images {
        let digests = digests(&image);
        match merged.iter_mut().find(|(known, _)| *known == digests) {
            Some((_, known)) => {
                known.top.entries.extend(image.top.entries);
                if let (Key::Platforms | Key::Digest(_), Key::Name(_)) = (&known.key, &image.key) {
                    known.key = image.key;
                }
            }
            None => merged.push((digests, image)),
        }
    }
    merged.into_iter().map(|(_, image)| image).collect()
}

/// Adds an unreadable entry to the image of the same name. Without a name, adds
/// the entry to each nameless image, because it could be any of them for some
/// platform.
fn add_strange(images: &mut Vec<Selected>, entry: Strange) {
    let name = name(|key| entry.annotations.get(key).map(String::as_str));
    if let Some(name) = name {
        let key = Key::Name(name.to_owned());
        group(images, key).top.strange.push(entry);
        return;
    }
    let nameless = |image: &&mut Selected| !matches!(image.key, Key::Name(_));
    let mut into = images.iter_mut().filter(nameless).peekable();
    if into.peek().is_some() {
        into.for_each(|image| image.top.strange.push(entry.clone()));
    } else if images.is_empty() {
        group(images, Key::Platforms).top.strange.push(entry);
    } else {
        // Images without a name get the entry too.
        let mut noted = entry;
        noted.image = false;
        images[0].top.strange.push(noted);
    }
}

/// Returns the image with the name. Without a name, returns the only image, or
/// the image called just `latest`.
pub(super) fn only(label: &str, images: Vec<Selected>, tag: Option<&str>) -> Result<Selected> {
    let known = known(&images);
    let several = images.len() > 1;
    let mut fitting: Vec<Selected> = match tag {
        Some(tag) => called(images, tag),
        None if several => preferred(images),
        None => images,
    };
    match (fitting.pop(), fitting.is_empty()) {
        (Some(only), true) => Ok(only),
        (None, _) => {
            let why = match tag {
                Some(tag) => format!("{label}: no image {}", shown(tag)),
                None => format!("{label}: no image"),
            };
            Err(one_of(Kind::NotFound, why, known))
        }
        (Some(_), false) => {
            let why = match tag {
                Some(tag) => format!("{label}: several images are {}", shown(tag)),
                None => format!("{label}: several images, none of them just \"latest\""),
            };
            Err(one_of(Kind::Invalid, why, known))
        }
    }
}

fn one_of(kind: Kind, why: String, known: Vec<String>) -> Error {
    let error = Error::new(kind, Step::FindImage, why);
    match known.is_empty() {
        true => error,
        false => error.with_cure(format!("one of {}", known.join(", "))),
    }
}

/// Returns words that select an image.
fn known(images: &[Selected]) -> Vec<String> {
    let word = |image: &Selected| match &image.key {
        // Other names cannot be typed, and may be unfit to be shown.
        Key::Name(name) => Some(name.clone()).filter(|name| is_ref_name(name)),
        Key::Digest(digest) => Some(digest.to_string()),
        Key::Platforms => None,
    };
    images.iter().filter_map(word).take(NAMES_SHOWN).collect()
}

/// Returns the images of a name: by the words of the index, else by another
/// spelling or by a digest.
fn called(images: Vec<Selected>, tag: &str) -> Vec<Selected> {
    let any = |image: &Selected, same: &dyn Fn(&str) -> bool| {
        let of = |entry: &Descriptor| {
            let named = [IMAGE_NAME, REF_NAME].map(|key| entry.annotation(key));
            named.into_iter().flatten().any(same) || same(&entry.digest.to_string())
        };
        let strange = |entry: &Strange| entry.annotations.values().any(|name| same(name));
        image.top.entries.iter().any(of) || image.top.strange.iter().any(strange)
    };
    let very = |image: &Selected| any(image, &|name| name == tag);
    if images.iter().any(very) {
        return images.into_iter().filter(very).collect();
    }
    let spelled = |image: &Selected| any(image, &|name| same_name(name, tag));
    images.into_iter().filter(spelled).collect()
}

/// Prefers, of several images, the image called just `latest`, the only named
/// image, or the only image with a platform: signatures and the like have
/// neither. Returns all images otherwise.
fn preferred(images: Vec<Selected>) -> Vec<Selected> {
    let is_default = |image: &Selected| {
        let alone = |entry: &Descriptor| {
            entry.annotation(REF_NAME) == Some(DEFAULT) && entry.annotation(IMAGE_NAME).is_none()
        };
        image.top.entries.iter().any(alone)
    };
    let is_named = |image: &Selected| matches!(image.key, Key::Name(_));
    let is_platforms = |image: &Selected| image.key == Key::Platforms;
    for wanted in [
        &is_default as &dyn Fn(&Selected) -> bool,
        &is_named,
        &is_platforms,
    ] {
        if images.iter().filter(|image| wanted(image)).count() == 1 {
            return images.into_iter().filter(|image| wanted(image)).collect();
        }
    }
    images
}

/// Returns whole names of an image, and notes about words that are no names.
pub(super) fn names(image: &Listed) -> (Vec<String>, Vec<String>) {
    let (mut names, mut notes) = (Vec::new(), Vec::new());
    for entry in &image.entries {
        let Some(name) = name(|key| entry.annotation(key)) else {
            continue;
        };
        if names.iter().any(|known| known == name) {
            continue;
        }
        match entry.annotation(IMAGE_NAME) == Some(name) || name.contains(['/', ':']) {
            true if is_whole(name) => names.push(name.to_owned()),
            true => notes.push(format!("{} is not a name: dropped", shown(name))),
            false => notes.push(format!("{} is a tag and no name: dropped", shown(name))),
        }
    }
    notes.dedup();
    (names, notes)
}

/// Returns whether an image can be filed under the text; text with a digest is
/// no name.
pub(super) fn is_whole(name: &str) -> bool {
    matches!(name.parse(), Ok(Reference::Named { digest: None, .. }))
}
