// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads the output of a command until the end: a poll loop in the caller's own
//! thread.
#![forbid(unsafe_code)]

use std::ops::ControlFlow::{self, Break, Continue};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags};
use nix::unistd::read;

use super::Process;
use crate::error::{Error, Result, Step};
use crate::instance::Running;
use crate::status::Status;
use crate::sys::poll::poll;
use crate::wire::{BY_CALLER, BY_OUTPUT};

/// The end and the output of a command, also of a killed one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The end of the command.
    pub status: Status,
    /// Bytes of standard output, or of the terminal.
    pub stdout: Vec<u8>,
    /// Bytes of standard error.
    pub stderr: Vec<u8>,
}

/// Bytes that are read at once: at first, and of a stream that has more.
const FIRST: usize = 4 << 10;
const LARGEST: usize = 64 << 10;
/// More than the buffers of a terminal hold.
const TERMINAL: usize = 1 << 20;

/// Takes the output of a command piece by piece, see [`Capture::step_into`].
pub trait Sink {
    /// Returns the number of bytes that may come now; at 0 the rest waits in
    /// the pipe.
    fn room(&self) -> usize;

    /// Takes bytes of standard output or of the terminal (0), or of standard
    /// error (1).
    fn take(&mut self, stream: usize, bytes: &[u8]);
}

/// Keeps all output.
impl Sink for [Vec<u8>; 2] {
    fn room(&self) -> usize {
        usize::MAX
    }

    fn take(&mut self, stream: usize, bytes: &[u8]) {
        self[stream].extend_from_slice(bytes);
    }
}

/// The host's end of one stream.
#[derive(Debug)]
struct Stream {
    fd: Option<OwnedFd>,
    /// Bytes that were read after the end of the command.
    late: usize,
}

impl Stream {
    fn new(fd: Option<OwnedFd>) -> Result<Self> {
        if let Some(fd) = &fd {
            // The command's end is another open file description, so the
            // command never sees this flag.
            fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
                .map_err(|e| Error::os(Step::ReadOutput, "fcntl", e))?;
        }
        Ok(Self { fd, late: 0 })
    }

    /// Reads a piece; 0 bytes if the stream is empty for now, or at the end.
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        while let Some(fd) = &self.fd {
            match read(fd, into) {
                // A terminal fails with EIO when the last user is gone.
                Ok(0) | Err(Errno::EIO) => self.fd = None,
                Ok(n) => return Ok(n),
                Err(Errno::EAGAIN) => return Ok(0),
                Err(Errno::EINTR) => {}
                Err(e) => return Err(Error::os(Step::ReadOutput, "read", e)),
            }
        }
        Ok(0)
    }

    /// Returns whether all bytes that the command can have left here were read.
    /// Its leftovers in the background may write for ever.
    fn has_only_late(&self) -> bool {
        // Hardly any command fills the smallest pipe, so the size is not asked
        // for before.
        let size = || fcntl(self.fd.as_ref()?, FcntlArg::F_GETPIPE_SZ).ok();
        self.late >= LARGEST && self.late >= size().map_or(TERMINAL, |bytes| bytes as usize)
    }
}

/// Both streams, with the limit of their bytes.
#[derive(Debug)]
struct Source {
    streams: [Stream; 2],
    chunk: Vec<u8>,
    /// Bytes that the command may still write.
    room: u64,
    /// True if the command wrote more, which ends it.
    over: bool,
    has_ended: bool,
}

impl Source {
    /// Reads without waiting, a piece of each stream in turn, as far as `sink`
    /// has room. Returns true if the streams are empty.
    fn drain(&mut self, running: &Running, sink: &mut dyn Sink) -> Result<bool> {
        let mut dry = [false; 2];
        while dry != [true; 2] {
            for (at, dry) in dry.iter_mut().enumerate().filter(|(_, dry)| !**dry) {
                if self.over {
                    return Ok(true);
                }
                let most = sink.room().min(self.chunk.len());
                if most == 0 {
                    return Ok(false);
                }
                let stream = &mut self.streams[at];
                let n = stream.read(&mut self.chunk[..most])?;
                if self.has_ended {
                    stream.late += n;
                }
                *dry = n == 0 || stream.has_only_late();
                if n > 0 {
                    self.pass_on(running, at, n, sink);
                }
            }
        }
        Ok(true)
    }

    /// Gives a piece to the sink, as far as the limit allows.
    fn pass_on(&mut self, running: &Running, at: usize, n: usize, sink: &mut dyn Sink) {
        let fits = n.min(usize::try_from(self.room).unwrap_or(usize::MAX));
        self.room -= fits as u64;
        sink.take(at, &self.chunk[..fits]);
        if fits < n {
            self.over = true;
            // The pipes stay open, because SIGPIPE would be faster otherwise.
            // If the kill fails, the sandbox is gone, and the status comes at
            // once.
            let _ = running.end(BY_OUTPUT);
        }
        if n == self.chunk.len() {
            // A command that fills the first piece is likely to write more.
            self.chunk.resize(LARGEST, 0);
        }
    }

    /// Reads without waiting; `status` is the end of the command, if known.
    /// Returns the status if the sink has left nothing in the streams.
    fn step(
        &mut self,
        running: &Running,
        status: Option<Status>,
        sink: &mut dyn Sink,
    ) -> Result<Option<Status>> {
        self.has_ended = status.is_some();
        let is_dry = self.drain(running, sink)?;
        Ok(status.filter(|_| is_dry).map(|status| match self.over {
            // Cut output is no success, even if the command ended before the
            // kill.
            true => status.with_output_cut(),
            false => status,
        }))
    }
}

