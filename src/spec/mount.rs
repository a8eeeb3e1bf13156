// SPDX-License-Identifier: MIT OR Apache-2.0
//! The `mounts` key: `SOURCE:TARGET[:options]` and its table form.
#![forbid(unsafe_code)]

mod options;

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::units::ByteSize;
use crate::error::{Error, Result, Step};

pub use options::MountAttrs;

/// A file or directory of the host, or an empty file system, at a path inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The file system or directory to mount.
    pub kind: MountKind,
    /// Absolute path inside; made if it is missing, never through a link that
    /// leaves the root.
    pub target: PathBuf,
    /// Restrictions, which hold for mounts below, too. Default: empty.
    pub attrs: MountAttrs,
}

/// The file system or directory to mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountKind {
    /// The host's file or directory itself, with the mounts below it.
    Bind(PathBuf),
    /// A private copy-on-write view of a host directory: writes stay inside.
    Cow(PathBuf),
    /// An empty file system in memory.
    Tmpfs(Tmpfs),
}

/// An empty file system in memory, tmpfs(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tmpfs {
    /// Its size. Default: the kernel's, half of memory.
    pub size: Option<ByteSize>,
    /// Mode of its root. Default: 1777, as Docker's.
    pub mode: u32,
}

impl Default for Tmpfs {
    fn default() -> Self {
        Self {
            size: None,
            mode: 0o1777,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<PathBuf>,
    target: PathBuf,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    options: Vec<String>,
}

impl Mount {
    /// Describes a mount without restrictions.
    pub fn new(kind: MountKind, target: impl Into<PathBuf>) -> Self {
        Self {
            kind,
            target: target.into(),
            attrs: MountAttrs::default(),
        }
    }

    fn from_table(table: Table) -> Result<Self> {
        let wrong = |why: String| Error::invalid(Step::ParseMount, why);
        let kind = match (table.kind.as_str(), table.source) {
            ("bind", Some(source)) => MountKind::Bind(source),
            ("cow", Some(source)) => MountKind::Cow(source),
            ("tmpfs", None) => MountKind::Tmpfs(Tmpfs::default()),
            ("bind" | "cow", None) => {
                return Err(wrong(format!("a {} needs a source", table.kind)));
            }
            ("tmpfs", Some(_)) => return Err(wrong("a tmpfs has no source".into())),
            (other, _) => {
                return Err(
                    wrong(format!("type {other:?} is not known")).with_cure("bind, cow or tmpfs")
                );
            }
        };
        let mut mount = Self::new(kind, table.target);
        for option in &table.options {
            mount.set_option(option)?;
        }
        mount.validate()?;
        Ok(mount)
    }

    pub(super) fn validate(&self) -> Result<()> {
        let wrong = |why: String| Err(Error::invalid(Step::CheckSpec.key("mounts"), why));
        let target = &self.target;
        if !target.is_absolute() || target.components().any(|c| c == Component::ParentDir) {
            return wrong(format!(
                "target {target:?} is not an absolute path without \"..\""
            ));
        }
        if target.components().count() == 1 {
            return wrong("target \"/\" would hide the image".into());
        }
        if let MountKind::Bind(source) | MountKind::Cow(source) = &self.kind
            && source.as_os_str().is_empty()
        {
            return wrong(format!("target {target:?} has an empty source"));
        }
        // tmpfs(5): that is a size without end.
        if let MountKind::Tmpfs(Tmpfs {
            size: Some(size), ..
        }) = &self.kind
            && size.bytes() == 0
        {
            return wrong(format!("target {target:?}: size 0 leaves no room at all"));
        }
        // CVE-2019-16884: a mount over a part of procfs turns restrictions off.
        // The sandbox's own /proc would hide a mount on /proc itself.
        if target.starts_with("/proc") || target.starts_with("/sys") || target == Path::new("/dev")
        {
            return wrong(format!(
                "target {target:?} would cover a file system of the kernel"
            ));
        }
        Ok(())
    }

    /// The form for reading: a path that is not UTF-8 shows its other bytes as
    /// U+FFFD.
    fn table(&self) -> Table {
        let text = |path: &Path| PathBuf::from(path.to_string_lossy().into_owned());
        let (kind, source) = match &self.kind {
            MountKind::Bind(source) => ("bind", Some(text(source))),
            MountKind::Cow(source) => ("cow", Some(text(source))),
            MountKind::Tmpfs(_) => ("tmpfs", None),
        };
        Table {
            kind: kind.into(),
            source,
            target: text(&self.target),
            options: self.written_options(),
        }
    }
}

/// `SOURCE:TARGET[:options]`; a colon or backslash in a path is written `\:` or
/// `\\`.
impl FromStr for Mount {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut parts = vec![String::new()];
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => parts.last_mut().expect("never empty").extend(chars.next()),
                ':' => parts.push(String::new()),
                c => parts.last_mut().expect("never empty").push(c),
            }
        }
        let (source, target, options) = match parts.as_slice() {
            [source, target] => (source, target, ""),
            [source, target, options] => (source, target, options.as_str()),
            _ => {
                return Err(Error::invalid(
                    Step::ParseMount,
                    format_args!("{text:?} is not a mount"),
                )
                .with_cure("SOURCE:TARGET[:options]"));
            }
        };
        Self::from_table(Table {
            kind: "bind".into(),
            source: Some(source.into()),
            target: target.into(),
            options: options
                .split(',')
                .filter(|o| !o.is_empty())
                .map(Into::into)
                .collect(),
        })
    }
}

impl Serialize for Mount {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.table().serialize(s)
    }
}

impl<'de> Deserialize<'de> for Mount {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Mount;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "\"SOURCE:TARGET[:options]\" or a table with type, source, target, options",
                )
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Mount, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Mount, A::Error> {
                let table = Table::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Mount::from_table(table).map_err(de::Error::custom)
            }
        }
        d.deserialize_any(Visitor)
    }
}
