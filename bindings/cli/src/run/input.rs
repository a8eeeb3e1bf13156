// SPDX-License-Identifier: MIT OR Apache-2.0
//! Copies the caller's standard input to a command's pipe or terminal.
#![forbid(unsafe_code)]

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags};
use nix::unistd::{getpgrp, isatty, read, tcgetpgrp, write};
use tare::{Error, Process, Result};

use super::relay::reopened;
use tare_rpc::typed::Line;

/// Bytes read at once; keys typed ahead stay in the caller's terminal.
const CHUNK: usize = 16 << 10;

/// A copy of the input, while the command takes it.
pub(super) struct Input {
    from: OwnedFd,
    from_terminal: bool,
    open: bool,
    to: To,
    held: Vec<u8>,
    written: usize,
}

enum To {
    /// Write end of the command's standard input; `None` after the end of
    /// input.
    Pipe(Option<OwnedFd>),
    /// The command's terminal, and the keys that its line discipline holds.
    Terminal(OwnedFd, Line),
}

impl Input {
    /// Copies input for a command with a pipe or a private terminal.
    pub(super) fn new(process: &Process) -> Result<Option<Self>> {
        let wrong = |e| Error::io("copy input", "dup", e);
        let to = match process.terminal() {
            Some(master) => {
                let master = master.try_clone_to_owned().map_err(wrong)?;
                To::Terminal(master, Line::default())
            }
            None => match process.take_stdin() {
                Some(pipe) => To::Pipe(Some(pipe)),
                None => return Ok(None),
            },
        };
        if let To::Terminal(fd, _) | To::Pipe(Some(fd)) = &to {
            // The command's end is another open file description.
            fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
                .map_err(|e| Error::os("copy input", "fcntl", e))?;
        }
        let stdin = io::stdin();
        let from_terminal = isatty(stdin.as_fd()) == Ok(true);
        let again = match from_terminal {
            true => reopened(stdin.as_fd(), OFlag::O_RDONLY),
            false => None,
        };
        Ok(Some(Self {
            from: match again {
                Some(again) => again,
                None => stdin.as_fd().try_clone_to_owned().map_err(wrong)?,
            },
            from_terminal,
            open: true,
            to,
            held: Vec::new(),
            written: 0,
        }))
    }

    /// Adds the descriptors to wait for.
    pub(super) fn watch<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        let Some(to) = self.to_fd() else { return };
        if !self.held.is_empty() {
            fds.push(PollFd::new(to, PollFlags::POLLOUT));
        } else if self.open {
            fds.push(PollFd::new(self.from.as_fd(), PollFlags::POLLIN));
            if let To::Pipe(_) = self.to {
                // poll(2) reports a reader that is gone without a request.
                fds.push(PollFd::new(to, PollFlags::empty()));
            }
        }
    }

    /// Moves ready bytes; `ready` are the events for [`Input::watch`].
    pub(super) fn step(&mut self, ready: &[PollFlags]) {
        let any = |at: usize| ready.get(at).is_some_and(|r| !r.is_empty());
        if !self.held.is_empty() {
            if any(0) {
                self.give();
            }
        } else if self.open {
            if any(1) {
                self.to = To::Pipe(None);
                self.open = false;
            } else if any(0) {
                self.take();
            }
        }
    }

    /// Reads at once in a background job: the kernel then stops tare, as it
    /// stops every program that reads there.
    pub(super) fn claim(&mut self) {
        if self.open && self.from_terminal && self.held.is_empty() && self.is_background() {
            self.take();
        }
    }

    fn is_background(&self) -> bool {
        tcgetpgrp(&self.from).is_ok_and(|group| group != getpgrp())
    }

    fn to_fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.to {
            To::Pipe(fd) => fd.as_ref().map(|fd| fd.as_fd()),
            To::Terminal(fd, _) => Some(fd.as_fd()),
        }
    }

    fn take(&mut self) {
        self.held.resize(CHUNK, 0);
        self.written = 0;
        match read(&self.from, &mut self.held) {
            Err(Errno::EINTR | Errno::EAGAIN) => self.held.clear(),
            // The end, or a terminal that hung up, which is the same to the
            // command.
            Ok(0) | Err(_) => {
                self.held.clear();
                self.open = false;
                match &mut self.to {
                    To::Pipe(fd) => *fd = None,
                    To::Terminal(master, line) => self.held = line.end(master.as_fd()),
                }
            }
            Ok(n) => self.held.truncate(n),
        }
    }

    fn give(&mut self) {
        let Some(to) = self.to_fd() else { return };
        let left = &self.held[self.written..];
        match write(to, left) {
            Ok(n) => {
                if let To::Terminal(master, line) = &mut self.to {
                    line.follow(&left[..n], master.as_fd());
                }
                self.written += n;
            }
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            // The command has closed its input.
            Err(_) => {
                self.open = false;
                self.written = self.held.len();
                self.to = To::Pipe(None);
            }
        }
        if self.written == self.held.len() {
            self.held.clear();
        }
    }
}
