// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads JSON text, with errors that name the key and the nearest key.
#![forbid(unsafe_code)]

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_path_to_error::Segment;

use super::best_effort::is_part;
use super::objects::Objects;
use super::words;
use crate::error::{Error, Result, Sentence};

/// Reads options of any kind from JSON text, as [`super::Spec::from_json`]; for
/// faces whose commands are JSON, too.
///
/// # Errors
/// [`crate::Kind::Invalid`] with this step and the key's path; for an unknown
/// key the cure is the nearest.
pub fn from_json<'a, T: Deserialize<'a>>(step: impl Into<Sentence>, text: &'a str) -> Result<T> {
    let step: Sentence = step.into();
    let mut json = serde_json::Deserializer::from_str(text);
    let read = serde_path_to_error::deserialize(Objects(&mut json));
    let read = read.map_err(|e| invalid(step.clone(), text, &e))?;
    json.end()
        .map_err(|e| Error::invalid(step, format_args!("not JSON: {e}")))?;
    Ok(read)
}

/// Turns serde's error into an error of the crate. The cure is the nearest key,
/// or the cure of a value's own error.
fn invalid(
    step: Sentence,
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
        "." | "?" => step,
        path => step.key(path),
    };
    if !inner.is_data() {
        return no_json((step, &path), json, &text, &place);
    }
    // In a text of a single line the path is enough.
    let place = if json.contains('\n') { &place } else { "" };
    let is_secret = error.path().iter().any(is_environment);
    if let (Some((why, cure)), false) = (text.split_once("; try: "), is_secret) {
        let made = Error::invalid(step, format_args!("{why}{place}"));
        return made.with_cure(cure.to_owned());
    }
    let why = words::plain(&text, is_secret);
    let made = Error::invalid(step, format_args!("{why}{place}"));
    let quoted: Vec<&str> = text.split('`').skip(1).step_by(2).collect();
    match quoted.split_first() {
        Some((given, valid)) if text.starts_with("unknown ") => {
            let renamed = renamed(given).filter(|key| valid.iter().any(|v| is_part(key, v)));
            match renamed.or_else(|| nearest(given, valid.iter().copied())) {
                Some(key) => made.with_cure(format!("{key:?}")),
                None => made,
            }
        }
        _ => made,
    }
}

/// A failure that serde_json takes for bad syntax. The crate also calls a
/// number so that stands where a word of a list has to.
fn no_json((step, path): (Sentence, &str), json: &str, text: &str, place: &str) -> Error {
    if serde_json::from_str::<IgnoredAny>(json).is_err() {
        return Error::invalid(step, format_args!("not JSON: {text}{place}"));
    }
    let cure = (path == "network").then_some("\"none\" or \"host\"");
    let made = Error::invalid(step, "neither a word nor a table");
    match cure {
        Some(cure) => made.with_cure(cure),
        None => made,
    }
}

/// Returns whether a part of a path is an environment, which holds secrets.
fn is_environment(part: &Segment) -> bool {
    matches!(part, Segment::Map { key } if key == "env")
}

/// Keys of other container tools, and `require`; each with the key to use here.
const RENAMED: [(&str, &str); 21] = [
    ("binds", "mounts"),
    ("cap_del", "cap_drop"),
    ("cpu_count", "limits.cpus"),
    ("cpuset_cpus", "limits.cpuset"),
    ("cwd", "workdir"),
    ("environment", "env"),
    ("mem", "limits.memory"),
    ("mem_limit", "limits.memory"),
    ("memswap_limit", "limits.swap"),
    ("name", "labels"),
    ("nano_cpus", "limits.cpus"),
    ("net", "network"),
    ("network_mode", "network"),
    ("pids_limit", "limits.pids"),
    ("privileged", "security.profile"),
    ("read_only", "write"),
    ("require", "best_effort"),
    ("security_opt", "security"),
    ("shm_size", "limits.shm"),
    ("ulimits", "limits.rlimits"),
    ("volumes", "mounts"),
];

/// The dotted key that does here what `given` does in other tools.
pub(super) fn renamed(given: &str) -> Option<&'static str> {
    let found = RENAMED.iter().find(|(theirs, _)| *theirs == given);
    found.map(|(_, key)| *key)
}

/// Returns the word that was probably meant, if any is near.
pub fn nearest<'a>(given: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const NEAR: f64 = 0.75;
    let near = |word: &&str| strsim::jaro_winkler(given, word);
    let nearest = words.max_by(|a, b| near(a).total_cmp(&near(b)));
    nearest.filter(|word| near(word) >= NEAR)
}
