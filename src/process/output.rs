// SPDX-License-Identifier: MIT OR Apache-2.0
//! Running a command to its end with its output kept: one poll loop in the
//! caller's own thread.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags};
use nix::unistd::read;

use super::{Pipes, Process};
use crate::error::{Error, Result, Step};
use crate::instance::Running;
use crate::status::Status;
use crate::sys::poll::poll;
use crate::wire::{BY_CALLER, BY_OUTPUT};

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

/// Bytes that are read at once: at first, and of a stream that has more.
const FIRST: usize = 4 << 10;
const LARGEST: usize = 64 << 10;

/// One stream being read.
#[derive(Debug)]
struct Stream {
    fd: Option<OwnedFd>,
    bytes: Vec<u8>,
}

impl Stream {
    fn new(fd: Option<OwnedFd>) -> Result<Self> {
        if let Some(fd) = &fd {
            // The other end is a description of its own, so the command never
            // sees this flag.
            fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
                .map_err(|e| Error::os(Step::ReadOutput, "fcntl", e))?;
        }
        Ok(Self {
            fd,
            bytes: Vec::new(),
        })
    }

    /// Reads what is there, at most `room` bytes and one more; true if that
    /// many were.
    fn drain(&mut self, room: u64, chunk: &mut Vec<u8>) -> Result<bool> {
        let limit = usize::try_from(room).unwrap_or(usize::MAX);
        let mut taken = 0;
        while let Some(fd) = &self.fd {
            match read(fd, chunk) {
                Ok(0) => self.fd = None,
                Ok(n) => {
                    let full = n == chunk.len();
                    let fits = n.min(limit - taken);
                    self.bytes.extend_from_slice(&chunk[..fits]);
                    taken += fits;
                    if fits < n {
                        return Ok(true);
                    }
                    if full {
                        // There is more to come than fits into the first piece.
                        chunk.resize(LARGEST, 0);
                    }
                }
                Err(Errno::EAGAIN) => return Ok(false),
                Err(Errno::EINTR) => {}
                // A terminal says so when its last user is gone.
                Err(Errno::EIO) => self.fd = None,
                Err(e) => return Err(Error::os(Step::ReadOutput, "read", e)),
            }
        }
        Ok(false)
    }
}

/// A command's output being read without ever waiting unasked: for callers with
/// an event loop of their own, or with signals to look at between waits.
/// [`crate::Sandbox::run`] is this with a loop around it.
#[derive(Debug)]
pub struct Capture {
    streams: [Stream; 2],
    chunk: Vec<u8>,
    over: bool,
    limit: u64,
}

/// Why [`Capture::wait`] came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// The command has ended, and its pipes are empty.
    Ended(Status),
    /// A signal handler has run in this thread: EINTR, signal(7).
    Interrupted,
    /// The deadline is there, and the command still runs.
    TimedOut,
}

/// What there is to do.
enum Ready {
    /// The command's end, and maybe output.
    End,
    /// Output.
    Output,
    /// Nothing, for this reason.
    Gave(Waited),
}

impl Capture {
    /// Takes over the output of a command, pipes or terminal; its input is
    /// closed. More than the command's limit ([`crate::Command::output_limit`])
    /// in all ends it with the reason `output`. A pipe that was taken before is
    /// left to its taker.
    ///
    /// # Errors
    /// As fcntl(2).
    pub fn of(process: &Process) -> Result<Self> {
        drop(process.take_stdin());
        let stdout = match process.terminal() {
            Some(fd) => Some(
                fd.try_clone_to_owned()
                    .map_err(|e| Error::io(Step::ReadOutput, "dup", e))?,
            ),
            None => process.take_stdout(),
        };
        Self::over(process.running.limit, stdout, process.take_stderr())
    }

    /// The same for the ends of pipes that were taken before.
    ///
    /// # Errors
    /// As fcntl(2).
    pub fn from_pipes(
        process: &Process,
        stdout: Option<OwnedFd>,
        stderr: Option<OwnedFd>,
    ) -> Result<Self> {
        Self::over(process.running.limit, stdout, stderr)
    }

    fn over(limit: u64, stdout: Option<OwnedFd>, stderr: Option<OwnedFd>) -> Result<Self> {
        Ok(Self {
            streams: [Stream::new(stdout)?, Stream::new(stderr)?],
            chunk: vec![0u8; FIRST],
            over: false,
            limit,
        })
    }

    /// Reads what is there; the status when the command has ended and all it
    /// wrote is read. What its leftovers in the background write later is not
    /// waited for. Never waits itself: [`Process::status_fd`] and
    /// [`Capture::fds`] say when there is more to do.
    ///
    /// # Errors
    /// Those of read(2).
    pub fn step(&mut self, process: &Process) -> Result<Option<Status>> {
        let status = process.try_wait()?;
        self.drain(&process.running)?;
        Ok(status.map(|status| self.judged(status)))
    }

    /// Reads what is there.
    fn drain(&mut self, running: &Running) -> Result<()> {
        for at in 0..self.streams.len() {
            let used: usize = self.streams.iter().map(|s| s.bytes.len()).sum();
            let room = self.limit - used as u64;
            if !self.over && self.streams[at].drain(room, &mut self.chunk)? {
                self.over = true;
                // The pipes stay open, or SIGPIPE would come first. If it
                // cannot be told, the sandbox is gone, and the status comes at
                // once.
                let _ = running.end(BY_OUTPUT);
            }
        }
        Ok(())
    }

