// SPDX-License-Identifier: MIT OR Apache-2.0
//! A directory in the OCI image layout as a source.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use super::{GET_AGAIN, Member, Source, open_regular};
use crate::error::{Error, Kind, Result, Step};

/// A directory with `oci-layout`, `index.json` and `blobs`. OCI image spec,
/// "Image Layout".
#[derive(Debug)]
pub(crate) struct Layout {
    root: PathBuf,
    cure: &'static str,
}

impl Layout {
    /// Opens a layout that must exist.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let wrong = |e| Error::io(Step::OpenOCIImageLayout, format_args!("{path:?}"), e);
        let root = path.canonicalize().map_err(wrong)?;
        if !root.is_dir() {
            let why = format!("{path:?} is not a directory");
            let error = Error::new(Kind::Invalid, Step::OpenOCIImageLayout, why);
            return Err(error.with_cure(format!("archive:{}", path.display())));
        }
        if let Err(e) = open_regular(&root.join("oci-layout")) {
            let file = path.join("oci-layout");
            let error = Error::io(Step::OpenOCIImageLayout, format_args!("{file:?}"), e);
            let cure = format!("dir:{}, if it is a root directory", path.display());
            return Err(error.with_cure(cure));
        }
        Ok(Self {
            root,
            cure: GET_AGAIN,
        })
    }

    /// Returns the store's own blobs as a source; `cure` mends wrong bytes
    /// there.
    pub(crate) fn of_store(root: &Path, cure: &'static str) -> Self {
        Self {
            root: root.to_owned(),
            cure,
        }
    }

    /// Opens a member; returns the file and the size.
    pub(super) fn file(&self, name: &str) -> Result<(File, u64)> {
        let path = self.root.join(name);
        open_regular(&path).map_err(|e| Error::io(Step::OpenImage, format_args!("{path:?}"), e))
    }
}

impl Source for Layout {
    fn open(&self, name: &str) -> Result<Member<'_>> {
        let (file, size) = self.file(name)?;
        Ok(Member {
            reader: Box::new(BufReader::with_capacity(1 << 17, file)),
            size,
        })
    }

    fn label(&self) -> String {
        format!("oci:{}", self.root.display())
    }

    fn cure(&self) -> &'static str {
        self.cure
    }
}
