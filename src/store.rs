// SPDX-License-Identifier: MIT OR Apache-2.0
//! The store as users hold it: images on disk, and the parts that an opened
//! store needs once to run them.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::Result;
use crate::helper::{ByHelper, Runtime};
use crate::image::{self, Chown, ImageConfig, ImportOptions, Progress, Reference, UnpackOptions};
use crate::instance::{Resources, Rootfs};
use crate::parts::idmap::{Ids, Source};

/// Images on disk, and the one helper process that makes sandboxes from them.
///
/// Cheap to clone; every clone may be used from any thread. The helper is
/// started by the first sandbox and ends with the last clone and the last
/// sandbox, or with this process.
#[derive(Debug, Clone)]
pub struct Store {
    resources: Resources,
}

/// Runs until told to stop.
struct Unless<'a>(&'a AtomicBool);

impl Progress for Unless<'_> {
    fn keep_going(&mut self) -> bool {
        !self.0.load(Ordering::Relaxed)
    }
}

/// The outcome of [`Store::recover`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Directories of work in progress that were removed.
    pub scratch: usize,
    /// Cgroups that were removed.
    pub cgroups: usize,
    /// Number of leftovers that could not be removed.
    pub left: usize,
}

impl Store {
    /// Opens the store in a directory; makes a missing one. Removes directories
    /// of killed hosts. Cgroups of killed hosts are removed while the first
    /// sandbox starts, at the latest with the last clone.
    ///
    /// # Errors
    /// As [`image::Images::open`].
    pub fn open(dir: &Path) -> Result<Self> {
        Self::on(image::Images::open_unswept(dir)?)
    }

    /// Opens `$TARE_STORE`, else `/var/lib/tare` for root, else
    /// `$XDG_DATA_HOME/tare`.
    ///
    /// # Errors
    /// As [`image::Images::open_default`].
    pub fn open_default() -> Result<Self> {
        Self::on(image::Images::open_unswept(&image::default_path()?)?)
    }

    /// The directory that [`Store::open_default`] means now; it need not be
    /// there.
    ///
    /// # Errors
    /// [`crate::Kind::NotFound`] if no directory is known.
    pub fn default_path() -> Result<PathBuf> {
        image::default_path()
    }

    fn on(images: image::Images) -> Result<Self> {
        let runtime = Arc::new(Runtime::default());
        let images = match Ids::detect() {
            Ids::Many {
                from: Source::Ranges,
                ..
            } => images.with_chown(Box::new(ByHelper(Arc::clone(&runtime)))),
            Ids::Many { .. } => images.with_own_ids(),
            Ids::Host | Ids::Single => images,
        };
        // Only now: a helper can remove files of subordinate ids.
        images.recover()?;
        images.upgrade()?;
        let resources = Resources {
            images,
            runtime,
            prestart: Arc::default(),
        };
        Ok(Self { resources })
    }

    /// The images: import, list, tag, remove, check.
    pub fn images(&self) -> &image::Images {
        &self.resources.images
    }

    /// Unpacks an image into a directory, as [`image::unpack`] does: names are
    /// looked up here, and an ordinary user's subordinate ids own what is
    /// theirs. Of `options`, those that say what to unpack, how much, and
    /// whether it is synced matter.
    ///
    /// # Errors
    /// As [`image::unpack`].
    pub fn unpack(
        &self,
        reference: &Reference,
        dir: &Path,
        options: &ImportOptions,
        progress: &mut dyn Progress,
    ) -> Result<ImageConfig> {
        let mut by_helper = ByHelper(Arc::clone(&self.resources.runtime));
        let chown: Option<&mut dyn Chown> = match Ids::detect() {
            Ids::Many {
                from: Source::Ranges,
                ..
            } => Some(&mut by_helper),
            _ => None,
        };
        let options = UnpackOptions {
            store: Some(&self.resources.images),
            select: options.select.clone(),
            platform: options.platform.clone(),
            bounds: options.bounds.clone(),
            chown,
            sync: options.sync,
        };
        image::unpack(reference, dir, options, progress)
    }

    /// Removes the leftovers of killed hosts, as opening a store does. Drops
    /// the prestarted init, which otherwise waits for five seconds.
    ///
    /// # Errors
    /// Those of reading the store.
    pub fn recover(&self) -> Result<Recovered> {
        self.resources.prestart.discard();
        let scratch = self.resources.images.recover()?;
        let (cgroups, left) = self.resources.runtime.sweep_cgroups();
        Ok(Recovered {
            scratch: scratch.removed,
            cgroups,
            left: scratch.left + left,
        })
    }

    pub(crate) fn rootfs(&self, reference: &str) -> Result<Rootfs> {
        Ok(Rootfs::of(
            self.resources.images.image(&reference.parse()?)?,
        ))
    }

    /// Returns the same if that needs no wait.
    pub(crate) fn rootfs_at_hand(&self, reference: &Reference) -> Result<Option<Rootfs>> {
        Ok(self
            .resources
            .images
            .image_at_hand(reference)?
            .map(Rootfs::of))
    }

    /// The same for work that may be told to stop.
    pub(crate) fn rootfs_unless(&self, reference: &Reference, stop: &AtomicBool) -> Result<Rootfs> {
        let options = ImportOptions::default();
        let image = self
            .resources
            .images
            .image_with(reference, &options, &mut Unless(stop))?;
        Ok(Rootfs::of(image))
    }

    /// Returns the resources that the store's sandboxes share.
    pub(crate) fn resources(&self) -> &Resources {
        &self.resources
    }

    pub(crate) fn runtime(&self) -> &Arc<Runtime> {
        &self.resources.runtime
    }
}
