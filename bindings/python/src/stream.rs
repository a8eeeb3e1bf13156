// SPDX-License-Identifier: MIT OR Apache-2.0
//! A Python file as reader or writer of the library; signals are checked
//! between the parts.

use std::io::{self, Read, Write};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::error::outcome;

/// Bytes of a part at most: each costs a call of a Python method.
pub(crate) const PART: usize = 256 << 10;

/// An object with `read` or `write`, as binary files have them.
#[derive(Debug)]
pub(crate) struct Stream {
    file: Py<PyAny>,
    /// Bytes read and not taken yet, from this offset on.
    ahead: Option<(PyBackedBytes, usize)>,
    raised: Option<PyErr>,
}

impl Stream {
    pub(crate) fn new(file: Py<PyAny>) -> Self {
        Self {
            file,
            ahead: None,
            raised: None,
        }
    }

    /// Returns the result of the work, or the exception that ended the work.
    pub(crate) fn outcome<T>(self, py: Python<'_>, result: tare::Result<T>) -> PyResult<T> {
        outcome(py, result, self.raised)
    }

    /// Calls into Python and keeps a raised exception.
    fn call<T>(
        &mut self,
        ask: impl FnOnce(Python<'_>, &Py<PyAny>) -> PyResult<T>,
    ) -> io::Result<T> {
        if self.raised.is_some() {
            return Err(io::Error::other("raised"));
        }
        Python::attach(|py| py.check_signals().and_then(|()| ask(py, &self.file))).map_err(
            |raised| {
                self.raised = Some(raised);
                io::Error::other("raised")
            },
        )
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (bytes, start) = match self.ahead.take() {
            Some(ahead) => ahead,
            None => {
                let read = self.call(|py, file| {
                    let bytes = file.call_method1(py, "read", (PART,))?;
                    Ok(bytes.extract::<PyBackedBytes>(py)?)
                })?;
                (read, 0)
            }
        };
        let part = &bytes[start..];
        let count = part.len().min(buffer.len());
        buffer[..count].copy_from_slice(&part[..count]);
        if start + count < bytes.len() {
            self.ahead = Some((bytes, start + count));
        }
        Ok(count)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let part = &bytes[..bytes.len().min(PART)];
        self.call(|py, file| {
            let written = file.call_method1(py, "write", (PyBytes::new(py, part),))?;
            // A raw file may take less; None means that it would block.
            match written.extract::<Option<usize>>(py)? {
                Some(count) if count <= part.len() => Ok(count),
                _ => Err(PyValueError::new_err(
                    "write() did not say how much it took",
                )),
            }
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
