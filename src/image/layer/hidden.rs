// SPDX-License-Identifier: MIT OR Apache-2.0
//! Paths of lower layers that a layer hides, and directories without files of
//! the layer's entries.
#![forbid(unsafe_code)]

use std::collections::{BTreeSet, HashSet};

use super::name::{above, is_below};

/// Paths below the root, free of symlinks; empty for the root.
#[derive(Default)]
pub(super) struct Hidden {
    /// Lower layers show no file below these: whited out, or opaque.
    paths: HashSet<Vec<u8>>,
    /// Implied directories without an entry below so far. Only whiteouts need
    /// them, or devices that were left out.
    bare: BTreeSet<Vec<u8>>,
}

impl Hidden {
    /// Notes that lower layers show no file below `path`.
    pub(super) fn hide(&mut self, path: Vec<u8>) {
        self.paths.insert(path);
    }

    /// Returns whether `path` itself was hidden.
    pub(super) fn contains(&self, path: &[u8]) -> bool {
        self.paths.contains(path)
    }

    /// Returns whether lower layers show no file below `path`.
    pub(super) fn covers(&self, path: &[u8]) -> bool {
        !self.paths.is_empty() && above(path).chain([path]).any(|dir| self.contains(dir))
    }

    /// Notes a directory that was made for entries below.
    pub(super) fn imply(&mut self, path: Vec<u8>) {
        self.bare.insert(path);
    }

    /// Notes that an entry needs `path` and every directory above.
    pub(super) fn need(&mut self, path: &[u8]) {
        for dir in above(path).chain([path]) {
            self.bare.remove(dir);
        }
    }

    /// Returns whether there is a bare directory.
    pub(super) fn has_bare(&self) -> bool {
        !self.bare.is_empty()
    }

    /// Returns whether `path` is a bare directory.
    pub(super) fn is_bare(&self, path: &[u8]) -> bool {
        self.bare.contains(path)
    }

    /// Returns the bare directories below `path`, the topmost first.
    pub(super) fn bare_below(&self, path: &[u8]) -> Vec<Vec<u8>> {
        let below = self.bare.iter().filter(|dir| is_below(dir, path));
        below.cloned().collect()
    }

    /// Forgets the bare directories at `path` and below, because they go.
    pub(super) fn forget(&mut self, path: &[u8]) {
        self.bare.retain(|dir| dir != path && !is_below(dir, path));
    }
}
