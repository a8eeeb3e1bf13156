// SPDX-License-Identifier: MIT OR Apache-2.0
//! The directories that a layer lists or implies, and those that an overlay of
//! layers must show.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::name::{above, is_below, split};
use crate::image::tar::Time;

/// A layer's directories and whiteouts by path: below the root, free of
/// symlinks, empty for the root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Listing(BTreeMap<Vec<u8>, Row>);

/// A layer's file at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Row {
    /// A directory; `opaque` hides the files of lower layers there.
    Directory { listed: Option<Shown>, opaque: bool },
    /// A whiteout.
    Whiteout,
}

/// Attributes of a directory in an overlay; ids are those inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Time,
}

impl Shown {
    /// Attributes of a directory that no entry lists.
    const IMPLIED: Self = Self {
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: Time::new(0, 0),
    };

    fn differs(&self, other: &Self) -> bool {
        (self.mode, self.uid, self.gid) != (other.mode, other.uid, other.gid)
    }
}

impl Listing {
    /// Notes a directory that no entry lists so far.
    pub(super) fn imply(&mut self, path: Vec<u8>) {
        self.0.entry(path).or_insert(Row::Directory {
            listed: None,
            opaque: false,
        });
    }

    /// Notes a directory that an entry lists.
    pub(super) fn list(&mut self, path: Vec<u8>, shown: Shown) {
        let hides = matches!(self.0.get(&path), Some(Row::Directory { opaque: true, .. }));
        let row = Row::Directory {
            listed: Some(shown),
            opaque: hides,
        };
        self.0.insert(path, row);
    }

    /// Notes a directory in the place of a whiteout: lower layers do not matter
    /// there.
    pub(super) fn revive(&mut self, path: Vec<u8>) {
        let row = Row::Directory {
            listed: Some(Shown::IMPLIED),
            opaque: true,
        };
        self.0.insert(path, row);
    }

    /// Notes that a directory hides the files of lower layers there.
    pub(super) fn set_opaque(&mut self, path: &[u8]) {
        if let Some(Row::Directory { opaque, .. }) = self.0.get_mut(path) {
            *opaque = true;
        }
    }

    /// Notes a whiteout.
    pub(super) fn white_out(&mut self, path: Vec<u8>) {
        self.0.insert(path, Row::Whiteout);
    }

    /// Returns the whiteouts below `path`.
    pub(super) fn whiteouts_below(&self, path: &[u8]) -> Vec<Vec<u8>> {
        let whiteouts = self.0.iter().filter(|(_, row)| **row == Row::Whiteout);
        let below = whiteouts.filter(|(at, _)| is_below(at, path));
        below.map(|(at, _)| at.clone()).collect()
    }

    /// Returns whether the layer has whiteouts.
    pub(crate) fn has_whiteouts(&self) -> bool {
        self.with_whiteouts().next().is_some()
    }

    /// Returns the directories that hold whiteouts.
    fn with_whiteouts(&self) -> impl Iterator<Item = &[u8]> {
        let whiteouts = self.0.iter().filter(|(_, row)| **row == Row::Whiteout);
        whiteouts
            .filter_map(|(path, _)| split(path))
            .map(|(dir, _)| dir)
    }

    /// Forgets `path` and all below, because another file takes the place.
    pub(super) fn forget(&mut self, path: &[u8]) {
        if self.0.remove(path).is_some() {
            let below = [path, b"/"].concat()..[path, b"0"].concat();
            let below: Vec<_> = self.0.range(below).map(|(path, _)| path.clone()).collect();
            for path in below {
                self.0.remove(&path);
            }
        }
    }

