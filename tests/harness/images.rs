// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stores of images for tests, and options of an import.
#![allow(dead_code, reason = "every test binary uses a part of it")]

use std::fs;
use std::path::Path;

use tare::image::{Images, ImportOptions};
use tempfile::{TempDir, tempdir};

/// An empty store, `store` in a directory of the test's own.
pub(crate) fn empty_store() -> (TempDir, Images) {
    let dir = tempdir().unwrap();
    let store = Images::open(dir.path().join("store")).unwrap();
    (dir, store)
}

/// Files the image under a name.
pub(crate) fn named(name: &str) -> ImportOptions {
    ImportOptions {
        names: vec![name.parse().unwrap()],
        ..ImportOptions::default()
    }
}

/// Takes one image of a source of several.
pub(crate) fn selected(name: &str) -> ImportOptions {
    ImportOptions {
        select: Some(name.to_owned()),
        ..ImportOptions::default()
    }
}

/// Counts the entries of a directory.
pub(crate) fn count(dir: impl AsRef<Path>) -> usize {
    fs::read_dir(dir).unwrap().count()
}
