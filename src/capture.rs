// SPDX-License-Identifier: MIT OR Apache-2.0
//! Running a command to its end with its output kept: one poll loop in the caller's own thread.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd as _, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::read;

use crate::error::{Error, Result};
use crate::process::{Process, Reason, Status};
use crate::wire::BY_OUTPUT;

/// A finished command: how it ended and what it wrote, also when it was killed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub status: Status,
    /// What it wrote to standard output, or to its terminal.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
}

/// One stream being read.
struct Stream {
    fd: Option<OwnedFd>,
    bytes: Vec<u8>,
}

impl Stream {
    fn new(fd: Option<OwnedFd>) -> Result<Self> {
        if let Some(fd) = &fd {
            // The other end is a description of its own, so the command never sees this flag.
            fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
                .map_err(|e| Error::os("read output", "fcntl", e))?;
        }
        Ok(Self {
            fd,
            bytes: Vec::new(),
        })
    }

    /// Reads what is there, at most `room` bytes and one more; true if that many were.
    fn drain(&mut self, room: u64, chunk: &mut [u8]) -> Result<bool> {
        let limit = usize::try_from(room).unwrap_or(usize::MAX);
        let mut taken = 0;
        while let Some(fd) = &self.fd {
            match read(fd, chunk) {
                Ok(0) => self.fd = None,
                Ok(n) => {
                    let fits = n.min(limit - taken);
                    self.bytes.extend_from_slice(&chunk[..fits]);
                    taken += fits;
                    if fits < n {
                        return Ok(true);
                    }
                }
                Err(Errno::EAGAIN) => return Ok(false),
                Err(Errno::EINTR) => {}
                // A terminal says so when its last user is gone.
                Err(Errno::EIO) => self.fd = None,
                Err(e) => return Err(Error::os("read output", "read", e)),
            }
        }
        Ok(false)
    }
}

impl Process {
    /// Waits for the command's end and keeps what it writes to its pipes, or to its terminal;
    /// its input is closed first. Output above the command's limit
    /// ([`crate::Command::output_limit`]) ends it with the reason `output`.
    /// A pipe that was taken before is left to its taker.
    ///
    /// # Errors
    /// Those of read(2) and poll(2).
    pub fn wait_with_output(&self) -> Result<Output> {
        capture(self)
    }
}

/// Reads until the command has ended and its pipes are empty. What its leftovers in the
/// background write later is not waited for.
pub(crate) fn capture(process: &Process) -> Result<Output> {
    let limit = process.limit;
    drop(process.take_stdin());
    let master = match process.terminal() {
        Some(fd) => Some(
            fd.try_clone_to_owned()
                .map_err(|e| Error::io("read output", "dup", e))?,
        ),
        None => process.take_stdout(),
    };
    let mut streams = [Stream::new(master)?, Stream::new(process.take_stderr())?];
    let mut chunk = vec![0u8; 64 << 10];
    let mut over = false;
    loop {
        let status = process.try_wait()?;
        for at in 0..streams.len() {
            let used: usize = streams.iter().map(|s| s.bytes.len()).sum();
            if !over && streams[at].drain(limit - used as u64, &mut chunk)? {
                over = true;
                // The pipes stay open, or SIGPIPE would come first. If it cannot be told, the
                // sandbox is gone, and the status comes at once.
                let _ = process.end(BY_OUTPUT);
            }
        }
        if let Some(mut status) = status {
            if over {
                // It may have ended by itself before it was killed, but what it wrote is cut.
                status.reason = Reason::Output;
            }
            let [stdout, stderr] = streams.map(|s| s.bytes);
            return Ok(Output {
                status,
                stdout,
                stderr,
            });
        }
        let mut fds = vec![PollFd::new(process.status_fd(), PollFlags::POLLIN)];
        fds.extend(
            streams
                .iter()
                .filter_map(|s| s.fd.as_ref().filter(|_| !over))
                .map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)),
        );
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(Error::os("read output", "poll", e)),
        }
    }
}
