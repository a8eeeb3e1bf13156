// SPDX-License-Identifier: MIT OR Apache-2.0
//! Events of a sandbox.

use std::os::fd::{AsRawFd as _, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use tare::Event;

use crate::error::Raised as _;

/// The events of a sandbox.
#[pyclass(frozen, module = "tare._tare")]
pub(crate) struct Events {
    /// `None` once closed.
    inner: Mutex<Option<Arc<tare::Events>>>,
}

impl Events {
    pub(crate) fn new(inner: tare::Events) -> Self {
        Self {
            inner: Mutex::new(Some(Arc::new(inner))),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<tare::Events>>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> PyResult<Arc<tare::Events>> {
        let closed = || PyValueError::new_err("the events were closed");
        self.lock().clone().ok_or_else(closed)
    }
}

#[pymethods]
impl Events {
    /// A descriptor that is readable when there may be something to tell; this
    /// object's own.
    fn fd(&self) -> PyResult<RawFd> {
        Ok(self.open()?.fd().as_raw_fd())
    }

    /// Returns the next event, and the number of killed processes; never waits.
    fn next(&self, py: Python<'_>) -> PyResult<Option<(&'static str, u64)>> {
        let event = self.open()?.next().raised(py)?;
        Ok(event.map(|event| match event {
            Event::OomKills(kills) => ("oom", kills),
            _ => ("gone", 0),
        }))
    }

    /// Closes the descriptor.
    fn close(&self) {
        drop(self.lock().take());
    }
}
