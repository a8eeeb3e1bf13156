// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tells the images of an `index.json` apart, and chooses one by name.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use super::NAMES_SHOWN;
use crate::error::{Error, Kind, Result, shown};
use crate::image::Reference;
use crate::image::digest::Digest;
use crate::image::oci::{Descriptor, IMAGE_NAME, Listed, REF_NAME, Strange};
use crate::image::reference::{is_ref_name, same_name};

/// The name that skopeo and umoci give an image unless told otherwise.
const DEFAULT: &str = "latest";

/// One image: the entries that are it for some platform or under some name.
#[derive(Debug)]
pub(super) struct Selected {
    key: Key,
    pub(super) top: Listed,
}

/// What entries of one image have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    /// containerd gives each image the whole name, and the tag alone as
    /// `ref.name`: two images of an archive may both be `latest` by that.
    Name(String),
    /// Entries without a name that say a platform are one image.
    Platforms,
    /// An entry with neither is an image of its own.
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

/// The images of an index, in its order.
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

/// One image under several names is one image.
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

/// An entry that cannot be read belongs to the image of its name; without one,
/// to each image that has none: it could be any of these for a platform.
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
        // Named images are told apart from what has no name.
        let mut noted = entry;
        noted.image = false;
        images[0].top.strange.push(noted);
    }
}

/// The image that goes by the name; without one, the only image, or the one
/// that is called just `latest`.
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
    let error = Error::new(kind, "find image", why);
    match known.is_empty() {
        true => error,
        false => error.with_cure(format!("one of {}", known.join(", "))),
    }
}

/// Words that choose one of the images.
fn known(images: &[Selected]) -> Vec<String> {
    let word = |image: &Selected| match &image.key {
        // Others could not be typed, and might not be fit to be seen.
        Key::Name(name) => Some(name.clone()).filter(|name| is_ref_name(name)),
        Key::Digest(digest) => Some(digest.to_string()),
        Key::Platforms => None,
    };
    images.iter().filter_map(word).take(NAMES_SHOWN).collect()
}

/// The images of a name: by the words of the index, else by another spelling of
/// them or by a digest.
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

/// Of several images the one called just `latest`, the only one with a name, or
/// the only one for a platform: signatures and the like have neither. All of
/// them if there is none of these.
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

/// Whole names of an image, and what was taken for none.
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

/// Whether an image can be filed under the text; what has a digest is no name.
pub(super) fn is_whole(name: &str) -> bool {
    matches!(name.parse(), Ok(Reference::Named { digest: None, .. }))
}