    /// Returns the listing as text: a word each for kind, mode, ids and time,
    /// then the path up to NUL.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (path, row) in &self.0 {
            let mut words = String::new();
            let (kind, shown) = match row {
                Row::Whiteout => ('w', Shown::IMPLIED),
                Row::Directory { listed, opaque } => match (listed, opaque) {
                    (None, false) => ('i', Shown::IMPLIED),
                    (None, true) => ('I', Shown::IMPLIED),
                    (Some(shown), false) => ('d', *shown),
                    (Some(shown), true) => ('D', *shown),
                },
            };
            let Shown {
                mode,
                uid,
                gid,
                mtime,
            } = shown;
            let (seconds, nanoseconds) = (mtime.seconds, mtime.nanoseconds);
            // Writing to a String cannot fail.
            let _ = write!(words, "{kind} {mode} {uid} {gid} {seconds} {nanoseconds} ");
            bytes.extend_from_slice(words.as_bytes());
            bytes.extend_from_slice(path);
            bytes.push(0);
        }
        bytes
    }

    /// Parses the text; returns `None` if the text is damaged.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut all = BTreeMap::new();
        for line in bytes.split_inclusive(|&b| b == 0) {
            let mut words = line.strip_suffix(b"\0")?.splitn(7, |&b| b == b' ');
            let mut word = || std::str::from_utf8(words.next()?).ok();
            let kind = word()?;
            let shown = Shown {
                mode: word()?.parse().ok()?,
                uid: word()?.parse().ok()?,
                gid: word()?.parse().ok()?,
                mtime: Time::new(word()?.parse().ok()?, word()?.parse().ok()?),
            };
            let directory = |listed, opaque| Row::Directory { listed, opaque };
            let row = match kind {
                "w" => Row::Whiteout,
                "i" => directory(None, false),
                "I" => directory(None, true),
                "d" => directory(Some(shown), false),
                "D" => directory(Some(shown), true),
                _ => return None,
            };
            all.insert(words.next()?.to_vec(), row);
        }
        Some(Self(all))
    }

    fn implied(&self) -> impl Iterator<Item = &[u8]> {
        let is_implied = |row: &Row| matches!(row, Row::Directory { listed: None, .. });
        let rows = self.0.iter().filter(move |(_, row)| is_implied(row));
        rows.map(|(path, _)| &path[..])
    }

    /// Returns whether a directory above `path` hides `path` of lower layers.
    fn hides_above(&self, path: &[u8]) -> bool {
        above(path).any(|dir| {
            let row = self.0.get(dir);
            matches!(
                row,
                Some(Row::Whiteout | Row::Directory { opaque: true, .. })
            )
        })
    }
}

/// Returns the directories that an overlay of `layers`, topmost first, would
/// show wrongly, with all directories above them and the attributes to show.
/// Wrong are unlisted directories that a lower layer lists, and directories
/// that show whiteouts.
pub(crate) fn to_show(layers: &[Listing]) -> BTreeMap<Vec<u8>, Shown> {
    let mut all = BTreeMap::new();
    let unlisted: BTreeSet<&[u8]> = layers.iter().flat_map(Listing::implied).collect();
    let unlisted = unlisted.into_iter().filter(|path| {
        let found = looked_up(layers, path);
        matches!(found, Some((visible, Some(listed))) if listed.differs(&visible))
    });
    for path in unlisted.chain(with_bare_whiteouts(layers)) {
        for dir in above(path).chain([path]) {
            if let Some((visible, listed)) = looked_up(layers, dir) {
                all.insert(dir.to_vec(), listed.unwrap_or(visible));
            }
        }
    }
    all
}

/// Returns the directories whose whiteouts an overlay lists: those of a single
/// layer, because overlayfs filters whiteouts only where it merges.
fn with_bare_whiteouts<'a>(layers: &'a [Listing]) -> BTreeSet<&'a [u8]> {
    let of_layer = |(at, layer): (usize, &'a Listing)| {
        let alone = move |dir: &&[u8]| merged(layers, dir).eq([at]);
        layer.with_whiteouts().filter(alone)
    };
    layers.iter().enumerate().flat_map(of_layer).collect()
}

/// Returns the layers whose directories at `path` an overlay merges.
fn merged(layers: &[Listing], path: &[u8]) -> impl Iterator<Item = usize> {
    let mut hidden = false;
    let rows = layers.iter().enumerate().map_while(move |(at, layer)| {
        if hidden {
            return None;
        }
        let row = layer.0.get(path);
        let is_dir = matches!(row, Some(Row::Directory { .. }));
        hidden = matches!(
            row,
            Some(Row::Whiteout | Row::Directory { opaque: true, .. })
        ) || layer.hides_above(path);
        Some((at, is_dir))
    });
    rows.filter_map(|(at, is_dir)| is_dir.then_some(at))
}

