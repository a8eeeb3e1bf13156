// SPDX-License-Identifier: MIT OR Apache-2.0
//! The keys `security.devices` and `security.device_rules`.
#![forbid(unsafe_code)]

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::text::text;
use crate::error::{Error, Result, Step};

/// A device of the host, `SOURCE[:TARGET[:rwm]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The device node on the host.
    pub source: PathBuf,
    /// Path inside. Default: the same path.
    pub target: PathBuf,
    /// Reading allowed. Default: true.
    pub read: bool,
    /// Writing allowed. Default: true.
    pub write: bool,
    /// Making further nodes of it allowed. Default: true.
    pub mknod: bool,
}

impl FromStr for Device {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut parts = text.splitn(3, ':');
        let source = parts.next().unwrap_or_default();
        let target = parts.next().unwrap_or(source);
        let access = parts.next().unwrap_or("rwm");
        let known = is_access(access);
        if !source.starts_with('/')
            || !target.starts_with("/dev/")
            || target.contains("..")
            || !known
        {
            return Err(Error::invalid(
                Step::ParseDevice,
                format_args!("{text:?} is not a device"),
            )
            .with_cure("/dev/NAME[:/dev/NAME[:rwm]]"));
        }
        Ok(Self {
            source: source.into(),
            target: target.into(),
            read: access.contains('r'),
            write: access.contains('w'),
            mknod: access.contains('m'),
        })
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let access = access(self.read, self.write, self.mknod);
        let (source, target) = (self.source.display(), self.target.display());
        write!(f, "{source}:{target}:{access}")
    }
}

text!(Device);

/// A permission by number, `TYPE MAJOR:MINOR ACCESS` as in `c 10:200 rwm`; `a`
/// alone is everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceRule {
    /// Character devices (`c`, `a`).
    pub character: bool,
    /// Block devices (`b`, `a`).
    pub block: bool,
    /// Major number; any (`*`) if there is none.
    pub major: Option<u32>,
    /// Minor number; any (`*`) if there is none.
    pub minor: Option<u32>,
    /// Reading allowed.
    pub read: bool,
    /// Writing allowed.
    pub write: bool,
    /// Making nodes allowed.
    pub mknod: bool,
}

impl FromStr for DeviceRule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = |text: &str| match text {
            "*" => Some(None),
            digits => digits.parse().ok().map(Some),
        };
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let (kind, numbers, access) = match words.as_slice() {
            ["a"] => ("a", "*:*", "rwm"),
            [kind, numbers, access] => (*kind, *numbers, *access),
            _ => ("", "", ""),
        };
        let parsed = numbers.split_once(':');
        let parsed = parsed.and_then(|(major, minor)| number(major).zip(number(minor)));
        match parsed {
            Some((major, minor)) if matches!(kind, "a" | "b" | "c") && is_access(access) => {
                Ok(Self {
                    character: kind != "b",
                    block: kind != "c",
                    major,
                    minor,
                    read: access.contains('r'),
                    write: access.contains('w'),
                    mknod: access.contains('m'),
                })
            }
            _ => {
                let why = format_args!("{text:?} is not a device rule");
                let error = Error::invalid(Step::ParseDeviceRule, why);
                Err(error.with_cure("\"c 10:200 rwm\", \"b 8:* r\" or \"a\""))
            }
        }
    }
}

impl fmt::Display for DeviceRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |n: Option<u32>| n.map_or_else(|| "*".to_owned(), |n| n.to_string());
        let kind = match (self.character, self.block) {
            (true, true) => "a",
            (_, true) => "b",
            _ => "c",
        };
        let access = access(self.read, self.write, self.mknod);
        write!(
            f,
            "{kind} {}:{} {access}",
            number(self.major),
            number(self.minor)
        )
    }
}

text!(DeviceRule);

fn is_access(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| "rwm".contains(c))
}

fn access(read: bool, write: bool, mknod: bool) -> String {
    let each = [(read, 'r'), (write, 'w'), (mknod, 'm')];
    each.iter().filter_map(|(on, c)| on.then_some(*c)).collect()
}
