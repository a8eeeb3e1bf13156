// SPDX-License-Identifier: MIT OR Apache-2.0
//! Upgrades a store of an older version.
#![forbid(unsafe_code)]

use std::fs;

use super::Images;
use super::fs::names;
use super::implied::has_listing;
use super::lock::Lock;
use super::open::{VERSION, check_version, write_marker};
use super::parts::MARKER;
use super::sync;
use crate::error::{Error, Result, Step};
use crate::sys::flock::Operation;

impl Images {
    /// Upgrades the store to the current version. Removes layers of version 1,
    /// because they have no listing of directories; the next use unpacks them
    /// again.
    ///
    /// A layer in use stays, and the store keeps its version until a later
    /// call.
    ///
    /// # Errors
    /// Those of reading and writing the store.
    pub(crate) fn upgrade(&self) -> Result<()> {
        if self.0.version == VERSION {
            return Ok(());
        }
        match self.upgrade_now() {
            // A store that cannot be written is used unchanged.
            Err(e) if matches!(e.errno(), Some(libc::EROFS | libc::ENOSPC | libc::EDQUOT)) => {
                Ok(())
            }
            done => done,
        }
    }

    fn upgrade_now(&self) -> Result<()> {
        let root = self.path();
        let wrong = |e| Error::io(Step::UpgradeStore, format_args!("{root:?}"), e);
        let _lock = self.lock_index()?;
        let marker = fs::read(root.join(MARKER)).map_err(wrong)?;
        if check_version(root, &marker)? == VERSION || !self.drop_unlisted()? {
            return Ok(());
        }
        write_marker(root, VERSION).map_err(wrong)?;
        sync::entries_of_store(root)
    }

    /// Removes layers without a listing; returns false if such a layer is in
    /// use.
    fn drop_unlisted(&self) -> Result<bool> {
        let scratch = self.scratch()?;
        let mounted = self.mounted_layers()?;
        let mut all = true;
        for name in names(&self.layers_dir())? {
            let dir = self.layers_dir().join(&name);
            if has_listing(&dir) {
                continue;
            }
            let lock = self.0.root.join("locks").join(&name);
            let lock = match mounted.iter().any(|layer| name == **layer) {
                true => None,
                false => Lock::try_take(&lock, Operation::Exclusive)?,
            };
            match lock {
                None => all = false,
                Some(lock) => {
                    self.drop_layer(&name, &scratch)?;
                    lock.remove();
                }
            }
        }
        Ok(all)
    }
}
