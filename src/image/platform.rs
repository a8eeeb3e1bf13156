// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which machine an image is for, and the choice among several.
#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};

/// Operating system, architecture and variant, in the words of Go's `GOOS` and
/// `GOARCH`. OCI image spec, "Image Index", `platform`. Written `linux/arm64/v8`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// Always `linux` for images that can run here.
    pub os: String,
    /// For example `amd64` or `arm64`.
    pub architecture: String,
    /// For example `v7`; empty if there is only one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

impl Platform {
    /// The platform of this machine.
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

    /// Whether an image for `self` is one for `wanted`. A variant counts only if
    /// both name one.
    pub fn serves(&self, wanted: &Self) -> bool {
        self.os == wanted.os
            && self.architecture == wanted.architecture
            && (self.variant == wanted.variant
                || self.variant.is_empty()
                || wanted.variant.is_empty())
    }
}

impl FromStr for Platform {
    type Err = Error;

    /// Reads `[linux/]ARCH[/VARIANT]`; `x86_64` and `aarch64` are understood too.
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
                Error::new(Kind::Invalid, "parse platform", format_args!("{text:?}"))
                    .with_cure("linux/amd64 or linux/arm64/v8"),
            );
        }
        let architecture = match architecture {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Ok(Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.to_owned(),
        })
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
        for text in [
            "",
            "/",
            "windows/amd64/x",
            "linux/",
            "linux/a b",
            "a/b/c/d",
            "freebsd/amd64",
        ] {
            assert!(text.parse::<Platform>().is_err(), "{text:?}");
        }
    }
}
