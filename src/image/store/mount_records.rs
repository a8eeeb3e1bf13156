// SPDX-License-Identifier: MIT OR Apache-2.0
//! Records of mounts that outlive their process: layers in use until the
//! unmount.
//!
//! `mounts/<boot's id>.<random>/` has `record.json` and `tree`, the directory
//! of writes. A lock cannot tell that a record is in use, because no process
//! lives as long: a record counts until the unmount or the next boot.
#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Images;
use super::fs::make_dir;
use super::fs::names;
use super::unique::{boot_id, uuid};
use crate::error::{Error, Result, Step};

const DIR: &str = "mounts";
const RECORD: &str = "record.json";

/// A recorded mount.
#[derive(Debug)]
pub(crate) struct MountRecord {
    dir: PathBuf,
    record: Stored,
}

#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    /// Absolute path of the mount point.
    target: PathBuf,
    /// Mount id in the kernel; `None` until the mount exists.
    mount: Option<u64>,
    /// Directories below `layers` that the mount uses.
    layers: Vec<String>,
}

impl MountRecord {
    /// Returns the private directory on disk for writes, empty when made.
    pub(crate) fn tree(&self) -> PathBuf {
        self.dir.join("tree")
    }

    /// Returns the mount point.
    pub(crate) fn target(&self) -> &Path {
        &self.record.target
    }

    /// Returns the mount id in the kernel; `None` until the mount exists.
    pub(crate) fn number(&self) -> Option<u64> {
        self.record.mount
    }

    /// Records that the mount exists.
    ///
    /// # Errors
    /// Those of writing a file.
    pub(crate) fn complete(&mut self, number: u64) -> Result<()> {
        self.record.mount = Some(number);
        self.write()
    }

    fn write(&self) -> Result<()> {
        let path = self.dir.join(RECORD);
        let text = serde_json::to_vec(&self.record).map_err(io::Error::from);
        // Readers take no lock, so the file must be whole at any moment.
        let staged = self.dir.join("record.new");
        text.and_then(|text| fs::write(&staged, text))
            .and_then(|()| fs::rename(&staged, &path))
            .map_err(|e| Error::io(Step::RecordMount, format_args!("{path:?}"), e))
    }
}

impl Images {
    /// Records a mount before it is made. The caller holds the `layers` of the
    /// image until the call returns.
    ///
    /// # Errors
    /// Those of mkdir(2) and of writing a file.
    pub(crate) fn record_mount(&self, target: &Path, layers: &[PathBuf]) -> Result<MountRecord> {
        let name = format!("{}.{}", boot_id()?, uuid()?);
        let dir = self.0.root.join(DIR).join(name);
        let all = self.layers_dir();
        let name = |tree: &PathBuf| {
            let inside = tree.strip_prefix(&all).ok()?;
            Some(inside.components().next()?.as_os_str().to_owned())
        };
        let layers = layers.iter().filter_map(name);
        let record = MountRecord {
            record: Stored {
                target: target.to_path_buf(),
                mount: None,
                layers: layers.map(|n| n.to_string_lossy().into_owned()).collect(),
            },
            dir,
        };
        for dir in [&self.0.root.join(DIR), &record.dir, &record.tree()] {
            make_dir(dir, 0o700)
                .map_err(|e| Error::io(Step::RecordMount, format_args!("{dir:?}"), e))?;
        }
        record.write()?;
        Ok(record)
    }

    /// Returns the mounts of this boot, made or being made.
    ///
    /// # Errors
    /// Those of reading directories.
    pub(crate) fn mounts(&self) -> Result<Vec<MountRecord>> {
        let boot = boot_id().ok();
        let records = self.mount_dirs()?.into_iter();
        Ok(records
            // Without a boot_id every record may be of this boot.
            .filter(|dir| boot.as_ref().is_none_or(|boot| is_of(dir, boot)))
            .filter_map(|dir| {
                // A record that is being made or removed has no file.
                let text = fs::read(dir.join(RECORD)).ok()?;
                let record = serde_json::from_slice(&text).ok()?;
                Some(MountRecord { dir, record })
            })
            .collect())
    }

    /// Removes the record and the written files.
    ///
    /// # Errors
    /// Those of unlink(2).
    pub(crate) fn forget_mount(&self, record: &MountRecord) -> Result<()> {
        self.remove_path(&record.dir)
    }

    /// Returns names below `layers` that mounts use.
    pub(super) fn mounted_layers(&self) -> Result<Vec<String>> {
        let mounts = self.mounts()?.into_iter();
        Ok(mounts.flat_map(|record| record.record.layers).collect())
    }

    /// Removes records of earlier boots; returns how many were removed, and how
    /// many stay.
    pub(super) fn sweep_mounts(&self) -> Result<(usize, usize)> {
        let dirs = self.mount_dirs()?;
        let boot = boot_id();
        let Some(boot) = boot.ok().filter(|_| !dirs.is_empty()) else {
            return Ok((0, 0));
        };
        let old = dirs.into_iter().filter(|d| !is_of(d, &boot));
        let (gone, left): (Vec<_>, Vec<_>) = old.partition(|dir| self.remove_path(dir).is_ok());
        Ok((gone.len(), left.len()))
    }

    fn mount_dirs(&self) -> Result<Vec<PathBuf>> {
        let dir = self.0.root.join(DIR);
        // Most stores never had a mount.
        if !dir.exists() {
            return Ok(Vec::new());
        }
        Ok(names(&dir)?
            .into_iter()
            .map(|name| dir.join(name))
            .collect())
    }
}

fn is_of(dir: &Path, boot: &str) -> bool {
    let name = dir.file_name().and_then(|name| name.to_str());
    name.and_then(|name| name.split_once('.'))
        .is_some_and(|(of, _)| of == boot)
}