/// Returns the attributes of a directory in an overlay, and those in the
/// topmost layer that lists it, unless that layer is hidden there. Returns
/// `None` if the overlay shows no directory.
fn looked_up(layers: &[Listing], path: &[u8]) -> Option<(Shown, Option<Shown>)> {
    let mut visible = None;
    for layer in layers {
        match layer.0.get(path) {
            Some(Row::Whiteout) => break,
            Some(Row::Directory { listed, .. }) => {
                let first = *visible.get_or_insert(listed.unwrap_or(Shown::IMPLIED));
                if listed.is_some() {
                    return Some((first, *listed));
                }
            }
            None => {}
        }
        // An opaque directory hides its lower files, not its lower attributes.
        if layer.hides_above(path) {
            break;
        }
    }
    visible.map(|visible| (visible, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(mode: u32, id: u32) -> Shown {
        Shown {
            mode,
            uid: id,
            gid: id,
            ..Shown::IMPLIED
        }
    }

    /// Makes a listing of words: `PATH=MODE` is listed, `-PATH` whited out,
    /// `!PATH` opaque, `+PATH` revived, `PATH` implied; `.` is the root.
    fn listing(words: &str) -> Listing {
        let path = |word: &str| word.trim_start_matches('.').as_bytes().to_vec();
        let mut listing = Listing::default();
        for word in words.split_whitespace() {
            match (word.split_at(1), word.split_once('=')) {
                (("-", name), _) => listing.white_out(path(name)),
                (("+", name), _) => listing.revive(path(name)),
                (("!", name), _) => {
                    listing.imply(path(name));
                    listing.set_opaque(&path(name));
                }
                (_, Some((name, mode))) => {
                    let mode = u32::from_str_radix(mode, 8).unwrap();
                    listing.list(path(name), shown(mode, 5));
                }
                (_, None) => listing.imply(path(word)),
            }
        }
        listing
    }

    /// Returns what layers show, the top layer first, as words of [`listing`].
    fn shown_by(layers: &[&str]) -> String {
        let layers: Vec<_> = layers.iter().map(|words| listing(words)).collect();
        let found = to_show(&layers).into_iter().map(|(path, shown)| {
            let path = std::str::from_utf8(&path).unwrap().to_owned();
            let name = if path.is_empty() { "." } else { &path };
            format!("{name}={:o}", shown.mode)
        });
        found.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn listing_is_read_as_written() {
        let mut listing = listing(". a=1777 -\u{fc} !c +d");
        listing.list(b"a b\n".to_vec(), shown(0o1777, 5));
        let mtime = Time::new(-1, 7);
        let shown = Shown {
            mtime,
            ..shown(0, 9)
        };
        listing.list(b"\xff".to_vec(), shown);
        let bytes = listing.to_bytes();
        assert_eq!(Listing::parse(&bytes), Some(listing));
        assert_eq!(Listing::parse(b""), Some(Listing::default()));
        for cut in 1..bytes.len() {
            // A cut between two rows gives a listing, a cut elsewhere does not.
            let parsed = Listing::parse(&bytes[..cut]);
            assert_eq!(parsed.is_some(), bytes[cut - 1] == 0, "{cut}");
        }
    }

    #[test]
    fn listing_of_a_lower_layer_shows_unless_it_is_hidden() {
        for (middle, expected) in [
            ("", ".=711 a=700 a/b=1777"),
            ("a", ".=711 a=700 a/b=1777"),
            ("a=500", ".=711 a=500 a/b=1777"),
            ("-a", ".=711"),
            ("!a", ".=711 a=700"),
            ("+a", ".=711"),
            ("-a/b", ".=711 a=700"),
            ("!a/b", ".=711 a=700 a/b=1777"),
            (".=755", ".=755 a=700 a/b=1777"),
        ] {
            let lower = ".=711 a=700 a/b=1777";
            let found = shown_by(&[". a a/b new", middle, lower]);
            assert_eq!(found, expected, "{middle}");
        }
        assert_eq!(shown_by(&[".", "+."]), "");
    }

    #[test]
    fn listing_shows_a_directory_that_one_layer_alone_has_with_whiteouts() {
        let (whited, merged) = (". a=700 -a/b", ". a=700");
        for (layers, expected) in [
            (&[whited][..], ".=755 a=700"),
            (&[". -a"], ".=755"),
            (&[".", whited, "."], ".=755 a=700"),
            (&[whited, merged], ""),
            (&[merged, whited], ""),
            (&[". -a", whited], ""),
            (&[whited, ". -a", merged], ".=755 a=700"),
        ] {
            assert_eq!(shown_by(layers), expected, "{layers:?}");
        }
    }

    #[test]
    fn listing_forgets_what_another_file_replaces() {
        let mut listing = listing("a a/b=0 a-");
        listing.forget(b"a");
        assert_eq!(listing.implied().collect::<Vec<_>>(), [b"a-"]);
    }
}
