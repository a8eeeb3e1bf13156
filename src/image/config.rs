// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads how to run an image: never from the host, and strictly where the words
//! have an effect.
#![forbid(unsafe_code)]

mod remarks;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Kind, Result, Step, shown};
use crate::image::digest::Digest;
use crate::image::layer::Notes;
use crate::image::oci::{self, LAYERS_MAX};
use crate::image::platform::{self, Platform};

/// The run-time half of an image's configuration, checked.
///
/// Only data: an image selects no mounts, devices, hooks or paths of the host.
/// OCI image spec, "Image Configuration"; Docker uses the same shape.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageConfig {
    /// Environment, in order, each name once. Default: empty.
    pub env: Vec<(String, String)>,
    /// Prefix of each command. Default: empty.
    pub entrypoint: Vec<String>,
    /// The default command, or the entry point's default arguments. Default:
    /// empty.
    pub cmd: Vec<String>,
    /// Absolute path. Default: `None`, which means `/`.
    pub workdir: Option<PathBuf>,
    /// `USER[:GROUP]`, as written. Default: `None`, which means `0:0`.
    pub user: Option<String>,
    /// Ports as `80/tcp`; a remark that opens no port. Default: empty.
    pub exposed_ports: Vec<String>,
    /// Directories meant to outlive a container; a remark. Default: empty.
    pub volumes: Vec<PathBuf>,
    /// Free text pairs. Default: empty.
    pub labels: BTreeMap<String, String>,
    /// A `GOARCH` such as `amd64`; empty if the image gives no architecture.
    pub architecture: String,
    /// `linux`, or empty if the image gives no system.
    pub os: String,
    /// Signal that asks the command to end; a remark, because the library sends
    /// no such signal. Default: `None`, which means 15 (`SIGTERM`).
    pub stop_signal: Option<i32>,
    /// Time of creation, RFC 3339, as written. Default: `None`.
    pub created: Option<String>,
    /// Sentences about words of the image that were dropped. No note holds a
    /// value of a variable or of a label.
    pub notes: Vec<String>,
}

/// A configuration and the layers of the image.
#[derive(Debug, Clone)]
pub(crate) struct Parsed {
    pub(crate) config: ImageConfig,
    /// Bottom first.
    pub(crate) diff_ids: Vec<Digest>,
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    architecture: Option<String>,
    #[serde(default)]
    os: Option<String>,
    #[serde(default)]
    created: Value,
    #[serde(default)]
    config: Option<Run>,
    rootfs: Rootfs,
}

#[derive(Deserialize)]
struct Rootfs {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    diff_ids: Option<Vec<Digest>>,
}

/// Keeps remarks as they are, so that a wrong type of a remark refuses no
/// image.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Run {
    env: Option<Vec<Option<String>>>,
    entrypoint: Option<Words>,
    cmd: Option<Words>,
    working_dir: Option<String>,
    user: Option<String>,
    exposed_ports: Value,
    volumes: Value,
    labels: Value,
    stop_signal: Value,
}

/// Docker reads a single text as a list of one element, and Go reads null as an
/// empty text.
#[derive(Deserialize)]
#[serde(untagged, expecting = "neither a text nor a list of texts")]
enum Words {
    One(String),
    Several(Vec<Option<String>>),
}

/// Reads and checks a configuration; `subject` names it in errors.
pub(crate) fn parse(json: &[u8], subject: &str) -> Result<Parsed> {
    let document: Document = oci::parse(json, Step::ParseImageConfig, subject)?;
    check(document).map_err(|why| {
        let why = format_args!("{subject}: {why}");
        Error::new(Kind::Corrupt, Step::ParseImageConfig, why)
    })
}

fn check(document: Document) -> Result<Parsed, String> {
    let diff_ids = document.rootfs.diff_ids.unwrap_or_default();
    if document.rootfs.kind != "layers" {
        return Err(format!(
            "rootfs.type is {}, not layers",
            shown(&document.rootfs.kind)
        ));
    }
    if diff_ids.len() > LAYERS_MAX {
        return Err("more than 500 layers".to_owned());
    }
    let run = document.config.unwrap_or_default();
    let mut notes = Notes::default();
    let notes_of = &mut notes;
    let config = ImageConfig {
        env: env(run.env.unwrap_or_default(), notes_of)?,
        entrypoint: entrypoint(words("Entrypoint", run.entrypoint, notes_of)?),
        cmd: words("Cmd", run.cmd, notes_of)?,
        workdir: workdir(run.working_dir.as_deref())?,
        user: user(run.user)?,
        exposed_ports: remarks::ports(run.exposed_ports, notes_of),
        volumes: remarks::volumes(run.volumes, notes_of),
        labels: remarks::labels(run.labels, notes_of),
        architecture: architecture(plain("architecture", document.architecture)?),
        os: plain("os", document.os)?.to_ascii_lowercase(),
        stop_signal: remarks::stop_signal(run.stop_signal, notes_of),
        created: remarks::created(document.created, notes_of),
        notes: notes.complete(),
    };
    Ok(Parsed { config, diff_ids })
}

