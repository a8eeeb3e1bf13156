// SPDX-License-Identifier: MIT OR Apache-2.0
//! A command from the words that `run` and `popen` hand over.

use std::ffi::OsStr;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use tare::spec::{ByteSize, Rlimit, parse_duration};
use tare::{Command, Sandbox, Size, Stdin, Stdout};

use crate::error::Raised as _;

/// As `subprocess` numbers them.
const PIPE: RawFd = -1;
const STDOUT: RawFd = -2;
const DEVNULL: RawFd = -3;

/// A command: a dictionary with all of these keys, the keywords of `run` among
/// them.
pub(crate) struct Words {
    /// `None` for the image's own command.
    argv: Option<Vec<PyBackedBytes>>,
    env: Vec<(PyBackedBytes, PyBackedBytes)>,
    cwd: Option<PyBackedBytes>,
    user: Option<String>,
    /// Bytes for the input; they go before `stdin`.
    input: Option<PyBackedBytes>,
    /// Descriptors, or the numbers above; `None` for the caller's own.
    stdin: Option<RawFd>,
    stdout: Option<RawFd>,
    stderr: Option<RawFd>,
    /// The caller's number, and the command's.
    pass_fds: Vec<(RawFd, u32)>,
    /// Seconds.
    timeout: Option<f64>,
    /// Rows and columns.
    tty: Option<(u16, u16)>,
    output_limit: Option<Limit>,
    rlimits: Vec<(String, Limit)>,
    cap_add: Vec<String>,
    cap_drop: Vec<String>,
    /// -1 for the default, as `subprocess` has it.
    umask: i64,
}

/// A number, or a text as in the spec.
#[derive(FromPyObject)]
enum Limit {
    Number(u64),
    Text(String),
}

/// Returns a value of the dictionary; an error names the key.
fn word<'py, T: FromPyObjectOwned<'py>>(words: &Bound<'py, PyAny>, name: &str) -> PyResult<T> {
    let value = words.get_item(name)?;
    let read: Result<T, PyErr> = value.extract().map_err(Into::into);
    read.map_err(|error| {
        let py = words.py();
        PyErr::from_type(error.get_type(py), format!("{name}: {}", error.value(py)))
    })
}

impl<'py> FromPyObject<'_, 'py> for Words {
    type Error = PyErr;

    fn extract(words: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        Ok(Self {
            argv: word(&words, "argv")?,
            env: word(&words, "env")?,
            cwd: word(&words, "cwd")?,
            user: word(&words, "user")?,
            input: word(&words, "input")?,
            stdin: word(&words, "stdin")?,
            stdout: word(&words, "stdout")?,
            stderr: word(&words, "stderr")?,
            pass_fds: word(&words, "pass_fds")?,
            timeout: word(&words, "timeout")?,
            tty: word(&words, "tty")?,
            output_limit: word(&words, "output_limit")?,
            rlimits: word(&words, "rlimits")?,
            cap_add: word(&words, "cap_add")?,
            cap_drop: word(&words, "cap_drop")?,
            umask: word(&words, "umask")?,
        })
    }
}

impl Words {
    pub(crate) fn command(&self, py: Python<'_>, sandbox: &Sandbox) -> PyResult<Command> {
        let text = |bytes: &PyBackedBytes| OsStr::from_bytes(bytes).to_owned();
        let mut command = match &self.argv {
            Some(argv) => Command::from_argv(argv.iter().map(text)),
            None => sandbox.image_command::<&OsStr>(&[]).raised(py)?,
        };
        command = command
            .stdin(self.stdin().raised(py)?)
            .stdout(output(self.stdout).raised(py)?)
            .stderr(output(self.stderr).raised(py)?);
        for (name, value) in &self.env {
            command = command.env(text(name), text(value));
        }
        if let Some(cwd) = &self.cwd {
            command = command.cwd(text(cwd));
        }
        if let Some(user) = &self.user {
            command = command.user(user);
        }
        for (fd, number) in &self.pass_fds {
            command = command.fd(tare::duplicate(*fd).raised(py)?, *number);
        }
        if let Some(seconds) = &self.timeout {
            command = command.timeout(limit(*seconds)?);
        }
        if let Some((rows, columns)) = self.tty {
            command = command.tty(Size { rows, columns });
        }
        match &self.output_limit {
            None => {}
            Some(Limit::Number(bytes)) => command = command.output_limit(*bytes),
            Some(Limit::Text(size)) => {
                let size: ByteSize = size.parse().raised(py)?;
                command = command.output_limit(size.bytes());
            }
        }
        self.rights(py, command)
    }

