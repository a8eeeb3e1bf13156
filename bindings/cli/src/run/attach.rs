// SPDX-License-Identifier: MIT OR Apache-2.0
//! Waiting for a command whose output is the caller's own, or that has a terminal.
#![forbid(unsafe_code)]

use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{read, write};
use tare::{Error, Process, Result, Status};

use super::{signals, terminal::Raw};
use crate::typed::Line;

/// Keys typed ahead, beyond which tare stops reading.
const TYPED_AHEAD: usize = 64 << 10;

/// Waits for its end; with a terminal, carries what is typed there and what it shows here.
pub(super) fn attach(process: Process, interactive: bool) -> Result<Status> {
    let tty = process.terminal().is_some();
    signals::forward(process.control()?)?;
    if !tty {
        return process.wait();
    }
    let _raw = if interactive { Raw::enter()? } else { None };
    carry(&process, interactive)?;
    process.wait()
}

/// Until the command has ended and all it wrote is shown.
fn carry(process: &Process, interactive: bool) -> Result<()> {
    let Some(master) = process.terminal() else {
        return Ok(());
    };
    let wrong = |e| Error::os("carry terminal", "poll", e);
    // The command's end is a description of its own, so it never sees this flag.
    fcntl(master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(wrong)?;
    let stdin = io::stdin();
    let mut input = Input::new(interactive);
    let mut shown = true;
    loop {
        let mut on_master = PollFlags::empty();
        on_master.set(PollFlags::POLLIN, shown);
        on_master.set(PollFlags::POLLOUT, !input.typed.is_empty());
        let mut fds = vec![PollFd::new(process.status_fd(), PollFlags::POLLIN)];
        // A terminal without a user would be reported again and again.
        if shown {
            fds.push(PollFd::new(master, on_master));
        }
        let typing = input.open && input.typed.len() < TYPED_AHEAD;
        if typing {
            fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(wrong(e)),
        }
        let ended = fds[0].any() == Some(true);
        if typing && fds.last().is_some_and(|fd| fd.any() == Some(true)) {
            input.read(stdin.as_fd(), master);
        }
        input.write(master);
        shown = shown && show(master)?;
        // What the kernel still holds of its output is shown, too.
        while ended && shown && poll_now(master) {
            shown = show(master)?;
        }
        if ended {
            return Ok(());
        }
    }
}

/// What was typed and is still to be passed on.
struct Input {
    typed: Vec<u8>,
    open: bool,
    line: Line,
}

impl Input {
    fn new(open: bool) -> Self {
        Self {
            typed: Vec::new(),
            open,
            line: Line::default(),
        }
    }

    fn read(&mut self, stdin: BorrowedFd<'_>, master: BorrowedFd<'_>) {
        let mut chunk = [0; 4096];
        match read(stdin, &mut chunk) {
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            // The end, or a terminal that hung up, which is the same to the command.
            Ok(0) | Err(_) => {
                self.open = false;
                self.typed.extend(self.line.end(master));
            }
            Ok(n) => {
                self.line.follow(&chunk[..n], master);
                self.typed.extend_from_slice(&chunk[..n]);
            }
        }
    }

    fn write(&mut self, master: BorrowedFd<'_>) {
        while !self.typed.is_empty() {
            match write(master, &self.typed) {
                Ok(n) => drop(self.typed.drain(..n)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                // Nobody has it open any more.
                Err(_) => self.typed.clear(),
            }
        }
    }
}

/// Whether there is something to show.
fn poll_now(master: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(master, PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

/// Shows some of what is there, so that keys are never kept waiting; false when nothing can
/// come any more.
fn show(master: BorrowedFd<'_>) -> Result<bool> {
    let mut chunk = [0; 16 << 10];
    match read(master, &mut chunk) {
        Ok(0) | Err(Errno::EIO) => Ok(false),
        Ok(n) => {
            let mut out = io::stdout().lock();
            out.write_all(&chunk[..n])
                .and_then(|()| out.flush())
                .map_err(|e| Error::io("write output", "standard output", e))?;
            Ok(true)
        }
        Err(Errno::EAGAIN | Errno::EINTR) => Ok(true),
        Err(e) => Err(Error::os("carry terminal", "read", e)),
    }
}