    /// Cut output is no success, even if the command ended before the kill.
    fn judged(&self, status: Status) -> Status {
        match self.over {
            true => status.with_output_cut(),
            false => status,
        }
    }

    /// Reads until the command has ended, the deadline is there, or a signal
    /// handler has run.
    ///
    /// # Errors
    /// Those of read(2) and poll(2).
    pub fn wait(&mut self, process: &Process, deadline: Option<Instant>) -> Result<Waited> {
        loop {
            if let Some(status) = self.step(process)? {
                return Ok(Waited::Ended(status));
            }
            if let Ready::Gave(why) = self.poll(process.status_fd(), deadline)? {
                return Ok(why);
            }
        }
    }

    /// The same for a command that has only just begun, without a deadline.
    fn wait_from_start(&mut self, running: &Running) -> Result<Waited> {
        // With the last pipe closed only its end can come: no need to ask
        // whether it is there.
        while self.fds().next().is_some() {
            let status = match self.poll(running.status_fd(), None)? {
                Ready::Gave(why) => return Ok(why),
                Ready::End => running.status(true)?,
                Ready::Output => None,
            };
            self.drain(running)?;
            if let Some(status) = status {
                return Ok(Waited::Ended(self.judged(status)));
            }
        }
        let status = running.status(true)?;
        Ok(status.map_or(Waited::Interrupted, |status| {
            Waited::Ended(self.judged(status))
        }))
    }

    /// Waits until there is something to do.
    fn poll(&self, status: BorrowedFd<'_>, deadline: Option<Instant>) -> Result<Ready> {
        let mut fds = vec![PollFd::new(status, PollFlags::POLLIN)];
        fds.extend(self.fds().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        match poll(&mut fds, deadline) {
            Ok(false) => Ok(Ready::Gave(Waited::TimedOut)),
            Ok(true) if fds[0].any() == Some(true) => Ok(Ready::End),
            Ok(true) => Ok(Ready::Output),
            Err(Errno::EINTR) => Ok(Ready::Gave(Waited::Interrupted)),
            Err(e) => Err(Error::os(Step::ReadOutput, "poll", e)),
        }
    }

    /// The pipes that are still read from, non-blocking; readable when there is
    /// something for [`Capture::step`].
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let open = self.streams.iter().filter(|_| !self.over);
        open.filter_map(|s| s.fd.as_ref().map(|fd| fd.as_fd()))
    }

    /// What was read so far: standard output, or the terminal's, and standard
    /// error.
    pub fn output(&self) -> [&[u8]; 2] {
        self.streams.each_ref().map(|s| &s.bytes[..])
    }

    /// What was read, with how the command ended.
    pub fn complete(self, status: Status) -> Output {
        let [stdout, stderr] = self.streams.map(|s| s.bytes);
        Output {
            status,
            stdout,
            stderr,
        }
    }
}

impl Process {
    /// Waits for the command's end and keeps what it writes to its pipes, or to
    /// its terminal; its input is closed first. Output above the command's
    /// limit ([`crate::Command::output_limit`]) ends it with the reason
    /// `output`. A pipe that was taken before is left to its taker.
    ///
    /// # Errors
    /// Those of read(2) and poll(2).
    pub fn wait_with_output(&self) -> Result<Output> {
        let output = capture(self, &mut || false)?;
        Ok(output.expect("no caller interrupts"))
    }
}

/// Reads until the command has ended. `interrupted` is asked whenever a signal
/// handler has run in this thread: if it says so, the command is killed and
/// the result is `None`.
pub(crate) fn capture(
    process: &Process,
    interrupted: &mut dyn FnMut() -> bool,
) -> Result<Option<Output>> {
    let capture = Capture::of(process)?;
    let wait = |capture: &mut Capture| capture.wait(process, None);
    until_ended(capture, &process.running, wait, interrupted)
}

/// The same for a command that has only just begun.
pub(crate) fn capture_begun(
    running: &Running,
    pipes: Pipes,
    interrupted: &mut dyn FnMut() -> bool,
) -> Result<Option<Output>> {
    drop(pipes.stdin);
    let capture = Capture::over(running.limit, pipes.stdout, pipes.stderr)?;
    let wait = |capture: &mut Capture| capture.wait_from_start(running);
    until_ended(capture, running, wait, interrupted)
}

fn until_ended(
    mut capture: Capture,
    running: &Running,
    wait: impl Fn(&mut Capture) -> Result<Waited>,
    interrupted: &mut dyn FnMut() -> bool,
) -> Result<Option<Output>> {
    loop {
        match wait(&mut capture)? {
            Waited::Ended(status) => return Ok(Some(capture.complete(status))),
            Waited::Interrupted | Waited::TimedOut => {
                if interrupted() {
                    // If the sandbox cannot be told, it is gone, and the
                    // command with it.
                    let _ = running.end(BY_CALLER);
                    return Ok(None);
                }
            }
        }
    }
}
