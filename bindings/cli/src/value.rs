// SPDX-License-Identifier: MIT OR Apache-2.0
//! Docker's notations of values of the spec.
#![forbid(unsafe_code)]

pub(crate) mod mount;

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use tare::spec::{ByteSize, Network, parse_duration};
use tare::{Error, Kind, Result};

fn wrong(step: &'static str, why: impl std::fmt::Display, cure: &'static str) -> Error {
    Error::new(Kind::Invalid, step, why).with_cure(cure)
}

/// Reads a word that the spec knows.
pub(crate) fn word<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_value(Value::from(text))
}

/// Reads `NAME=VALUE`.
pub(crate) fn pair<T: FromStr<Err = Error>>(text: &str) -> Result<(String, T)> {
    let Some((name, value)) = text.split_once('=') else {
        let why = format_args!("{text:?} has no \"=\"");
        return Err(wrong("parse flag", why, "NAME=VALUE"));
    };
    Ok((name.to_owned(), value.parse()?))
}

/// Reads `NAME=TEXT`, or a name for an empty text.
pub(crate) fn label(text: &str) -> Result<(String, String)> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    Ok((name.to_owned(), value.to_owned()))
}

/// Reads `none`, `host`, or a path, also in podman's notation.
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

/// Reads a time limit of a command.
pub(crate) fn timeout(text: &str) -> Result<Duration> {
    match parse_duration(text)? {
        Duration::ZERO => {
            let why = format_args!("{text:?} leaves a command no time");
            Err(wrong("parse timeout", why, "no --timeout, for no limit"))
        }
        limit => Ok(limit),
    }
}

/// Reads `true` or `false`, in the words of Docker's flags (Go's ParseBool).
pub(crate) fn boolean(text: &str) -> Result<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => {
            let why = format_args!("{text:?} is neither true nor false");
            Err(wrong("parse flag", why, "true, false"))
        }
    }
}

/// Reads a [`boolean`]; returns the word `true` or `false`.
pub(crate) fn boolean_word(text: &str) -> Result<OsString> {
    boolean(text).map(|on| on.to_string().into())
}

/// Converts Docker's share of processor time to `limits.cpu_weight`, in the
/// proportion of systemd: 1024 is 100.
pub(crate) fn cpu_shares(text: &str) -> Result<u16> {
    let shares = text
        .parse::<u32>()
        .ok()
        .filter(|n| (2..=262_144).contains(n));
    let Some(shares) = shares else {
        let why = format_args!("{text:?} is not between 2 and 262144");
        return Err(wrong("parse cpu-shares", why, "1024, the share of others"));
    };
    Ok((shares * 100 / 1024).clamp(1, 10_000) as u16)
}

/// Reads a file mode creation mask, in octal digits.
pub(crate) fn umask(text: &str) -> Result<u32> {
    let octal = u32::from_str_radix(text, 8).ok();
    octal.filter(|mask| *mask <= 0o777).ok_or_else(|| {
        let why = format_args!("{text:?} is not between 0 and 777 in octal");
        wrong("parse umask", why, "022")
    })
}

/// Reads `size=SIZE`.
pub(crate) fn storage(text: &str) -> Result<ByteSize> {
    match text.strip_prefix("size=") {
        Some(size) => size.parse(),
        None => {
            let why = format_args!("{text:?} is not known");
            Err(wrong("parse storage option", why, "size=SIZE"))
        }
    }
}

/// Reads a kind of namespace; returns whether it is the sandbox's own.
pub(crate) fn is_private(text: &str) -> Result<bool> {
    match text {
        "private" | "" => Ok(true),
        "host" => Ok(false),
        _ => {
            let why = format_args!("{text:?} is not a namespace");
            Err(wrong("parse namespace", why, "private, host"))
        }
    }
}

/// Reads a kind of IPC namespace; Docker has a further word for a namespace
/// that others may join.
pub(crate) fn ipc(text: &str) -> Result<bool> {
    match text {
        "shareable" => Ok(true),
        _ => is_private(text),
    }
}

/// A `--security-opt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SecurityOption {
    /// True if setuid programs gain no privileges.
    NoNewPrivileges(bool),
    /// A profile in Docker's JSON form.
    SeccompFile(PathBuf),
    /// No system call filter.
    SeccompOff,
    /// The profile's own filter.
    SeccompDefault,
    /// No masked and no read-only files in `/proc` and `/sys`.
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

/// Subtracts the memory from Docker's sum of memory and swap; `None` is no
/// limit.
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
    fn cpu_shares_keep_their_ends_and_their_middle() {
        for (shares, weight) in [("2", 1), ("512", 50), ("1024", 100), ("262144", 10_000)] {
            assert_eq!(cpu_shares(shares).unwrap(), weight, "{shares}");
        }
        for wrong in ["0", "1", "262145", "-1", "x"] {
            assert!(cpu_shares(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn booleans_are_those_of_docker() {
        assert!(boolean("T").unwrap() && !boolean("0").unwrap());
        assert!(boolean("yes").is_err());
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
