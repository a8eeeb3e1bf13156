// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an image says about how to run it: read strictly, and never from the host.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result, shown};
use crate::image::digest::Digest;
use crate::image::oci::{self, LAYERS_MAX};
use crate::image::platform::Platform;

/// Labels that begin so are ours; an image's are dropped, so that none can pose
/// as something this library wrote.
const RESERVED: &str = "libtare.";

/// The run-time half of an image's configuration, checked.
///
/// Data only: nothing in an image selects mounts, devices, hooks or paths of the
/// host. OCI image spec, "Image Configuration"; Docker's has the same shape.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageConfig {
    /// Environment, in order, each name once. Default: empty.
    pub env: Vec<(String, String)>,
    /// What a command is prefixed with. Default: empty.
    pub entrypoint: Vec<String>,
    /// The default command, or the entry point's default arguments. Default: empty.
    pub cmd: Vec<String>,
    /// Absolute. Default: none, which means `/`.
    pub workdir: Option<PathBuf>,
    /// `USER[:GROUP]`, as written. Default: none, which means `0:0`.
    pub user: Option<String>,
    /// Ports as `80/tcp`; a remark, nothing is opened. Default: empty.
    pub exposed_ports: Vec<String>,
    /// Directories meant to outlive a container; a remark. Default: empty.
    pub volumes: Vec<PathBuf>,
    /// Free text pairs. Default: empty.
    pub labels: BTreeMap<String, String>,
    /// In Go's words, for example `amd64`; empty if the image does not say.
    pub architecture: String,
    /// `linux`, or empty if the image does not say.
    pub os: String,
    /// The signal that asks for an end. Default: none, which means 15 (`SIGTERM`).
    pub stop_signal: Option<i32>,
    /// When the image was made, RFC 3339, as written. Default: none.
    pub created: Option<String>,
    /// What was dropped from the image's words, and why; one sentence each.
    pub notes: Vec<String>,
}

/// An image's configuration and the layers it is made of.
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
    created: Option<String>,
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

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Run {
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    working_dir: Option<String>,
    user: Option<String>,
    exposed_ports: Option<BTreeMap<String, serde::de::IgnoredAny>>,
    volumes: Option<BTreeMap<String, serde::de::IgnoredAny>>,
    labels: Option<BTreeMap<String, String>>,
    stop_signal: Option<String>,
}

