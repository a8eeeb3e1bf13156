// SPDX-License-Identifier: MIT OR Apache-2.0
//! The sandbox.

use std::os::fd::{IntoRawFd as _, OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tare::Spec;

use crate::command::Words;
use crate::error::{Raised as _, json, raised};
use crate::events::Events;
use crate::process::{Capture, Ended, Listed, Process, Started, ended, listed, started};
use crate::store::{Image, Store, image_of};
use crate::watch::Watch;

/// A sandbox.
#[pyclass(frozen, module = "tare._tare")]
pub(crate) struct Sandbox {
    /// `None` once closed, because a kept object must hold no descriptors. A
    /// running call has its own reference.
    inner: Mutex<Option<Arc<tare::Sandbox>>>,
}

/// The end of a command, with its output.
type Ran<'py> = (Ended, Bound<'py, PyBytes>, Bound<'py, PyBytes>);

impl Sandbox {
    pub(crate) fn of(inner: tare::Sandbox) -> Self {
        Self {
            inner: Mutex::new(Some(Arc::new(inner))),
        }
    }

    /// Returns the sandbox, unless closed.
    pub(crate) fn open(&self, py: Python<'_>) -> PyResult<Arc<tare::Sandbox>> {
        self.lock().clone().ok_or_else(|| closed(py))
    }

    /// Held only while nothing can block.
    fn lock(&self) -> MutexGuard<'_, Option<Arc<tare::Sandbox>>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for something while Python's other threads go on.
    fn ask<T: Send>(
        &self,
        py: Python<'_>,
        question: impl FnOnce(&tare::Sandbox) -> tare::Result<T> + Send,
    ) -> PyResult<T> {
        let sandbox = self.open(py)?;
        py.detach(|| question(&sandbox)).raised(py)
    }
}

/// The same error as the library's.
fn closed(py: Python<'_>) -> PyErr {
    let error = tare::Error::new(tare::Kind::Invalid, "use sandbox", "it was closed");
    raised(py, &error.with_cure("open another"))
}

#[pymethods]
impl Sandbox {
    /// Opens a sandbox; `spec` is JSON, flat or nested. An image goes before
    /// the spec's, and a root directory before both.
    #[new]
    #[pyo3(signature = (store, spec, image=None, root=None, progress=None))]
    fn new(
        py: Python<'_>,
        store: &Store,
        spec: &str,
        image: Option<&Image>,
        root: Option<PathBuf>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let spec = Spec::from_flat_json(spec).raised(py)?;
        let store = &store.inner;
        let mut watch = Watch::new(progress);
        let opened = py.detach(|| {
            if let Some(root) = root {
                return tare::Sandbox::open_in(store, &root, &spec);
            }
            let image = image_of(store, image, &spec, &mut watch)?;
            tare::Sandbox::open_on(store, &image, &spec)
        });
        Ok(Self::of(watch.outcome(py, opened)?))
    }

    /// Runs a command to its end and captures the output. A raising signal
    /// handler kills the command.
    fn run<'py>(&self, py: Python<'py>, words: Words) -> PyResult<Ran<'py>> {
        let sandbox = self.open(py)?;
        let command = words.command(py, &sandbox)?;
        let mut raised = None;
        let output = py.detach(|| {
            sandbox.run_interruptible(command, &mut || {
                raised = Python::attach(|py| py.check_signals().err());
                raised.is_some()
            })
        });
        if let Some(raised) = raised {
            return Err(raised);
        }
        let tare::Output {
            status,
            stdout,
            stderr,
        } = output.raised(py)?.expect("no handler interrupts the run");
        let [stdout, stderr] = [stdout, stderr].map(|bytes| PyBytes::new(py, &bytes));
        Ok((ended(&status), stdout, stderr))
    }

    /// Starts a command whose output is captured by steps.
    fn start(&self, py: Python<'_>, words: Words) -> PyResult<(Process, Capture)> {
        let command = words.command(py, self.open(py)?.as_ref())?;
        self.ask(py, |sandbox| {
            let process = sandbox.spawn(command)?;
            let capture = tare::Capture::of(&process)?;
            Ok((Process::new(process), Capture::new(capture)))
        })
    }

    /// Starts a command.
    fn spawn(&self, py: Python<'_>, words: Words) -> PyResult<Started> {
        let command = words.command(py, self.open(py)?.as_ref())?;
        started(py, self.ask(py, |sandbox| sandbox.spawn(command))?)
    }

    /// The commands that run.
    fn commands<'py>(&self, py: Python<'py>) -> PyResult<Vec<Listed<'py>>> {
        let running = self.open(py)?.commands().raised(py)?;
        Ok(running.iter().map(|command| listed(py, command)).collect())
    }

    /// Returns a running command by its number.
    fn process(&self, py: Python<'_>, id: u64) -> PyResult<Process> {
        Ok(Process::new(self.ask(py, |sandbox| sandbox.process(id))?))
    }

    /// Ends everything inside and starts again from the image.
    fn reset(&self, py: Python<'_>) -> PyResult<()> {
        self.ask(py, tare::Sandbox::reset)
    }

    /// Ends all processes inside and returns when nothing of the sandbox is
    /// left.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let Some(sandbox) = self.lock().take() else {
            return Ok(());
        };
        py.detach(|| sandbox.close()).raised(py)
    }

    /// Closes without waiting: returns a descriptor that is readable when
    /// nothing is left, the caller's to close.
    fn begin_close(&self, py: Python<'_>) -> PyResult<Option<RawFd>> {
        let Some(sandbox) = self.lock().take() else {
            return Ok(None);
        };
        let left = py.detach(|| sandbox.begin_close()).raised(py)?;
        Ok(left.map(OwnedFd::into_raw_fd))
    }

    /// Stops everything inside.
    fn freeze(&self, py: Python<'_>) -> PyResult<()> {
        self.ask(py, tare::Sandbox::freeze)
    }

    /// Lets everything inside go on.
    fn thaw(&self, py: Python<'_>) -> PyResult<()> {
        self.ask(py, tare::Sandbox::thaw)
    }

    /// Returns the use of all processes inside, now and in total, as JSON.
    fn usage(&self, py: Python<'_>) -> PyResult<String> {
        json(&self.open(py)?.usage().raised(py)?)
    }

    /// Returns later events.
    fn events(&self, py: Python<'_>) -> PyResult<Events> {
        Ok(Events::new(self.ask(py, tare::Sandbox::events)?))
    }

    /// Changes limits, given as JSON.
    fn set_limits(&self, py: Python<'_>, limits: &str) -> PyResult<()> {
        self.ask(py, |sandbox| {
            sandbox.set_limits(&tare::spec::Limits::from_json(limits)?)
        })
    }

    /// Lists the keys that were left out, each with why.
    fn left_out(&self, py: Python<'_>) -> PyResult<Vec<(&'static str, String)>> {
        let left_out = self.open(py)?.left_out().raised(py)?;
        Ok(left_out.into_iter().map(|one| (one.key, one.why)).collect())
    }

    /// Returns the restrictions in force, as JSON.
    fn effective(&self, py: Python<'_>) -> PyResult<String> {
        json(&self.ask(py, tare::Sandbox::effective)?)
    }

    /// A descriptor that is readable when the sandbox is gone; the caller's to
    /// close.
    fn pidfd(&self, py: Python<'_>) -> PyResult<RawFd> {
        Ok(self.open(py)?.pidfd().raised(py)?.into_raw_fd())
    }
}
