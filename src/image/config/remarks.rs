// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads remarks of a configuration, which have no effect: a wrong remark is
//! dropped with a note, and refuses no image.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::shown;
use crate::image::layer::Notes;

/// Prefix of the library's own labels; an image's are dropped, so that they
/// cannot pose as labels of this library.
const RESERVED: &str = "libtare.";
/// Bytes of `created` that are kept.
const CREATED_MAX: usize = 80;

/// Ports as `80/tcp` or `80-90/udp`. Docker writes the protocol in lower case
/// since 23.0 and compares it so.
pub(super) fn ports(value: Value, notes: &mut Notes) -> Vec<String> {
    let number = |n: &str| n.parse::<u16>().is_ok_and(|_| !n.starts_with('+'));
    let valid = |port: &str| {
        let (range, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        number(first) && number(last) && matches!(protocol, "tcp" | "udp" | "sctp")
    };
    let mut ports = BTreeSet::new();
    for key in object("ExposedPorts", value, notes).keys() {
        let port = key.to_ascii_lowercase();
        match valid(&port) {
            true => drop(ports.insert(port)),
            false => notes.add(format!(
                "ExposedPorts {} is not PORT/PROTOCOL: dropped",
                shown(key)
            )),
        }
    }
    ports.into_iter().collect()
}

/// Reads volumes. Drops paths that lead out, because a caller may use the path
/// of a volume. CVE-2022-23648.
pub(super) fn volumes(value: Value, notes: &mut Notes) -> Vec<PathBuf> {
    let valid = |path: &String| {
        let path = Path::new(path);
        path.is_absolute()
            && !path.as_os_str().as_encoded_bytes().contains(&0)
            && path.components().all(|c| c != Component::ParentDir)
            && path.components().count() > 1
    };
    let all = object("Volumes", value, notes);
    let (kept, strange): (Vec<_>, Vec<_>) = all.into_iter().map(|(key, _)| key).partition(valid);
    for path in strange {
        let path = shown(&path);
        notes.add(format!("Volumes {path} is not a path below /: dropped"));
    }
    kept.into_iter().map(PathBuf::from).collect()
}

/// Reads labels. Notes name a label and never show the value.
pub(super) fn labels(value: Value, notes: &mut Notes) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for (key, value) in object("Labels", value, notes) {
        let name = shown(&key);
        if key.starts_with(RESERVED) {
            notes.add(format!("label {name} is in a reserved namespace: dropped"));
            continue;
        }
        match value {
            Value::String(value) => drop(labels.insert(key, value)),
            // Go reads null as the empty text.
            Value::Null => {
                notes.add(format!("label {name} is null: read as empty"));
                labels.insert(key, String::new());
            }
            other => notes.add(format!(
                "label {name} is {}, not a text: dropped",
                kind(&other)
            )),
        }
    }
    labels
}

/// Reads the stop signal. Docker uses SIGTERM if the image names no valid
/// signal.
pub(super) fn stop_signal(value: Value, notes: &mut Notes) -> Option<i32> {
    let text = text("StopSignal", value, notes)?;
    let number = signal(&text);
    if number.is_none() && !text.is_empty() {
        let text = shown(&text);
        notes.add(format!("StopSignal {text} is not a signal: dropped"));
    }
    number
}

/// Returns the time of creation, cut to a readable length.
pub(super) fn created(value: Value, notes: &mut Notes) -> Option<String> {
    let text = text("created", value, notes)?;
    Some(text.chars().take(CREATED_MAX).collect())
}

fn object(key: &str, value: Value, notes: &mut Notes) -> Map<String, Value> {
    match value {
        Value::Null => Map::new(),
        Value::Object(map) => map,
        other => {
            let kind = kind(&other);
            notes.add(format!("{key} is {kind}, not an object: dropped"));
            Map::new()
        }
    }
}

fn text(key: &str, value: Value, notes: &mut Notes) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => {
            notes.add(format!("{key} is {}, not a text: dropped", kind(&other)));
            None
        }
    }
}

/// Names a value's type and never shows the value.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Parses `SIGTERM`, `term`, `15`, `SIGRTMIN+3` or `SIGRTMAX-1`, signal(7).
/// Docker accepts the three old names, too.
fn signal(text: &str) -> Option<i32> {
    const RTMIN: i32 = 34;
    const RTMAX: i32 = 64;
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |rest: &str, sign: char| match rest {
        "" => Some(0),
        rest => rest.strip_prefix(sign)?.parse::<u8>().ok().map(i32::from),
    };
    let number = if let Ok(number) = text.parse::<u8>() {
        Some(i32::from(number))
    } else if let Some(rest) = name.strip_prefix("RTMIN") {
        offset(rest, '+').map(|n| RTMIN + n)
    } else if let Some(rest) = name.strip_prefix("RTMAX") {
        offset(rest, '-').map(|n| RTMAX - n)
    } else {
        let name = match name {
            "IOT" => "ABRT",
            "CLD" => "CHLD",
            "POLL" => "IO",
            name => name,
        };
        let signal = format!("SIG{name}").parse::<nix::sys::signal::Signal>();
        signal.ok().map(|signal| signal as i32)
    };
    number.filter(|n| (1..=RTMAX).contains(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signal_reads_every_usual_spelling() {
        let table = [
            ("TERM", Some(15)),
            ("SIGTERM", Some(15)),
            ("sigterm", Some(15)),
            ("SigInt", Some(2)),
            ("15", Some(15)),
            ("SIGPOLL", Some(29)),
            ("SIGCLD", Some(17)),
            ("SIGIOT", Some(6)),
            ("SIGRTMIN+3", Some(37)),
            ("rtmax-1", Some(63)),
            ("SIGFOO", None),
            ("SIGSIGTERM", None),
            ("0", None),
            ("65", None),
            ("100", None),
            ("-1", None),
        ];
        for (text, number) in table {
            assert_eq!(signal(text), number, "{text}");
        }
    }
}