    fn rights(&self, py: Python<'_>, mut command: Command) -> PyResult<Command> {
        for (name, limit) in &self.rlimits {
            let limit = match limit {
                Limit::Number(n) => Rlimit { soft: *n, hard: *n },
                Limit::Text(text) => text.parse().raised(py)?,
            };
            command = command.rlimit(name, limit);
        }
        for name in &self.cap_add {
            command = command.cap_add(name);
        }
        for name in &self.cap_drop {
            command = command.cap_drop(name);
        }
        Ok(match self.umask {
            -1 => command,
            // An out of range value is refused like any other invalid mask.
            mask => command.umask(u32::try_from(mask).unwrap_or(u32::MAX)),
        })
    }

    fn stdin(&self) -> tare::Result<Stdin> {
        if let Some(bytes) = &self.input {
            return Ok(Stdin::Bytes(bytes.to_vec()));
        }
        Ok(match self.stdin {
            None => Stdin::Inherit,
            Some(PIPE) => Stdin::Piped,
            Some(DEVNULL) => Stdin::Null,
            Some(fd) => Stdin::Fd(tare::duplicate(fd)?),
        })
    }
}

/// Reads a command's time limit. Unlike a wait, a command needs some time, so 0
/// is an error: as in every face, leaving the limit out means no limit.
fn limit(seconds: f64) -> PyResult<Duration> {
    if seconds <= 0.0 {
        let why = format!("timeout: {seconds:?} leaves a command no time; try: None, for no limit");
        return Err(PyValueError::new_err(why));
    }
    // A time below a nanosecond is still more than zero.
    Ok(duration(seconds)?.max(Duration::from_nanos(1)))
}

/// Reads the timeout of a wait; as with subprocess, an expired timeout is
/// valid.
fn duration(seconds: f64) -> PyResult<Duration> {
    let cut = if seconds < 0.0 { 0.0 } else { seconds };
    Duration::try_from_secs_f64(cut).map_err(|_| {
        let why = format!(
            "timeout: {seconds:?} is no number of seconds that can be waited; try: None for ever"
        );
        PyValueError::new_err(why)
    })
}

/// Reads a time limit in seconds, from a number or from a duration in words.
#[pyfunction]
pub(crate) fn seconds(timeout: &Bound<'_, PyAny>) -> PyResult<f64> {
    if let Ok(text) = timeout.extract::<PyBackedStr>() {
        let limit = parse_duration(&text).map_err(|e| {
            let cure = e.cure().unwrap_or_default();
            PyValueError::new_err(format!("timeout: {}; try: {cure}", e.subject()))
        })?;
        return Ok(limit.as_secs_f64());
    }
    let number = timeout.extract::<f64>().map_err(|error| {
        let py = timeout.py();
        if error.is_instance_of::<PyOverflowError>(py) {
            return duration(f64::INFINITY).expect_err("it is too long");
        }
        let given = timeout.get_type();
        PyTypeError::new_err(format!(
            "timeout: seconds or a duration such as \"1m30s\", not {given}"
        ))
    })?;
    duration(number).map(|_| number)
}

fn output(stream: Option<RawFd>) -> tare::Result<Stdout> {
    Ok(match stream {
        None => Stdout::Inherit,
        Some(PIPE) => Stdout::Piped,
        Some(DEVNULL) => Stdout::Null,
        Some(STDOUT) => Stdout::Merged,
        Some(fd) => Stdout::Fd(tare::duplicate(fd)?),
    })
}
