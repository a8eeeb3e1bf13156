// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tare._tare`: the library's nouns as Python objects, for the package around
//! it.
//!
//! The module converts, calls and converts back, and releases the GIL around
//! every call that can block.
#![deny(unsafe_code)]

mod command;
mod error;
mod events;
mod files;
mod pool;
mod process;
mod sandbox;
mod store;
mod stream;
mod watch;

use std::path::PathBuf;

use pyo3::prelude::*;

use crate::error::Raised as _;

/// The compiled half of the package `tare`, not for direct use.
#[pymodule(gil_used = false)]
mod _tare {
    use super::*;

    #[pymodule_export]
    use super::command::seconds;
    #[pymodule_export]
    use super::events::Events;
    #[pymodule_export]
    use super::files::Files;
    #[pymodule_export]
    use super::pool::Pool;
    #[pymodule_export]
    use super::process::{Capture, Process};
    #[pymodule_export]
    use super::sandbox::Sandbox;
    #[pymodule_export]
    use super::store::{Image, Store, default_store_path, mount, umount};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("VERSION", tare::VERSION)?;
        module.add("FEATURES", tare::FEATURES.to_vec())
    }

    /// Looks at a spec, JSON, flat or nested, as opening a sandbox does first.
    #[pyfunction]
    fn check_spec(py: Python<'_>, spec: &str) -> PyResult<()> {
        tare::Spec::from_flat_json(spec).map(drop).raised(py)
    }

    /// Returns the report on this machine, as JSON.
    #[pyfunction]
    #[pyo3(signature = (store=None))]
    fn doctor(py: Python<'_>, store: Option<PathBuf>) -> PyResult<String> {
        error::json(&py.detach(|| tare::doctor(store.as_deref())))
    }
}
