// SPDX-License-Identifier: MIT OR Apache-2.0
//! Docker's notations for what the spec writes otherwise.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tare::spec::{ByteSize, Mount, Network, Require, parse_duration};
use tare::{Error, Kind, Result};

fn wrong(step: &'static str, why: impl std::fmt::Display, cure: &'static str) -> Error {
    Error::new(Kind::Invalid, step, why).with_cure(cure)
}

/// One of a list of words, which the spec knows.
pub(crate) fn word<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_value(Value::from(text))
}

/// `NAME=VALUE`.
pub(crate) fn pair<T: FromStr<Err = Error>>(text: &str) -> Result<(String, T)> {
    let Some((name, value)) = text.split_once('=') else {
        let why = format_args!("{text:?} has no \"=\"");
        return Err(wrong("parse flag", why, "NAME=VALUE"));
    };
    Ok((name.to_owned(), value.parse()?))
}

/// `NAME=TEXT`, or a name for an empty text.
pub(crate) fn label(text: &str) -> Result<(String, String)> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    Ok((name.to_owned(), value.to_owned()))
}

/// `none`, `host`, or a path, also as podman writes it.
pub(crate) fn network(text: &str) -> Result<Network> {
    let path = text.strip_prefix("ns:").unwrap_or(text);
    match text {
        "none" => Ok(Network::None),
        "host" => Ok(Network::Host),
        _ if path.contains('/') => Ok(Network::Join(path.into())),
        _ => Err(wrong(
            "parse network",
            format_args!("{text:?} is not a network"),
            "none, host, or the path of a namespace",
        )),
    }
}

/// A time limit of a command.
pub(crate) fn timeout(text: &str) -> Result<Duration> {
    match parse_duration(text)? {
        Duration::ZERO => {
            let why = format_args!("{text:?} leaves a command no time");
            Err(wrong("parse timeout", why, "no --timeout, for no limit"))
        }
        limit => Ok(limit),
    }
}

/// `all`, or keys separated by commas.
pub(crate) fn require(text: &str) -> Result<Require> {
    Ok(match text {
        "all" => Require::All,
        keys => Require::AllBut(keys.split(',').map(str::to_owned).collect()),
    })
}

/// `TARGET[:OPTIONS]`.
pub(crate) fn tmpfs(text: &str) -> Result<Mount> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    let options: Vec<&str> = options.split(',').filter(|o| !o.is_empty()).collect();
    table(json!({"type": "tmpfs", "target": target, "options": options}))
}

/// `KEY=VALUE,...` with Docker's keys.
pub(crate) fn mount(text: &str) -> Result<Mount> {
    let mut found = json!({});
    let mut options = Vec::new();
    for part in text.split(',') {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        match key {
            "type" => found["type"] = value.into(),
            "source" | "src" => found["source"] = value.into(),
            "target" | "destination" | "dst" => found["target"] = value.into(),
            "readonly" | "ro" if matches!(value, "" | "1" | "true") => options.push("ro".into()),
            "readonly" | "ro" if matches!(value, "0" | "false") => options.push("rw".into()),
            "tmpfs-size" => options.push(format!("size={value}")),
            "tmpfs-mode" => options.push(format!("mode={value}")),
            _ => {
                return Err(wrong(
                    "parse mount",
                    format_args!("{part:?} is not known"),
                    "type=, source=, target=, readonly, tmpfs-size=, tmpfs-mode=",
                ));
            }
        }
    }
    found["options"] = options.into();
    table(found)
}

fn table(table: Value) -> Result<Mount> {
    serde_json::from_value(table).map_err(|e| Error::new(Kind::Invalid, "parse mount", e))
}

/// One `--security-opt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SecurityOption {
    /// Whether setuid programs gain nothing.
    NoNewPrivileges(bool),
    /// A profile in Docker's JSON form.
    SeccompFile(PathBuf),
    /// No system call filter.
    SeccompOff,
    /// The profile's own filter.
    SeccompDefault,
    /// Nothing masked, nothing read-only in `/proc` and `/sys`.
    SystemPathsUnconfined,
}