/// Reads and checks a configuration; `subject` names it in errors.
pub(crate) fn parse(json: &[u8], subject: &str) -> Result<Parsed> {
    let document: Document = oci::parse(json, "parse image config", subject)?;
    check(document).map_err(|why| {
        Error::new(
            Kind::Corrupt,
            "parse image config",
            format_args!("{subject}: {why}"),
        )
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
    let mut notes = Vec::new();
    let config = ImageConfig {
        env: env(run.env.unwrap_or_default(), &mut notes)?,
        entrypoint: words("Entrypoint", run.entrypoint)?,
        cmd: words("Cmd", run.cmd)?,
        workdir: workdir(run.working_dir.as_deref())?,
        user: user(run.user)?,
        exposed_ports: ports(run.exposed_ports.unwrap_or_default())?,
        volumes: volumes(run.volumes.unwrap_or_default())?,
        labels: labels(run.labels.unwrap_or_default(), &mut notes),
        architecture: plain("architecture", document.architecture)?,
        os: plain("os", document.os)?,
        stop_signal: run
            .stop_signal
            .filter(|s| !s.is_empty())
            .map(|s| signal(&s))
            .transpose()?,
        created: document.created.map(|c| c.chars().take(80).collect()),
        notes,
    };
    Ok(Parsed { config, diff_ids })
}

/// An entry without `=` asks some tools to copy the host's variable into the
/// container; here it is dropped and said.
fn env(entries: Vec<String>, notes: &mut Vec<String>) -> Result<Vec<(String, String)>, String> {
    let mut env: Vec<(String, String)> = Vec::with_capacity(entries.len());
    let mut places = BTreeMap::new();
    for entry in entries {
        if entry.contains('\0') {
            return Err(format!("Env {} holds a NUL", shown(&entry)));
        }
        match entry.split_once('=') {
            Some((name, value)) if !name.is_empty() => match places.get(name) {
                Some(&place) => env[place] = (name.to_owned(), value.to_owned()),
                None => {
                    places.insert(name.to_owned(), env.len());
                    env.push((name.to_owned(), value.to_owned()));
                }
            },
            _ => notes.push(format!("Env {} is not NAME=VALUE: dropped", shown(&entry))),
        }
    }
    Ok(env)
}

fn words(key: &str, words: Option<Vec<String>>) -> Result<Vec<String>, String> {
    let words = words.unwrap_or_default();
    match words.iter().find(|w| w.contains('\0')) {
        Some(word) => Err(format!("{key} {} holds a NUL", shown(word))),
        None => Ok(words),
    }
}

fn workdir(text: Option<&str>) -> Result<Option<PathBuf>, String> {
    match text {
        None | Some("") => Ok(None),
        Some(text) if text.contains('\0') => Err("WorkingDir holds a NUL".to_owned()),
        Some(text) => Ok(Some(Path::new("/").join(text))),
    }
}

/// What a user name can be is decided where it is looked up; here only what can
/// never be one is refused.
fn user(text: Option<String>) -> Result<Option<String>, String> {
    match text.filter(|user| !user.is_empty()) {
        Some(user) if user.len() > 256 || user.contains(char::is_control) => {
            Err(format!("User {} is not USER[:GROUP]", shown(&user)))
        }
        user => Ok(user),
    }
}

fn ports(ports: BTreeMap<String, serde::de::IgnoredAny>) -> Result<Vec<String>, String> {
    let number = |n: &str| n.parse::<u16>().is_ok_and(|_| !n.starts_with('+'));
    let valid = |port: &String| {
        let (range, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        number(first) && number(last) && matches!(protocol, "tcp" | "udp" | "sctp")
    };
    match ports.keys().find(|port| !valid(port)) {
        Some(port) => Err(format!("ExposedPorts {} is not PORT/PROTOCOL", shown(port))),
        None => Ok(ports.into_keys().collect()),
    }
}

/// CVE-2022-23648: a volume's path is used later, so it must not lead out.
fn volumes(volumes: BTreeMap<String, serde::de::IgnoredAny>) -> Result<Vec<PathBuf>, String> {
    let valid = |path: &String| {
        let path = Path::new(path);
        path.is_absolute()
            && !path.as_os_str().as_encoded_bytes().contains(&0)
            && path.components().all(|c| c != Component::ParentDir)
            && path.components().count() > 1
    };
    match volumes.keys().find(|path| !valid(path)) {
        Some(path) => Err(format!("Volumes {} is not a path below /", shown(path))),
        None => Ok(volumes.into_keys().map(PathBuf::from).collect()),
    }
}

fn labels(
    mut labels: BTreeMap<String, String>,
    notes: &mut Vec<String>,
) -> BTreeMap<String, String> {
    labels.retain(|key, _| {
        let reserved = key.starts_with(RESERVED);
        if reserved {
            notes.push(format!(
                "label {} is in a reserved namespace: dropped",
                shown(key)
            ));
        }
        !reserved
    });
    labels
}

fn plain(key: &str, text: Option<String>) -> Result<String, String> {
    let text = text.unwrap_or_default();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if text.len() > 32 || !text.bytes().all(plain) {
        return Err(format!("{key} is {}", shown(&text)));
    }
    Ok(text)
}

/// `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3` or `SIGRTMAX-1`, signal(7).
fn signal(text: &str) -> Result<i32, String> {
    const RTMIN: i32 = 34;
    const RTMAX: i32 = 64;
    let name = text.strip_prefix("SIG").unwrap_or(text);
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
        let signal = format!("SIG{name}").parse::<nix::sys::signal::Signal>();
        signal.ok().map(|signal| signal as i32)
    };
    number
        .filter(|n| (1..=RTMAX).contains(n))
        .ok_or_else(|| format!("StopSignal {} is not a signal", shown(text)))
}

/// The configuration has the last word on what the image is for.
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
    let says = |ours: &str, wanted: &str| ours.is_empty() || ours == wanted;
    if says(&is.os, &wanted.os) && says(&is.architecture, &wanted.architecture) {
        return Ok(());
    }
    let why = format!("{subject}: the image is for {is}, not for {wanted}");
    let error = Error::new(Kind::Unsupported, "find image", why);
    Err(error.with_cure(format!("platform {is}, if this machine can run it")))
}

/// A layer's place in an image, as faces print it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayerInfo {
    /// The digest of the layer as it is kept, compressed or not.
    pub digest: Digest,
    /// The digest of its plain tar.
    pub diff_id: Digest,
    /// Bytes of the layer as it is kept.
    pub size: u64,
}

#[cfg(test)]
#[path = "config/tests.rs"]
mod tests;
