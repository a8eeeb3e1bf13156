// SPDX-License-Identifier: MIT OR Apache-2.0
//! Waits for a command in a single loop over its streams, its end and signals.
#![forbid(unsafe_code)]

use std::io;
use std::os::fd::AsFd as _;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tare::{Capture, Error, Output, Process, Result, Status};

use super::input::Input;
use super::relay::Relay;
use super::signals::Signals;
use super::terminal::Raw;

/// A running command, with relays for its streams.
pub(super) struct Attached {
    process: Process,
    signals: Signals,
    raw: Option<Raw>,
    input: Option<Input>,
    outputs: Vec<Relay>,
    capture: Option<Capture>,
}

impl Attached {
    /// Relays output to the caller, or keeps it if `captured`.
    pub(super) fn new(
        process: Process,
        signals: Signals,
        interactive: bool,
        captured: bool,
    ) -> Result<Self> {
        let tty = process.terminal().is_some();
        let raw = match tty && interactive {
            true => Raw::enter()?,
            false => None,
        };
        let input = match interactive {
            true => Input::new(&process)?,
            false => None,
        };
        let capture = captured.then(|| Capture::of(&process)).transpose()?;
        let master = process
            .terminal()
            .filter(|_| !captured)
            .map(|fd| fd.try_clone_to_owned())
            .transpose()
            .map_err(|e| Error::io("carry terminal", "dup", e))?;
        let mut outputs = Vec::new();
        if let Some(from) = master.or_else(|| process.take_stdout()) {
            let to = io::stdout();
            outputs.push(Relay::new(from, to.as_fd(), "standard output")?);
        }
        if let Some(from) = process.take_stderr() {
            let to = io::stderr();
            outputs.push(Relay::new(from, to.as_fd(), "standard error")?);
        }
        Ok(Self {
            process,
            signals,
            raw,
            input,
            outputs,
            capture,
        })
    }

    /// Waits for the command's end; output may still be in the pipes.
    pub(super) fn wait(&mut self) -> Result<Status> {
        loop {
            let ended = match &mut self.capture {
                Some(capture) => capture.step(&self.process)?,
                None => self.process.try_wait()?,
            };
            if let Some(status) = ended {
                return Ok(status);
            }
            self.signals.pass(&self.process, self.raw.as_ref())?;
            while !self.turn()? {}
        }
    }

    /// Moves ready bytes; returns true if another descriptor is ready.
    fn turn(&mut self) -> Result<bool> {
        if let Some(input) = &mut self.input {
            input.claim();
        }
        let mut fds = vec![
            PollFd::new(self.process.status_fd(), PollFlags::POLLIN),
            PollFd::new(self.signals.fd(), PollFlags::POLLIN),
        ];
        let captured = self.capture.iter().flat_map(|capture| capture.fds());
        fds.extend(captured.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        let input_at = fds.len();
        if let Some(input) = &self.input {
            input.watch(&mut fds);
        }
        let outputs_at = fds.len();
        fds.extend(self.outputs.iter().filter_map(Relay::watch));
        let ready = ready(&mut fds)?;
        if let Some(input) = &mut self.input {
            input.step(&ready[input_at..outputs_at]);
        }
        carry(&mut self.outputs, &ready[outputs_at..]);
        let other = ready[..input_at].iter().any(|r| !r.is_empty());
        Ok(other)
    }

    /// Returns the captured output.
    pub(super) fn output(&mut self, status: Status) -> Option<Output> {
        Some(self.capture.take()?.complete(status))
    }

    /// Waits until the caller has taken all output. Call after the sandbox is
    /// closed, because background processes hold the pipes until then.
    pub(super) fn finish(self) -> Result<()> {
        let Self {
            mut signals,
            mut outputs,
            process,
            raw,
            input,
            ..
        } = self;
        // Drops the ends of terminal and pipe that would keep a reader waiting.
        drop((process, input));
        while !signals.end() {
            let mut fds: Vec<PollFd<'_>> = outputs.iter().filter_map(Relay::watch).collect();
            if fds.is_empty() {
                break;
            }
            fds.push(PollFd::new(signals.fd(), PollFlags::POLLIN));
            let ready = ready(&mut fds)?;
            carry(&mut outputs, &ready);
        }
        drop(raw);
        outputs.iter().try_for_each(Relay::outcome)
    }
}

/// Returns the events of each descriptor; none if a signal interrupted poll(2).
fn ready(fds: &mut [PollFd<'_>]) -> Result<Vec<PollFlags>> {
    match poll(fds, PollTimeout::NONE) {
        Ok(_) => {}
        Err(Errno::EINTR) => return Ok(vec![PollFlags::empty(); fds.len()]),
        Err(e) => return Err(Error::os("wait for command", "poll", e)),
    }
    let answers = fds.iter().map(|fd| fd.revents());
    Ok(answers
        .map(|ready| ready.unwrap_or(PollFlags::empty()))
        .collect())
}

/// Advances ready relays; `ready` has an entry for each watched relay.
fn carry(outputs: &mut [Relay], ready: &[PollFlags]) {
    let watched = outputs.iter_mut().filter(|relay| relay.watch().is_some());
    for (relay, ready) in watched.zip(ready) {
        if !ready.is_empty() {
            relay.step();
        }
    }
}
