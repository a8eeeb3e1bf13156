// SPDX-License-Identifier: MIT OR Apache-2.0
//! Names of entries: normalised paths below the root, and the whiteout marks.
#![forbid(unsafe_code)]

use crate::image::tar::{Fault, Parsed, refuse};

const NAME_MAX: usize = 255;
const PATH_MAX: usize = 4096;
const WHITEOUT: &[u8] = b".wh.";
/// Directory where aufs keeps files that have several names.
pub(super) const AUFS_LINKS: &[u8] = b".wh..wh.plnk";

/// A path below the root: no leading slash, no empty, `.` or `..` component,
/// no NUL. Empty for the root itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name(Vec<u8>);

impl Name {
    /// Normalises `raw`. A leading `/` means the archive's root, as in every
    /// unpacker; `..` is refused even inside the root.
    pub(crate) fn parse(raw: &[u8], depth: u32) -> Parsed<Self> {
        if raw.split(|&b| b == b'/').any(|part| part == b"..") {
            return refuse("\"..\" in a name");
        }
        Self::parse_cleaned(raw, depth)
    }

    /// Normalises `raw`, where `..` removes the part before it, symlink or not,
    /// as in Docker, containerd and podman. Refuses `..` that leaves the root.
    pub(super) fn parse_cleaned(raw: &[u8], depth: u32) -> Parsed<Self> {
        if raw.is_empty() {
            return refuse("empty name");
        }
        if raw.contains(&0) {
            return refuse("NUL in a name");
        }
        let mut parts: Vec<&[u8]> = Vec::new();
        for part in raw.split(|&b| b == b'/') {
            match part {
                b"" | b"." => {}
                b".." if parts.pop().is_some() || raw[0] == b'/' => {}
                b".." => return refuse("\"..\" out of the root in a name"),
                _ if part.len() > NAME_MAX => {
                    return refuse("a name's part is longer than 255 bytes");
                }
                _ => parts.push(part),
            }
        }
        let path = parts.join(&b'/');
        if path.len() >= PATH_MAX {
            return refuse("name of 4096 bytes or more");
        }
        if parts.len() > depth as usize {
            return Err(Fault::Beyond("depth", depth.into()));
        }
        Ok(Self(path))
    }

    /// Returns the path; empty for the root itself.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the directory and the last component; `None` for the root.
    pub(super) fn split(&self) -> Option<(&[u8], &[u8])> {
        split(&self.0)
    }
}

/// Returns the directory of a path and the last component; `None` for the root.
pub(super) fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    match path.iter().rposition(|&b| b == b'/') {
        Some(at) => Some((&path[..at], &path[at + 1..])),
        None => (!path.is_empty()).then_some((b"", path)),
    }
}

/// Returns the directories above `path`, the root first.
pub(super) fn above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path.iter().enumerate().filter(|(_, b)| **b == b'/');
    let root = (!path.is_empty()).then_some(&b""[..]);
    root.into_iter().chain(slashes.map(|(at, _)| &path[..at]))
}

/// Returns whether `path` is in `dir` or deeper.
pub(super) fn is_below(path: &[u8], dir: &[u8]) -> bool {
    match path.strip_prefix(dir) {
        Some([b'/', ..]) => true,
        Some(rest) => dir.is_empty() && !rest.is_empty(),
        None => false,
    }
}

/// Meaning of a last component in an overlay. Source: OCI image spec, layer,
/// "Whiteouts".
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mark<'a> {
    /// An ordinary entry.
    Plain,
    /// `.wh.NAME`: removes NAME of the layers below.
    Whiteout(&'a [u8]),
    /// `.wh..wh..opq`: removes all files of the layers below from this
    /// directory.
    Opaque,
    /// Other `.wh..wh.` names: bookkeeping of aufs, without meaning in an
    /// image.
    Aufs,
    /// A name of aufs for a file that entries link to, as Docker 1.x wrote
    /// them.
    AufsLink,
}

impl<'a> Mark<'a> {
    /// Reads the mark in the last component `base`; `dir` must hold no mark.
    pub(super) fn of(dir: &[u8], base: &'a [u8]) -> Parsed<Self> {
        if dir == AUFS_LINKS {
            return Ok(Self::AufsLink);
        }
        for part in dir.split(|&b| b == b'/') {
            if part == AUFS_LINKS {
                return Ok(Self::Aufs);
            }
            if part.starts_with(WHITEOUT) {
                return refuse("an entry below a whiteout");
            }
        }
        match base.strip_prefix(WHITEOUT) {
            None => Ok(Self::Plain),
            Some(b".wh..opq") => Ok(Self::Opaque),
            Some(rest) if rest.starts_with(WHITEOUT) => Ok(Self::Aufs),
            Some(b"" | b"." | b"..") => refuse("a whiteout that names no file"),
            Some(rest) => Ok(Self::Whiteout(rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_in_any_spelling_is_normalised_and_of_a_layer_cleaned() {
        for row in "a/b=a/b ./a//b/=a/b /a/./b=a/b ./= /= .= ...=... a/...=a/... \
            a/../b=b a/b/./..//../c=c a/..= /../a=a /..="
            .split(' ')
        {
            let (raw, path) = row.split_once('=').unwrap();
            let cleaned = Name::parse_cleaned(raw.as_bytes(), 9).unwrap();
            assert_eq!(cleaned.0, path.as_bytes(), "{raw}");
            let parsed = Name::parse(raw.as_bytes(), 9).ok();
            let has_dots = raw.split('/').any(|part| part == "..");
            assert_eq!(parsed, (!has_dots).then_some(cleaned), "{raw}");
        }
    }

    #[test]
    fn name_that_could_leave_or_overflow_is_refused() {
        let long = "x".repeat(256);
        let deep = "d/".repeat(10);
        let path = format!("{}/", "p".repeat(250)).repeat(17);
        for raw in ["", "..", "a/../b", "../a", "a/..", "a\0b", &long, &deep] {
            assert!(Name::parse(raw.as_bytes(), 9).is_err(), "{raw}");
        }
        assert!(Name::parse(path.as_bytes(), 99).is_err());
        for raw in ["", "..", "../a", "a/../../b", "a\0b", &long, &deep] {
            assert!(Name::parse_cleaned(raw.as_bytes(), 9).is_err(), "{raw}");
        }
    }

    #[test]
    fn mark_in_a_name_is_told_from_plain_entries() {
        let of = |name: &'static [u8]| Mark::of(b"", name).unwrap();
        assert_eq!(of(b"a.wh.b"), Mark::Plain);
        assert_eq!(of(b".wh.a"), Mark::Whiteout(b"a"));
        assert_eq!(of(b".wh..hidden"), Mark::Whiteout(b".hidden"));
        assert_eq!(of(b".wh..wh..opq"), Mark::Opaque);
        assert_eq!(of(b".wh..wh.plnk"), Mark::Aufs);
        assert_eq!(Mark::of(AUFS_LINKS, b"1.2").unwrap(), Mark::AufsLink);
        assert_eq!(Mark::of(b".wh..wh.plnk/d", b"x").unwrap(), Mark::Aufs);
        assert_eq!(Mark::of(b"d/.wh..wh.plnk", b"x").unwrap(), Mark::Aufs);
        for name in [&b".wh."[..], b".wh..", b".wh..."] {
            assert!(Mark::of(b"", name).is_err());
        }
        assert!(Mark::of(b"x/.wh.a", b"b").is_err());
    }
}
