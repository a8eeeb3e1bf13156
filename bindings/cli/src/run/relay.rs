// SPDX-License-Identifier: MIT OR Apache-2.0
//! Copies a stream of a command's output to a descriptor of the caller.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, open, splice};
use nix::poll::{PollFd, PollFlags};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{isatty, read, write};
use tare::error::Step;
use tare::{Error, Result};

/// Bytes read or spliced at once.
const CHUNK: usize = 64 << 10;
/// Bytes written at once if a longer write could wait for a slow reader, and
/// delay signals.
const BRIEF: usize = 512;

/// Copies bytes in order, as fast as the reader takes them.
pub(super) struct Relay {
    /// `None` at the end of the output, or after an error of the reader.
    from: Option<OwnedFd>,
    to: OwnedFd,
    name: &'static str,
    held: Vec<u8>,
    written: usize,
    /// True if bytes move between pipes without a copy.
    splices: bool,
    /// True if the caller's pipe is full.
    full: bool,
    most: usize,
    failed: Option<Errno>,
}

impl Relay {
    /// Starts a relay from a command's pipe or its terminal's master, and makes
    /// that non-blocking. The command's end is another open file description.
    pub(super) fn new(from: OwnedFd, to: BorrowedFd<'_>, name: &'static str) -> Result<Self> {
        let wrong = |e| Error::os("copy output", name, e);
        fcntl(&from, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(wrong)?;
        let kind = |fd: BorrowedFd<'_>| fstat(fd).map(|s| s.st_mode & SFlag::S_IFMT.bits());
        let is_pipe = |fd| kind(fd).map(|kind| kind == SFlag::S_IFIFO.bits());
        let splices = is_pipe(to).map_err(wrong)? && is_pipe(from.as_fd()).map_err(wrong)?;
        let regular = kind(to).map_err(wrong)? == SFlag::S_IFREG.bits();
        let again = match isatty(to) {
            Ok(true) => reopened(to, OFlag::O_WRONLY),
            _ => None,
        };
        let flags = OFlag::from_bits_truncate(fcntl(to, FcntlArg::F_GETFL).map_err(wrong)?);
        let waits = again.is_none() && !regular && !flags.contains(OFlag::O_NONBLOCK);
        let own = || to.try_clone_to_owned();
        Ok(Self {
            from: Some(from),
            to: match again {
                Some(again) => again,
                None => own().map_err(|e| Error::io("copy output", name, e))?,
            },
            name,
            held: Vec::new(),
            written: 0,
            splices,
            full: false,
            most: if waits { BRIEF } else { CHUNK },
            failed: None,
        })
    }

    /// Returns the descriptor to wait for; `None` at the end.
    pub(super) fn watch(&self) -> Option<PollFd<'_>> {
        if self.full || !self.held.is_empty() {
            return Some(PollFd::new(self.to.as_fd(), PollFlags::POLLOUT));
        }
        let from = self.from.as_ref()?;
        Some(PollFd::new(from.as_fd(), PollFlags::POLLIN))
    }

    /// Moves bytes, after [`Relay::watch`] was ready.
    pub(super) fn step(&mut self) {
        if self.full {
            self.full = false;
        } else if self.held.is_empty() {
            self.take();
        } else {
            self.give();
        }
    }

    /// # Errors
    /// The first error that kept output from the caller. A reader that is gone
    /// is no error, because the command itself gets SIGPIPE.
    pub(super) fn outcome(&self) -> Result<()> {
        match self.failed {
            None | Some(Errno::EPIPE | Errno::EIO) => Ok(()),
            Some(errno) => Err(Error::os(Step::WriteOutput, self.name, errno)),
        }
    }

    fn take(&mut self) {
        let Some(from) = &self.from else { return };
        if self.splices {
            let flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
            match splice(from, None, &self.to, None, CHUNK, flags) {
                Ok(0) => self.from = None,
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => self.full = true,
                // Some pipes take no spliced pages.
                Err(Errno::EINVAL) => self.splices = false,
                Err(errno) => self.fail(errno),
            }
            return;
        }
        self.held.resize(CHUNK, 0);
        match read(from, &mut self.held) {
            // A terminal's master returns EIO when its last user is gone.
            Ok(0) | Err(Errno::EIO) => {
                self.held.clear();
                self.from = None;
            }
            Ok(n) => {
                self.held.truncate(n);
                self.written = 0;
            }
            Err(Errno::EAGAIN | Errno::EINTR) => self.held.clear(),
            Err(errno) => self.fail(errno),
        }
    }

    fn give(&mut self) {
        let end = self.held.len().min(self.written + self.most);
        match write(&self.to, &self.held[self.written..end]) {
            Ok(n) => self.written += n,
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => return self.fail(errno),
        }
        if self.written == self.held.len() {
            self.held.clear();
        }
    }

    /// Closes the stream, so that the command's next write fails.
    fn fail(&mut self, errno: Errno) {
        self.failed = Some(errno);
        self.held.clear();
        self.from = None;
    }
}

/// Opens the terminal again, non-blocking without an effect on the caller;
/// `None` without permission.
pub(super) fn reopened(fd: BorrowedFd<'_>, access: OFlag) -> Option<OwnedFd> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let flags = access | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    open(path.as_str(), flags, Mode::empty()).ok()
}