impl FromStr for SecurityOption {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (key, value) = text.split_once(['=', ':']).unwrap_or((text, ""));
        match (key, value) {
            ("no-new-privileges", "" | "true") => Ok(Self::NoNewPrivileges(true)),
            ("no-new-privileges", "false") => Ok(Self::NoNewPrivileges(false)),
            ("seccomp", "unconfined") => Ok(Self::SeccompOff),
            ("seccomp", "builtin") => Ok(Self::SeccompDefault),
            ("seccomp", file) if !file.is_empty() => Ok(Self::SeccompFile(file.into())),
            ("systempaths", "unconfined") => Ok(Self::SystemPathsUnconfined),
            _ => Err(wrong(
                "parse security option",
                format_args!("{text:?} is not known"),
                "no-new-privileges, seccomp=FILE, seccomp=unconfined, systempaths=unconfined",
            )),
        }
    }
}

/// Docker's sum of memory and swap as swap alone; `None` is no limit.
pub(crate) fn swap(sum: &str, memory: Option<ByteSize>) -> Result<Option<ByteSize>> {
    const STEP: &str = "parse memory-swap";
    if sum == "-1" {
        return Ok(None);
    }
    let sum: ByteSize = sum.parse()?;
    let Some(memory) = memory else {
        let why = "it is memory and swap together, and there is no limit on memory";
        return Err(wrong(STEP, why, "--memory SIZE, too"));
    };
    match sum.bytes().checked_sub(memory.bytes()) {
        Some(swap) => Ok(Some(ByteSize::new(swap))),
        None => Err(wrong(
            STEP,
            format_args!("{sum} is less than the {memory} of memory alone"),
            "the sum of memory and swap, or -1",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_swap_is_the_sum_of_both() {
        let size = |text: &str| -> Option<ByteSize> { Some(text.parse().unwrap()) };
        assert_eq!(swap("256m", size("256m")).unwrap(), size("0"));
        assert_eq!(swap("300m", size("256m")).unwrap(), size("44m"));
        assert_eq!(swap("-1", None).unwrap(), None);
        assert!(swap("1m", None).is_err());
        assert!(swap("1m", size("2m")).is_err());
    }

    #[test]
    fn mount_and_tmpfs_agree_with_the_spec() {
        let same = |mount: Mount, json: &str| {
            assert_eq!(
                mount,
                serde_json::from_str::<Mount>(json).unwrap(),
                "{json}"
            );
        };
        same(
            mount("type=bind,src=/a,dst=/b,readonly").unwrap(),
            r#""/a:/b:ro""#,
        );
        same(
            mount("type=cow,source=/a,target=/b").unwrap(),
            r#""/a:/b:cow""#,
        );
        let table = r#"{"type": "tmpfs", "target": "/t", "options": ["size=1m", "mode=700"]}"#;
        same(
            mount("type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=700").unwrap(),
            table,
        );
        same(tmpfs("/t:size=1m,mode=700").unwrap(), table);
        for text in [
            "src=/a,dst=/b",
            "type=bind,dst=/b",
            "type=bind,bind-propagation=shared",
        ] {
            assert!(mount(text).is_err(), "{text}");
        }
    }

    #[test]
    fn network_and_security_options_refuse_what_they_do_not_know() {
        assert_eq!(
            network("/run/netns/a").unwrap(),
            Network::Join("/run/netns/a".into())
        );
        assert!(network("bridge").is_err());
        assert_eq!(
            "no-new-privileges:false".parse::<SecurityOption>().unwrap(),
            SecurityOption::NoNewPrivileges(false)
        );
        assert!("apparmor=mine".parse::<SecurityOption>().is_err());
    }
}
