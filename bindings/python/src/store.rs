// SPDX-License-Identifier: MIT OR Apache-2.0
//! The store and its images; unpacking and mounting without a sandbox.

use std::path::PathBuf;

use pyo3::prelude::*;
use tare::image::{Collected, ImportOptions, Reference};
use tare::mount::Options;

use crate::error::{Raised as _, json};
use crate::watch::Watch;

/// The opened image, or the image that a spec names.
pub(crate) fn image_of(
    store: &tare::Store,
    image: Option<&Image>,
    spec: &tare::Spec,
    watch: &mut Watch,
) -> tare::Result<tare::image::Image> {
    match image {
        Some(image) => Ok(image.inner.clone()),
        None => {
            let (reference, options) = (spec.image.parse()?, ImportOptions::default());
            store.images().image_with(&reference, &options, watch)
        }
    }
}

/// A store.
#[pyclass(frozen, module = "tare._tare")]
pub(crate) struct Store {
    pub(crate) inner: tare::Store,
}

/// An image that is held.
#[pyclass(frozen, module = "tare._tare")]
pub(crate) struct Image {
    pub(crate) inner: tare::image::Image,
}

#[pymethods]
impl Image {
    /// Returns the image's description, as JSON.
    fn describe(&self) -> PyResult<String> {
        json(&self.inner)
    }
}

/// The image and its names: a dictionary with all of these keys.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct Which {
    names: Vec<String>,
    source_names: bool,
    select: Option<String>,
    platform: Option<String>,
}

impl Which {
    fn options(self) -> tare::Result<ImportOptions> {
        let names: tare::Result<Vec<Reference>> = self.names.iter().map(|n| n.parse()).collect();
        Ok(ImportOptions {
            names: names?,
            source_names: self.source_names,
            select: self.select,
            platform: self.platform.map(|p| p.parse()).transpose()?,
            ..ImportOptions::default()
        })
    }
}

/// Blobs, their bytes, and layers that were removed; layers that are still in
/// use.
type Freed = (usize, u64, usize, usize);

fn freed(collected: &Collected) -> Freed {
    let Collected {
        blobs,
        bytes,
        layers,
        in_use,
    } = *collected;
    (blobs, bytes, layers, in_use)
}

impl Store {
    /// Brings something from a reference while Python's other threads go on,
    /// and tells the progress.
    fn bring<T: Send>(
        &self,
        py: Python<'_>,
        reference: &str,
        which: Which,
        progress: Option<Py<PyAny>>,
        work: impl FnOnce(&Reference, &ImportOptions, &mut Watch) -> tare::Result<T> + Send,
    ) -> PyResult<T> {
        let mut watch = Watch::new(progress);
        let brought = py.detach(|| work(&reference.parse()?, &which.options()?, &mut watch));
        watch.outcome(py, brought)
    }
}

#[pymethods]
impl Store {
    /// Opens the store in a directory.
    #[new]
    fn new(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let inner = py.detach(|| tare::Store::open(&path)).raised(py)?;
        Ok(Self { inner })
    }

    /// Returns the directory.
    fn path(&self) -> PathBuf {
        self.inner.images().path().to_owned()
    }

    /// Opens an image; an image outside of the store is imported first.
    fn image(
        &self,
        py: Python<'_>,
        reference: &str,
        which: Which,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Image> {
        let images = self.inner.images();
        let inner = self.bring(py, reference, which, progress, |from, how, watch| {
            images.image_with(from, how, watch)
        })?;
        Ok(Image { inner })
    }

    /// Brings an image from elsewhere into the store.
    fn import_image(
        &self,
        py: Python<'_>,
        reference: &str,
        which: Which,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Image> {
        let images = self.inner.images();
        let inner = self.bring(py, reference, which, progress, |from, how, watch| {
            images.import(from, how, watch)
        })?;
        Ok(Image { inner })
    }

    /// Brings every image of a source into the store, under its names there.
    fn load(
        &self,
        py: Python<'_>,
        reference: &str,
        which: Which,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Vec<Image>> {
        let images = self.inner.images();
        let images = self.bring(py, reference, which, progress, |from, how, watch| {
            images.load(from, how, watch)
        })?;
        Ok(images.into_iter().map(|inner| Image { inner }).collect())
    }

    /// The images, as JSON.
    fn list(&self, py: Python<'_>) -> PyResult<String> {
        json(&py.detach(|| self.inner.images().list()).raised(py)?)
    }

    /// Files an image under an additional name.
    fn tag(&self, py: Python<'_>, reference: &str, name: &str) -> PyResult<()> {
        py.detach(|| self.inner.images().tag(&reference.parse()?, &name.parse()?))
            .raised(py)
    }

    /// Takes a name out, with unneeded blobs and layers.
    fn remove(&self, py: Python<'_>, reference: &str) -> PyResult<Freed> {
        let removed = py.detach(|| self.inner.images().remove(&reference.parse()?));
        Ok(freed(&removed.raised(py)?))
    }

    /// Removes blobs and layers that no image needs and no process uses.
    fn gc(&self, py: Python<'_>) -> PyResult<Freed> {
        Ok(freed(&py.detach(|| self.inner.images().gc()).raised(py)?))
    }

    /// Returns the problems of the store, as JSON; and the number of repairs
    /// with `repair`.
    fn check(&self, py: Python<'_>, repair: bool) -> PyResult<(String, usize)> {
        let checked = py.detach(|| {
            let images = self.inner.images();
            let report = images.check()?;
            let removed = match repair {
                true => images.repair(&report)?.removed,
                false => 0,
            };
            Ok((report, removed))
        });
        let (report, removed) = checked.raised(py)?;
        Ok((json(&report)?, removed))
    }

    /// Removes leftovers of killed processes: scratch directories, cgroups;
    /// counts those that could not be removed.
    fn recover(&self, py: Python<'_>) -> PyResult<(usize, usize, usize)> {
        let found = py.detach(|| self.inner.recover()).raised(py)?;
        Ok((found.scratch, found.cgroups, found.left))
    }

    /// Unpacks an image into a directory.
    fn unpack(
        &self,
        py: Python<'_>,
        reference: &str,
        dir: PathBuf,
        which: Which,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Vec<String>> {
        let config = self.bring(py, reference, which, progress, |from, how, watch| {
            self.inner.unpack(from, &dir, how, watch)
        })?;
        Ok(config.notes)
    }
}

/// Returns the default directory of the store.
#[pyfunction]
pub(crate) fn default_store_path(py: Python<'_>) -> PyResult<PathBuf> {
    tare::Store::default_path().raised(py)
}

/// Mounts a copy-on-write view of an image on a directory; `options` are JSON.
#[pyfunction]
pub(crate) fn mount(
    py: Python<'_>,
    store: &Store,
    image: &str,
    dir: PathBuf,
    options: &str,
) -> PyResult<()> {
    let store = &store.inner;
    py.detach(|| tare::mount::mount(store, image, &dir, &Options::from_json(options)?))
        .raised(py)
}

/// Unmounts a view.
#[pyfunction]
pub(crate) fn umount(py: Python<'_>, store: &Store, dir: PathBuf, lazy: bool) -> PyResult<()> {
    let store = &store.inner;
    py.detach(|| tare::mount::umount(store, &dir, lazy))
        .raised(py)
}
