// SPDX-License-Identifier: MIT OR Apache-2.0
//! Long work seen from Python: its progress, and signals that arrive meanwhile.

use pyo3::prelude::*;
use tare::image::{Digest, Progress};

use crate::error::outcome;

/// Reports progress to a callable, and stops the work when the callable, or a
/// signal's handler, raises.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    callback: Option<Py<PyAny>>,
    raised: Option<PyErr>,
}

impl Watch {
    pub(crate) fn new(callback: Option<Py<PyAny>>) -> Self {
        Self {
            callback,
            raised: None,
        }
    }

    /// Returns the result of the work, or the exception that ended the work.
    pub(crate) fn outcome<T>(self, py: Python<'_>, result: tare::Result<T>) -> PyResult<T> {
        outcome(py, result, self.raised)
    }
}

impl Progress for Watch {
    fn layer(&mut self, index: usize, total: usize, digest: &Digest, done: u64, of: u64) {
        let Some(callback) = &self.callback else {
            return;
        };
        let told = Python::attach(|py| {
            let words = (index, total, digest.to_string(), done, of);
            callback.call1(py, words).map(drop)
        });
        self.raised = self.raised.take().or(told.err());
    }

    fn keep_going(&mut self) -> bool {
        if self.raised.is_none() {
            self.raised = Python::attach(|py| py.check_signals()).err();
        }
        self.raised.is_none()
    }
}