/// The output of a command, read without waiting: for callers with an event
/// loop of their own, or with signals to look at between waits.
/// [`crate::Sandbox::run`] is a loop around a capture.
#[derive(Debug)]
pub struct Capture {
    source: Source,
    kept: [Vec<u8>; 2],
}

/// The reason why [`Capture::wait`] returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// The command has ended, and the pipes are empty.
    Ended(Status),
    /// A signal handler has run in this thread: EINTR, signal(7).
    Interrupted,
    /// The deadline is there, and the command still runs.
    TimedOut,
}

impl Capture {
    /// Takes over the output of a command, pipes or terminal, and closes its
    /// input. More bytes in all than the command's limit
    /// ([`crate::Command::output_limit`]) end it with the reason `output`. A
    /// pipe that was taken before is left to its taker.
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
        Self::from_pipes(process, stdout, process.take_stderr())
    }

    /// As [`Capture::of`], for the ends of pipes that were taken before.
    ///
    /// # Errors
    /// As fcntl(2).
    pub fn from_pipes(
        process: &Process,
        stdout: Option<OwnedFd>,
        stderr: Option<OwnedFd>,
    ) -> Result<Self> {
        Self::new(process.running.limit, stdout, stderr)
    }

    pub(crate) fn new(room: u64, stdout: Option<OwnedFd>, stderr: Option<OwnedFd>) -> Result<Self> {
        let source = Source {
            streams: [Stream::new(stdout)?, Stream::new(stderr)?],
            chunk: vec![0u8; FIRST],
            room,
            over: false,
            has_ended: false,
        };
        let kept = Default::default();
        Ok(Self { source, kept })
    }

    /// Reads without waiting. Returns the status when the command has ended and
    /// all output is read. Later output of leftovers in the background
    /// is not waited for. [`Process::status_fd`] and [`Capture::fds`] are
    /// readable when there is more to do.
    ///
    /// # Errors
    /// Those of read(2).
    pub fn step(&mut self, process: &Process) -> Result<Option<Status>> {
        let status = process.try_wait()?;
        self.source.step(&process.running, status, &mut self.kept)
    }

    /// Reads as [`Capture::step`] does, and gives the output to `sink` instead
    /// of keeping it. The status comes when the sink has left nothing in the
    /// pipes.
    ///
    /// # Errors
    /// Those of read(2).
    pub fn step_into(&mut self, process: &Process, sink: &mut dyn Sink) -> Result<Option<Status>> {
        let status = process.try_wait()?;
        self.source.step(&process.running, status, sink)
    }

    /// Returns whether a step saw the end of the command: only the sink can
    /// keep the status back then.
    pub fn has_ended(&self) -> bool {
        self.source.has_ended
    }

    /// Removes the limit of output from now on.
    pub fn lift_limit(&mut self) {
        self.source.room = u64::MAX;
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
            if let Break(why) = self.poll(process.status_fd(), deadline)? {
                return Ok(why);
            }
        }
    }

    /// Waits for input or for the end of the command. Continues with true at
    /// the end; breaks with the reason if neither came.
    fn poll(
        &self,
        status: BorrowedFd<'_>,
        deadline: Option<Instant>,
    ) -> Result<ControlFlow<Waited, bool>> {
        let mut fds = vec![PollFd::new(status, PollFlags::POLLIN)];
        fds.extend(self.fds().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        match poll(&mut fds, deadline) {
            Ok(false) => Ok(Break(Waited::TimedOut)),
            Ok(true) => Ok(Continue(fds[0].any() == Some(true))),
            Err(Errno::EINTR) => Ok(Break(Waited::Interrupted)),
            Err(e) => Err(Error::os(Step::ReadOutput, "poll", e)),
        }
    }

    /// Reads until the command has ended. Calls `interrupted` whenever a signal
    /// handler has run in this thread; if it returns true, kills the command
    /// and returns `None`.
    pub(crate) fn until_end(
        mut self,
        running: &Running,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Output>> {
        loop {
            let came = match self.fds().next() {
                Some(_) => self.poll(running.status_fd(), None)?,
                // With the last pipe closed only the end can come, so one call
                // waits for the status and reads it.
                None => Continue(true),
            };
            let status = match came {
                Continue(true) => running.status(true)?,
                Continue(false) | Break(_) => None,
            };
            if status.is_none() && came != Continue(false) {
                if interrupted() {
                    // If the kill fails, the sandbox is gone, and the command
                    // with it.
                    let _ = running.end(BY_CALLER);
                    return Ok(None);
                }
                continue;
            }
            if let Some(status) = self.source.step(running, status, &mut self.kept)? {
                return Ok(Some(self.complete(status)));
            }
        }
    }

    /// Lists the pipes that are still read from, non-blocking; readable when
    /// there is something for [`Capture::step`].
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let open = self.source.streams.iter().filter(|_| !self.source.over);
        open.filter_map(|s| s.fd.as_ref().map(|fd| fd.as_fd()))
    }

    /// Returns the kept bytes so far: standard output, or the terminal's, and
    /// standard error.
    pub fn output(&self) -> [&[u8]; 2] {
        self.kept.each_ref().map(|bytes| &bytes[..])
    }

    /// Returns the kept bytes with the end of the command.
    pub fn complete(self, status: Status) -> Output {
        let [stdout, stderr] = self.kept;
        Output {
            status,
            stdout,
            stderr,
        }
    }
}
