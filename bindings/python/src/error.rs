// SPDX-License-Identifier: MIT OR Apache-2.0
//! The library's errors as Python raises them: `OSError` where there is an
//! errno, else `tare.Error`, and of that `tare.InvalidError`, a `ValueError`,
//! where the caller's own words are wrong.

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use serde::Serialize;
use tare::Kind;

/// Converts an error of the library to a Python exception.
pub(crate) fn raised(py: Python<'_>, error: &tare::Error) -> PyErr {
    exception(py, error).unwrap_or_else(|failed| failed)
}

fn exception(py: Python<'_>, error: &tare::Error) -> PyResult<PyErr> {
    static ERROR: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    static INVALID: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let Some(errno) = error.errno() else {
        let class = match error.kind() {
            Kind::Invalid => INVALID.import(py, "tare._errors", "InvalidError")?,
            _ => ERROR.import(py, "tare._errors", "Error")?,
        };
        let words = (
            error.to_string(),
            error.kind().as_str(),
            error.step(),
            error.subject(),
            error.cure(),
        );
        return Ok(PyErr::from_value(class.call1(words)?));
    };
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    // Rust's text ends in the number, Python's text begins with the number.
    let text = text.split(" (os error").next().unwrap_or_default();
    let name = name(error.subject());
    // OSError appends the file name itself.
    let mut message = match (error.subject(), name) {
        ("", _) | (_, Some((_, true))) => format!("{}: {text}", error.step()),
        (subject, _) => format!("{}: {subject}: {text}", error.step()),
    };
    if let Some(cure) = error.cure() {
        message.push_str("; try: ");
        message.push_str(cure);
    }
    // OSError itself picks the class that belongs to the errno.
    let made = match name {
        None => PyOSError::new_err((errno, message)),
        Some((name, _)) => PyOSError::new_err((errno, message, name.to_owned())),
    };
    let value = made.value(py);
    value.setattr("kind", error.kind().as_str())?;
    value.setattr("step", error.step())?;
    value.setattr("subject", error.subject())?;
    value.setattr("cure", error.cure())?;
    Ok(made)
}

/// Returns the file that the subject names, without quotes, and whether the
/// subject is only that.
fn name(subject: &str) -> Option<(&str, bool)> {
    match subject.strip_prefix('"') {
        // An escaped text is not the name any more.
        Some(quoted) => match quoted.split_once('"')? {
            (inner, _) if inner.contains('\\') => None,
            (inner, rest) => Some((inner, rest.is_empty())),
        },
        // Cgroups have no quotes.
        None => (subject.starts_with('/') && !subject.contains(' ')).then_some((subject, true)),
    }
}

/// Shortens the way from the library's results to Python's.
pub(crate) trait Raised<T> {
    fn raised(self, py: Python<'_>) -> PyResult<T>;
}

impl<T> Raised<T> for tare::Result<T> {
    fn raised(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|error| raised(py, &error))
    }
}

/// Returns the result of work that calls into Python; an exception raised there
/// takes precedence over the resulting error.
pub(crate) fn outcome<T>(
    py: Python<'_>,
    result: tare::Result<T>,
    raised: Option<PyErr>,
) -> PyResult<T> {
    match (result, raised) {
        (Err(_), Some(raised)) => Err(raised),
        (result, _) => result.raised(py),
    }
}

/// Converts a value to JSON text, which the package reads.
pub(crate) fn json(value: &impl Serialize) -> PyResult<String> {
    serde_json::to_string(value)
        .map_err(|e| pyo3::exceptions::PyRuntimeError::new_err(e.to_string()))
}
