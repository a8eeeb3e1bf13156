// SPDX-License-Identifier: MIT OR Apache-2.0
//! A running command, and the reader of its output.

use std::ffi::OsString;
use std::os::fd::{AsRawFd as _, IntoRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tare::{Reason, RunningCommand, Size, Status};

use crate::error::Raised as _;

/// The end of a command: return code, reason, core file; then usage: seconds of
/// wall, user and system time, peak bytes of memory, bytes read and written.
pub(crate) type Ended = (i32, &'static str, bool, Used);

/// As `Usage` in Python.
type Used = (f64, f64, f64, Option<u64>, u64, u64, Option<u64>);

pub(crate) fn ended(status: &Status) -> Ended {
    let code = match (status.exit_code, status.signal) {
        (Some(code), _) => code,
        (None, signal) => -signal.unwrap_or_default(),
    };
    let reason = match status.reason {
        Reason::Exited => "exited",
        Reason::Signaled => "signaled",
        Reason::Timeout => "timeout",
        Reason::Oom => "oom",
        Reason::Output => "output",
        Reason::Killed => "killed",
    };
    let usage = &status.usage;
    let used = (
        usage.wall_ns as f64 / 1e9,
        usage.user_us as f64 / 1e6,
        usage.system_us as f64 / 1e6,
        usage.memory_peak,
        usage.io_read,
        usage.io_written,
        usage.oom_kills,
    );
    (code, reason, status.core_dumped, used)
}

/// Number, program and arguments, seconds since the start.
pub(crate) type Listed<'py> = (u64, Vec<Bound<'py, PyBytes>>, f64);

pub(crate) fn listed<'py>(py: Python<'py>, command: &RunningCommand) -> Listed<'py> {
    let bytes = |arg: &OsString| PyBytes::new(py, arg.as_bytes());
    let argv = command.argv.iter().map(bytes).collect();
    (command.id, argv, command.wall_ns as f64 / 1e9)
}

/// A running command.
#[pyclass(frozen, module = "tare._tare")]
pub(crate) struct Process {
    inner: tare::Process,
}

/// A process with the library's ends of its pipes, then of its terminal; they
/// are the caller's to close.
pub(crate) type Started = (
    Process,
    Option<RawFd>,
    Option<RawFd>,
    Option<RawFd>,
    Option<RawFd>,
);

pub(crate) fn started(py: Python<'_>, inner: tare::Process) -> PyResult<Started> {
    let terminal = match inner.terminal() {
        Some(fd) => Some(tare::duplicate(fd.as_raw_fd()).raised(py)?.into_raw_fd()),
        None => None,
    };
    let [stdin, stdout, stderr] = [inner.take_stdin(), inner.take_stdout(), inner.take_stderr()]
        .map(|end| end.map(OwnedFd::into_raw_fd));
    Ok((Process::new(inner), stdin, stdout, stderr, terminal))
}

impl Process {
    pub(crate) fn new(inner: tare::Process) -> Self {
        Self { inner }
    }
}

#[pymethods]
impl Process {
    /// Returns the command's number in its sandbox.
    fn id(&self) -> u64 {
        self.inner.id()
    }

    /// Returns number, program and arguments, and the seconds since the start.
    fn describe<'py>(&self, py: Python<'py>) -> Listed<'py> {
        listed(py, &self.inner.describe())
    }

    /// Bytes of output that are captured at most.
    fn output_limit(&self) -> u64 {
        self.inner.output_limit()
    }

    /// Returns a descriptor that is readable at the end; this object's own.
    fn status_fd(&self) -> RawFd {
        self.inner.status_fd().as_raw_fd()
    }

    /// A pidfd; this object's own.
    fn pidfd(&self) -> RawFd {
        self.inner.pidfd().as_raw_fd()
    }

    /// Returns the end, if any; never waits.
    fn poll(&self, py: Python<'_>) -> PyResult<Option<Ended>> {
        let status = py.detach(|| self.inner.try_wait()).raised(py)?;
        Ok(status.as_ref().map(ended))
    }

    /// Sends a signal to the command itself.
    fn send_signal(&self, py: Python<'_>, signal: i32) -> PyResult<()> {
        py.detach(|| self.inner.signal(signal)).raised(py)
    }

    /// Kills the command with all processes that it started.
    fn kill(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.inner.kill()).raised(py)
    }

    /// Resizes the command's terminal.
    fn resize(&self, py: Python<'_>, rows: u16, columns: u16) -> PyResult<()> {
        self.inner.resize(Size { rows, columns }).raised(py)
    }

    /// Reads the output from copies of these descriptors.
    fn capture(
        &self,
        py: Python<'_>,
        stdout: Option<RawFd>,
        stderr: Option<RawFd>,
    ) -> PyResult<Capture> {
        let copy = |fd: Option<RawFd>| fd.map(tare::duplicate).transpose();
        let [stdout, stderr] = [copy(stdout).raised(py)?, copy(stderr).raised(py)?];
        let inner = tare::Capture::from_pipes(&self.inner, stdout, stderr).raised(py)?;
        Ok(Capture::new(inner))
    }
}

/// Output being read.
#[pyclass(frozen, module = "tare._tare")]
pub(crate) struct Capture {
    inner: Mutex<Option<tare::Capture>>,
}

impl Capture {
    pub(crate) fn new(inner: tare::Capture) -> Self {
        Self {
            inner: Mutex::new(Some(inner)),
        }
    }

    /// Held only while nothing can block.
    fn lock(&self) -> MutexGuard<'_, Option<tare::Capture>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn over() -> PyErr {
    PyRuntimeError::new_err("the output was taken already")
}

#[pymethods]
impl Capture {
    /// Reads the present bytes; returns the end of the command after the last.
    fn step(&self, py: Python<'_>, process: &Process) -> PyResult<Option<Ended>> {
        let stepped = py.detach(|| self.lock().as_mut().map(|c| c.step(&process.inner)));
        let status = stepped.ok_or_else(over)?.raised(py)?;
        Ok(status.as_ref().map(ended))
    }

    /// The descriptors that are readable when there is more to do; this
    /// object's own.
    fn fds(&self) -> PyResult<Vec<RawFd>> {
        let inner = self.lock();
        let inner = inner.as_ref().ok_or_else(over)?;
        Ok(inner.fds().map(|fd| fd.as_raw_fd()).collect())
    }

    /// Returns standard output and standard error so far.
    fn output<'py>(&self, py: Python<'py>) -> PyResult<[Bound<'py, PyBytes>; 2]> {
        let inner = self.lock();
        let output = inner.as_ref().ok_or_else(over)?.output();
        Ok(output.map(|bytes| PyBytes::new(py, bytes)))
    }

    /// Closes the descriptors and forgets the bytes read.
    fn close(&self) {
        self.lock().take();
    }
}