/// Reads variables. Drops an entry without `=`, which other tools take as a
/// request to copy the host's variable, and notes the name. Never shows a
/// value.
fn env(entries: Vec<Option<String>>, notes: &mut Notes) -> Result<Vec<(String, String)>, String> {
    let mut env: Vec<(String, String)> = Vec::with_capacity(entries.len());
    let mut places = BTreeMap::new();
    for (n, entry) in (1..).zip(entries) {
        let entry = entry.unwrap_or_default();
        if entry.contains('\0') {
            return Err(format!("Env, entry {n}, holds a NUL"));
        }
        match entry.split_once('=') {
            Some((name, value)) if !name.is_empty() => match places.get(name) {
                Some(&place) => env[place] = (name.to_owned(), value.to_owned()),
                None => {
                    places.insert(name.to_owned(), env.len());
                    env.push((name.to_owned(), value.to_owned()));
                }
            },
            _ => notes.add(format!("Env, entry {n}, is not NAME=VALUE: dropped")),
        }
    }
    Ok(env)
}

/// Reads arguments, which may be secret: an error gives the position and not
/// the text.
fn words(key: &str, words: Option<Words>, notes: &mut Notes) -> Result<Vec<String>, String> {
    let words: Vec<String> = match words {
        None => Vec::new(),
        Some(Words::Several(words)) => words.into_iter().map(Option::unwrap_or_default).collect(),
        Some(Words::One(word)) => {
            notes.add(format!("{key} is a text, not a list: read as one word"));
            vec![word]
        }
    };
    match words.iter().position(|w| w.contains('\0')) {
        Some(n) => Err(format!("{key}, word {}, holds a NUL", n + 1)),
        None => Ok(words),
    }
}

/// Drops `[""]`, which resets the entry point of a base image in Docker and
/// podman.
fn entrypoint(words: Vec<String>) -> Vec<String> {
    match &words[..] {
        [word] if word.is_empty() => Vec::new(),
        _ => words,
    }
}

fn workdir(text: Option<&str>) -> Result<Option<PathBuf>, String> {
    match text {
        None | Some("") => Ok(None),
        Some(text) if text.contains('\0') => Err("WorkingDir holds a NUL".to_owned()),
        Some(text) => Ok(Some(Path::new("/").join(text))),
    }
}

/// Refuses text that can never be a user. The lookup in the sandbox decides the
/// rest.
fn user(text: Option<String>) -> Result<Option<String>, String> {
    match text.filter(|user| !user.is_empty()) {
        Some(user) if user.len() > 256 || user.contains(char::is_control) => {
            Err(format!("User {} is not USER[:GROUP]", shown(&user)))
        }
        user => Ok(user),
    }
}

fn architecture(text: String) -> String {
    let (architecture, _) = platform::canonical(&text);
    architecture
}

fn plain(key: &str, text: Option<String>) -> Result<String, String> {
    let text = text.unwrap_or_default();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if text.len() > 32 || !text.bytes().all(plain) {
        return Err(format!("{key} is {}", shown(&text)));
    }
    Ok(text)
}

/// Compares the configuration, which decides the platform of an image, with the
/// wanted platform.
pub(crate) fn check_platform(
    subject: &str,
    config: &ImageConfig,
    wanted: Option<&Platform>,
) -> Result<()> {
    let is = Platform {
        os: config.os.clone(),
        architecture: config.architecture.clone(),
        variant: String::new(),
    };
    let host = Platform::host();
    let wanted = wanted.unwrap_or(&host);
    let wanted = wanted.clone().canonical();
    let says = |ours: &str, wanted: &str| ours.is_empty() || ours == wanted;
    if says(&is.os, &wanted.os) && says(&is.architecture, &wanted.architecture) {
        return Ok(());
    }
    let why = format!("{subject}: the image is for {is}, not for {wanted}");
    let error = Error::new(Kind::Unsupported, Step::FindImage, why);
    Err(error.with_cure(format!("platform {is}, if this machine can run it")))
}

/// A layer of an image, as faces print it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayerInfo {
    /// Digest of the layer as kept, compressed or not.
    pub digest: Digest,
    /// Digest of the plain tar.
    pub diff_id: Digest,
    /// Bytes of the layer as kept.
    pub size: u64,
}

#[cfg(test)]
#[path = "config/tests.rs"]
mod tests;
