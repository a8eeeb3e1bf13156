// SPDX-License-Identifier: MIT OR Apache-2.0
//! JSON text to a value, with errors that name the key and its nearest neighbour.
#![forbid(unsafe_code)]

use serde::Deserialize;

use super::objects::Objects;
use crate::error::{Error, Kind, Result};

/// Reads options of any kind from JSON text, as [`super::Spec::from_json`] does; for faces whose
/// commands are JSON, too.
///
/// # Errors
/// [`Kind::Invalid`] with this step and the key's path, and for an unknown key its nearest neighbour.
pub fn from_json<'a, T: Deserialize<'a>>(step: &'static str, text: &'a str) -> Result<T> {
    let mut json = serde_json::Deserializer::from_str(text);
    let read = serde_path_to_error::deserialize(Objects(&mut json));
    let read = read.map_err(|e| invalid(step, text, &e))?;
    json.end()
        .map_err(|e| Error::new(Kind::Invalid, step, format_args!("not JSON: {e}")))?;
    Ok(read)
}

/// Turns serde's words into one of ours; the nearest key becomes the cure, as does that of a value's own error.
fn invalid(
    step: &'static str,
    json: &str,
    error: &serde_path_to_error::Error<serde_json::Error>,
) -> Error {
    let (inner, path) = (error.inner(), error.path().to_string());
    let (text, place) = match (inner.to_string(), inner.line(), inner.column()) {
        (text, 0, _) => (text, String::new()),
        (text, line, column) => {
            let place = format!(" at line {line} column {column}");
            (text.trim_end_matches(&place).to_owned(), place)
        }
    };
    let step = match path.as_str() {
        // "?" is a key that the text breaks off in.
        "." | "?" => step.to_owned(),
        path => format!("{step}: {path}"),
    };
    let quoted: Vec<&str> = text.split('`').skip(1).step_by(2).collect();
    if !inner.is_data() {
        return Error::new(Kind::Invalid, step, format_args!("not JSON: {text}{place}"));
    }
    // The path says it, but for who has a file before them; others may never have seen the text.
    let place = if json.contains('\n') { &place } else { "" };
    let (why, cure) = match text.split_once("; try: ") {
        Some((why, cure)) => (why, Some(cure.to_owned())),
        None => (text.as_str(), None),
    };
    let made = Error::new(Kind::Invalid, step, format_args!("{why}{place}"));
    if let Some(cure) = cure {
        return made.with_cure(cure);
    }
    match quoted.split_first() {
        Some((given, valid)) if text.starts_with("unknown ") => {
            match nearest(given, valid.iter().copied()) {
                Some(key) => made.with_cure(format!("{key:?}")),
                None => made,
            }
        }
        _ => made,
    }
}

/// The word that was probably meant, if one is near.
pub fn nearest<'a>(given: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const NEAR: f64 = 0.75;
    let near = |word: &&str| strsim::jaro_winkler(given, word);
    let nearest = words.max_by(|a, b| near(a).total_cmp(&near(b)));
    nearest.filter(|word| near(word) >= NEAR)
}
