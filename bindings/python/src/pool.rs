// SPDX-License-Identifier: MIT OR Apache-2.0
//! The pool.

use pyo3::prelude::*;
use tare::{PoolSize, Spec};

use crate::error::Raised as _;
use crate::sandbox::Sandbox;
use crate::store::{Image, Store, image_of};
use crate::watch::Watch;

/// A pool.
#[pyclass(frozen, module = "tare._tare")]
pub(crate) struct Pool {
    inner: tare::Pool,
}

#[pymethods]
impl Pool {
    /// Opens a pool; `spec` is JSON, flat or nested. An image goes before the
    /// spec's.
    #[new]
    #[pyo3(signature = (store, spec, min, max, image=None, progress=None))]
    fn new(
        py: Python<'_>,
        store: &Store,
        spec: &str,
        min: usize,
        max: usize,
        image: Option<&Image>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let spec = Spec::from_flat_json(spec).raised(py)?;
        let store = &store.inner;
        let mut watch = Watch::new(progress);
        let opened = py.detach(|| {
            let image = image_of(store, image, &spec, &mut watch)?;
            tare::Pool::open_on(store, &image, &spec, PoolSize { min, max })
        });
        let inner = watch.outcome(py, opened)?;
        Ok(Self { inner })
    }

    /// Takes an unused sandbox.
    fn take(&self, py: Python<'_>) -> PyResult<Sandbox> {
        let inner = py.detach(|| self.inner.take()).raised(py)?;
        Ok(Sandbox::of(inner))
    }

    /// Returns the number that could be taken now without waiting.
    fn ready(&self, py: Python<'_>) -> usize {
        py.detach(|| self.inner.ready())
    }

    /// Ends all waiting sandboxes and returns when they are gone.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.inner.close()).raised(py)
    }
}
