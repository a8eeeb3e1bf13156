// SPDX-License-Identifier: MIT OR Apache-2.0
//! The store: a directory of images and unpacked layers, shared by many
//! processes at once.
#![forbid(unsafe_code)]

mod blobs;
mod cache;
mod chase;
mod check;
mod fs;
mod gc;
mod implied;
mod import;
mod importing;
mod index;
mod install;
mod layers;
mod lease;
mod lock;
mod lookup;
mod mount_records;
mod open;
mod options;
mod parts;
mod read_blobs;
mod repair;
mod scratch;
mod sync;
mod unique;
mod upgrade;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::Result;
use crate::image::layer::Ids;
use crate::image::ownership::Chown;

use cache::ImageCache;

pub use check::{CheckReport, Problem};
pub use gc::Collected;
pub use importing::{ImportProgress, Importing};
pub use lookup::Stored;
pub(crate) use mount_records::MountRecord;
pub(crate) use open::default_path;
pub use options::ImportOptions;
pub use repair::Repaired;
pub(crate) use scratch::HandedOver;
pub use scratch::{Scratch, Swept};

pub(in crate::image) use fs::nameless_file;
pub(in crate::image) use layers::stacked;
pub(in crate::image) use lease::Lease;
pub(in crate::image) use lock::Lock;
pub(in crate::image) use read_blobs::{BlobRead, Destination, run as read_blobs};
pub(in crate::image) use sync::FileSystem;

/// A directory of images and unpacked layers.
///
/// The directory is an OCI image layout (`oci-layout`, `index.json`,
/// `blobs/sha256`) that other tools can read. Beside the layout are
/// `layers/<diff id>.<ids>/fs` (unpacked once, then only read), `scratch` (work
/// in progress) and `locks`. Any number of processes may use the directory at
/// once. A process killed at any moment leaves no visible change; the next open
/// sweeps the rest.
///
/// Cheap to clone; every clone may be used from any thread.
#[derive(Clone)]
pub struct Images(Arc<Inner>);

struct Inner {
    root: PathBuf,
    /// Version of the format when the store was opened.
    version: u32,
    ids: Ids,
    /// True if the caller may give files away without being root of the
    /// machine.
    gives_away: bool,
    chown: Option<Mutex<Box<dyn Chown + Send>>>,
    cache: Mutex<ImageCache>,
}

impl std::fmt::Debug for Images {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Images").field(&self.0.root).finish()
    }
}

impl Images {
    /// Returns the store's directory, absolute.
    pub fn path(&self) -> &Path {
        &self.0.root
    }

    /// Returns the store for an ordinary user with subordinate ids: layers keep
    /// all owners, which `chown` sets from inside a user namespace. Layers
    /// unpacked with a single id and with subordinate ids are kept apart.
    ///
    /// Changes nothing for root.
    #[must_use]
    pub fn with_chown(&self, chown: Box<dyn Chown + Send>) -> Self {
        let ids = match self.0.ids {
            Ids::Root => Ids::Root,
            _ => Ids::Deferred,
        };
        Self(Arc::new(Inner {
            root: self.0.root.clone(),
            version: self.0.version,
            ids,
            gives_away: false,
            chown: Some(Mutex::new(chown)),
            cache: Mutex::default(),
        }))
    }

    /// Returns the store for user 0 of a user namespace, which sets all owners
    /// itself. The layers are those of an ordinary user with many ids.
    #[must_use]
    pub(crate) fn with_own_ids(&self) -> Self {
        Self(Arc::new(Inner {
            root: self.0.root.clone(),
            version: self.0.version,
            ids: Ids::Deferred,
            gives_away: true,
            chown: None,
            cache: Mutex::default(),
        }))
    }

    /// Removes the work of killed processes. Opening a store does the same.
    ///
    /// # Errors
    /// Those of reading the directory; files that cannot be removed are only
    /// counted.
    pub fn recover(&self) -> Result<Swept> {
        let mut swept = scratch::sweep(self)?;
        let (removed, left) = self.sweep_mounts()?;
        swept.removed += removed;
        swept.left += left;
        Ok(swept)
    }

    /// Makes a directory for work in progress. Drop removes the directory;
    /// after a kill, the next open does.
    ///
    /// # Errors
    /// Those of mkdir(2) and flock(2).
    pub fn scratch(&self) -> Result<Scratch> {
        self.scratch_named(&self.scratch_prefix("")?)
    }

    /// Makes a scratch directory with a name that begins with `prefix`.
    pub(crate) fn scratch_named(&self, prefix: &str) -> Result<Scratch> {
        Scratch::create(self, prefix)
    }

    /// Returns the prefix of a maker's scratch directories: the boot, then the
    /// maker.
    pub(crate) fn scratch_prefix(&self, maker: &str) -> Result<String> {
        // The lock tells whether a directory is in use, so zeros will do. A
        // procfs with processes only (`subset=pid`) has no boot_id.
        let boot = unique::boot_id().unwrap_or_else(|_| "0".repeat(32));
        Ok(format!("{boot}.{maker}"))
    }

    fn chown(&self) -> Option<MutexGuard<'_, Box<dyn Chown + Send>>> {
        let chown = self.0.chown.as_ref()?;
        Some(chown.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn scratch_dir(&self) -> PathBuf {
        self.0.root.join("scratch")
    }

    fn layers_dir(&self) -> PathBuf {
        self.0.root.join("layers")
    }

    fn blobs_dir(&self) -> PathBuf {
        self.0.root.join("blobs/sha256")
    }

    fn lock_path(&self, name: &str) -> PathBuf {
        self.0.root.join("locks").join(name)
    }
}
