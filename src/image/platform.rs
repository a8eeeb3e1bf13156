// SPDX-License-Identifier: MIT OR Apache-2.0
//! Platforms of images, and the choice among several.
#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{Error, Kind, Result, Step};

/// Operating system, architecture and variant, in the words of Go's `GOOS` and
/// `GOARCH`. OCI image spec, "Image Index", `platform`. Written
/// `linux/arm64/v8`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// Always `linux` for images that can run here.
    #[serde(default, deserialize_with = "nullable")]
    pub os: String,
    /// A `GOARCH` such as `amd64` or `arm64`.
    #[serde(default, deserialize_with = "nullable")]
    pub architecture: String,
    /// A variant such as `v7`; empty if the architecture has a single variant.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    pub variant: String,
}

impl Platform {
    /// Returns the platform of this machine.
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", ""),
            "x86" => ("386", ""),
            "aarch64" => ("arm64", "v8"),
            "arm" => ("arm", "v7"),
            "powerpc64" => ("ppc64le", ""),
            "loongarch64" => ("loong64", ""),
            other => (other, ""),
        };
        Self {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.to_owned(),
        }
    }

    /// Returns whether an image for `self` runs on `wanted`, under any name of
    /// the architecture. A variant counts only if both have a variant.
    pub fn serves(&self, wanted: &Self) -> bool {
        let (own, wanted) = (self.clone().canonical(), wanted.clone().canonical());
        own.os == wanted.os
            && own.architecture == wanted.architecture
            && (own.variant == wanted.variant
                || own.variant.is_empty()
                || wanted.variant.is_empty())
    }

    /// Returns the platform in Go's words.
    pub(crate) fn canonical(mut self) -> Self {
        let (architecture, variant) = canonical(&self.architecture);
        if self.variant.is_empty() {
            self.variant = variant.to_owned();
        }
        let number = |v: &str| v.len() == 1 && v.as_bytes()[0].is_ascii_digit();
        self.variant.make_ascii_lowercase();
        if architecture.starts_with("arm") && number(&self.variant) {
            self.variant.insert(0, 'v');
        }
        self.architecture = architecture;
        self.os.make_ascii_lowercase();
        self
    }
}

/// Reads null as Go does: as the zero value.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Returns an architecture in Go's words, and the variant that another name
/// implies. Accepts the names of containerd, which Docker and podman follow.
pub(crate) fn canonical(architecture: &str) -> (String, &'static str) {
    let lower = architecture.to_ascii_lowercase();
    let (name, variant) = match lower.as_str() {
        "x86_64" | "x86-64" => ("amd64", ""),
        "i386" => ("386", ""),
        "aarch64" => ("arm64", ""),
        "armhf" => ("arm", "v7"),
        "armel" => ("arm", "v6"),
        name => (name, ""),
    };
    (name.to_owned(), variant)
}

impl FromStr for Platform {
    type Err = Error;

    /// Reads `[linux/]ARCH[/VARIANT]`, and other names of an architecture such
    /// as `x86_64` and `aarch64`.
    ///
    /// # Errors
    /// [`Kind::Invalid`].
    fn from_str(text: &str) -> Result<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        let word = |w: &&str| {
            (1..=32).contains(&w.len())
                && w.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        let (os, architecture, variant) = match parts[..] {
            [architecture] => ("linux", architecture, ""),
            ["linux", architecture] => ("linux", architecture, ""),
            [os, architecture, variant] => (os, architecture, variant),
            _ => ("", "", ""),
        };
        if os != "linux" || !parts.iter().all(word) {
            return Err(
                Error::new(Kind::Invalid, Step::ParsePlatform, format_args!("{text:?}"))
                    .with_cure("linux/amd64 or linux/arm64/v8"),
            );
        }
        let written = Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.to_owned(),
        };
        Ok(written.canonical())
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if !self.variant.is_empty() {
            write!(f, "/{}", self.variant)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platform_serves_its_like_and_leaves_unnamed_variants_open() {
        let parse = |text: &str| text.parse::<Platform>().unwrap();
        assert!(parse("amd64").serves(&parse("linux/x86_64")));
        assert!(parse("arm64").serves(&parse("linux/arm64/v8")));
        assert!(parse("linux/arm/v7").serves(&parse("arm")));
        assert!(!parse("linux/arm/v6").serves(&parse("linux/arm/v7")));
        assert!(!parse("arm64").serves(&parse("amd64")));
        for (architecture, variant, wanted) in [
            ("x86_64", "", "amd64"),
            ("x86-64", "", "amd64"),
            ("AMD64", "", "x86_64"),
            ("i386", "", "386"),
            ("aarch64", "8", "linux/arm64/v8"),
            ("armhf", "", "linux/arm/v7"),
            ("armel", "", "linux/arm/v6"),
            ("arm", "7", "armhf"),
        ] {
            let written = Platform {
                os: "Linux".to_owned(),
                architecture: architecture.to_owned(),
                variant: variant.to_owned(),
            };
            assert!(written.serves(&parse(wanted)), "{architecture}");
            assert!(!written.serves(&parse("s390x")));
        }
        for text in "|/|windows/amd64/x|linux/|linux/a b|a/b/c/d|freebsd/amd64".split('|') {
            assert!(text.parse::<Platform>().is_err(), "{text:?}");
        }
    }
}
