// SPDX-License-Identifier: MIT OR Apache-2.0
//! A command from the words that `run` and `popen` hand over.

use std::ffi::OsStr;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use tare::spec::ByteSize;
use tare::{Command, Sandbox, Size, Stdin, Stdout};

use crate::error::Raised as _;

/// As `subprocess` numbers them.
const PIPE: RawFd = -1;
const STDOUT: RawFd = -2;
const DEVNULL: RawFd = -3;

/// What to run: a dictionary with all of these keys.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Words {
    /// None for the image's own command.
    argv: Option<Vec<PyBackedBytes>>,
    env: Vec<(PyBackedBytes, PyBackedBytes)>,
    cwd: Option<PyBackedBytes>,
    user: Option<String>,
    /// Bytes for the input; they go before `stdin`.
    input: Option<PyBackedBytes>,
    /// Descriptors, or the numbers above; None for the caller's own.
    stdin: Option<RawFd>,
    stdout: Option<RawFd>,
    stderr: Option<RawFd>,
    /// The caller's number, and the command's.
    fds: Vec<(RawFd, u32)>,
    /// Seconds.
    timeout: Option<f64>,
    /// Rows and columns.
    tty: Option<(u16, u16)>,
    output_limit: Option<Limit>,
}

/// Bytes, or a size as the spec has it.
#[derive(FromPyObject)]
enum Limit {
    Bytes(u64),
    Size(String),
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
        for (fd, number) in &self.fds {
            command = command.fd(tare::duplicate(*fd).raised(py)?, *number);
        }
        if let Some(seconds) = &self.timeout {
            // As with subprocess, time that is up already is no mistake.
            let timeout = Duration::try_from_secs_f64(if *seconds < 0.0 { 0.0 } else { *seconds });
            command = command.timeout(timeout.map_err(|e| PyValueError::new_err(e.to_string()))?);
        }
        if let Some((rows, columns)) = self.tty {
            command = command.tty(Size { rows, columns });
        }
        match &self.output_limit {
            None => {}
            Some(Limit::Bytes(bytes)) => command = command.output_limit(*bytes),
            Some(Limit::Size(size)) => {
                let size: ByteSize = size.parse().raised(py)?;
                command = command.output_limit(size.bytes());
            }
        }
        Ok(command)
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

fn output(stream: Option<RawFd>) -> tare::Result<Stdout> {
    Ok(match stream {
        None => Stdout::Inherit,
        Some(PIPE) => Stdout::Piped,
        Some(DEVNULL) => Stdout::Null,
        Some(STDOUT) => Stdout::Merged,
        Some(fd) => Stdout::Fd(tare::duplicate(fd)?),
    })
}
