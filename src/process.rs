// SPDX-License-Identifier: MIT OR Apache-2.0
//! Holds a running command: pipes, status, and signals.
#![forbid(unsafe_code)]

mod output;

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};

use crate::command::Size;
use crate::error::{Error, Kind, Result, Step};
use crate::instance::{Instance, Running, RunningCommand};
use crate::status::Status;
use crate::sys::poll::poll_uninterrupted;
use crate::sys::{pidfd, terminal};
use crate::wire;

pub use output::{Capture, Output, Sink, Waited};

/// A running command. Dropping a process neither waits nor kills: the end of
/// the sandbox does, which for a command of [`crate::spawn_in`] is this drop.
/// [`crate::Sandbox::process`] finds the command again.
#[derive(Debug)]
pub struct Process {
    pub(crate) running: Arc<Running>,
    control: Control,
    /// The host's ends of the pipes, until they are taken.
    pipes: Mutex<Pipes>,
    /// The sandbox that was opened for this command alone, and ends with the
    /// process.
    pub(crate) owned: Option<Box<dyn Owned>>,
}

/// A value that a process keeps until the drop, without another use.
pub(crate) trait Owned: fmt::Debug + Send + Sync {}

/// The host's ends of a command's pipes.
#[derive(Debug, Default)]
pub(crate) struct Pipes {
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: Option<OwnedFd>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.running.let_go();
    }
}

impl Process {
    pub(crate) fn new(
        running: Arc<Running>,
        pidfd: OwnedFd,
        master: Option<OwnedFd>,
        pipes: Pipes,
    ) -> Self {
        let control = Control {
            id: running.id,
            instance: Arc::clone(&running.instance),
            pidfd,
            master,
        };
        Self {
            running,
            control,
            pipes: Mutex::new(pipes),
            owned: None,
        }
    }

    /// Returns the command's number in the sandbox. No other command of the
    /// sandbox gets that number, not even after a reset.
    pub fn id(&self) -> u64 {
        self.control.id
    }

    /// Describes the command, as [`crate::Sandbox::commands`] lists it.
    pub fn describe(&self) -> RunningCommand {
        self.running.describe()
    }

    /// Takes the end of standard input to write to, if the command was given
    /// [`crate::Stdin::Piped`]. Closing the end is end of file inside.
    pub fn take_stdin(&self) -> Option<OwnedFd> {
        self.pipes().stdin.take()
    }

    /// Takes the end of standard output to read from, if the command was given
    /// [`crate::Stdout::Piped`]. Reads block.
    pub fn take_stdout(&self) -> Option<OwnedFd> {
        self.pipes().stdout.take()
    }

    /// Takes the end of standard error to read from, if the command was given
    /// [`crate::Stdout::Piped`]. Reads block.
    pub fn take_stderr(&self) -> Option<OwnedFd> {
        self.pipes().stderr.take()
    }

    fn pipes(&self) -> MutexGuard<'_, Pipes> {
        self.pipes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the master of the command's terminal, if there is a terminal.
    pub fn terminal(&self) -> Option<BorrowedFd<'_>> {
        self.control.master.as_ref().map(|fd| fd.as_fd())
    }

    /// Changes the size of the terminal.
    ///
    /// # Errors
    /// [`Kind::Invalid`] without a terminal.
    pub fn resize(&self, size: Size) -> Result<()> {
        self.control.resize(size)
    }

    /// Returns a descriptor that is readable when the command has ended; for
    /// poll, epoll and the like, not to be read from.
    pub fn status_fd(&self) -> BorrowedFd<'_> {
        self.running.status_fd()
    }

    /// Returns a pidfd, pidfd_open(2).
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.control.pidfd.as_fd()
    }

    /// Sends a signal to the command alone; does nothing after the end.
    ///
    /// # Errors
    /// EINVAL for a number that is no signal.
    pub fn signal(&self, signal: i32) -> Result<()> {
        self.control.signal(signal)
    }

    /// Sends a signal to the command's process group, as a terminal does; does
    /// nothing if the command has ended.
    ///
    /// # Errors
    /// [`Kind::Broken`] if the sandbox is gone.
    pub fn signal_group(&self, signal: i32) -> Result<()> {
        self.control.send(signal, wire::TO_GROUP)
    }

    /// Kills the command and all its descendants; the reason of the end is then
    /// [`Reason::Killed`](crate::Reason::Killed). Leftovers of a command that
    /// has ended stay.
    ///
    /// The command's end is told when all descendants are dead, also those that
    /// left the session and lost their parents. Two kinds of process can
    /// outlive the end: a process in disk sleep, for which the end waits ten
    /// seconds at most; and, beside other commands and without cgroup v2, a
    /// process that made itself look like another command's
    /// (docs/threat-model.md).
    ///
    /// # Errors
    /// [`Kind::Broken`] if the sandbox is gone, and the command with the
    /// sandbox.
    pub fn kill(&self) -> Result<()> {
        self.control.kill()
    }

    /// Returns a second hold on the command, for a thread that does not wait
    /// for the end.
    ///
    /// # Errors
    /// As dup(2).
    pub fn control(&self) -> Result<Control> {
        let wrong = |e| Error::io(Step::ControlCommand, "dup", e);
        let master = self.terminal().map(|fd| fd.try_clone_to_owned());
        Ok(Control {
            id: self.id(),
            instance: Arc::clone(&self.control.instance),
            pidfd: self.control.pidfd.try_clone().map_err(wrong)?,
            master: master.transpose().map_err(wrong)?,
        })
    }

    /// Returns the most bytes of output that are captured:
    /// [`crate::Command::output_limit`], else `limits.output`.
    pub fn output_limit(&self) -> u64 {
        self.running.limit
    }

    /// Waits for the end of the command and keeps the output of its pipes, or
    /// of its terminal. Closes its input first. More output than the command's
    /// limit ([`crate::Command::output_limit`]) ends the command with the
    /// reason `output`. A pipe that was taken before is left to its taker.
    ///
    /// # Errors
    /// Those of read(2) and poll(2).
    pub fn wait_with_output(&self) -> Result<Output> {
        let output = Capture::of(self)?.until_end(&self.running, &mut || false)?;
        Ok(output.expect("no caller interrupts"))
    }

    /// Waits until the command has ended. Every call returns the same status,
    /// in any thread.
    ///
    /// # Errors
    /// Those of poll(2).
    pub fn wait(&self) -> Result<Status> {
        self.wait_until(None, None)
            .map(|status| status.expect("without a deadline it has ended"))
    }

    /// Waits at most this long; `None` if the command still runs. A time beyond
    /// the range of the clock is for ever.
    ///
    /// # Errors
    /// Those of poll(2).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Option<Status>> {
        self.wait_until(Instant::now().checked_add(timeout), None)
    }

    /// Waits until the command has ended, or until `stop` is readable or hung
    /// up, poll(2); `None` then. With an eventfd(2) or a pipe, another thread
    /// ends the wait. The command runs on.
    ///
    /// # Errors
    /// Those of poll(2).
    pub fn wait_unless(&self, stop: impl AsFd) -> Result<Option<Status>> {
        self.wait_until(None, Some(stop.as_fd()))
    }

    fn wait_until(
        &self,
        deadline: Option<Instant>,
        stop: Option<BorrowedFd<'_>>,
    ) -> Result<Option<Status>> {
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(Some(status));
            }
            let fds = [self.status_fd(), stop.unwrap_or(self.status_fd())];
            let mut both = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            let asked = &mut both[..1 + usize::from(stop.is_some())];
            match poll_uninterrupted(asked, deadline) {
                Ok(false) => return Ok(None),
                Ok(true) if both[1].any() == Some(true) => return self.try_wait(),
                Ok(true) => {}
                Err(e) => return Err(Error::os(Step::WaitForCommand, "poll", e)),
            }
        }
    }

    /// Returns the status if the command has ended; never waits.
    ///
    /// # Errors
    /// Those of recvmsg(2).
    pub fn try_wait(&self) -> Result<Option<Status>> {
        self.running.status(false)
    }
}

/// A second hold on a running command: sends signals and sizes while another
/// thread waits.
///
/// May outlive the command; calls do nothing then.
#[derive(Debug)]
pub struct Control {
    id: u64,
    instance: Arc<Instance>,
    pidfd: OwnedFd,
    master: Option<OwnedFd>,
}

impl Control {
    fn send(&self, signal: i32, to: u32) -> Result<()> {
        self.instance
            .send_kill(self.id, signal, to, wire::BY_ITSELF)
    }

    /// As [`Process::signal`].
    ///
    /// # Errors
    /// As [`Process::signal`].
    pub fn signal(&self, signal: i32) -> Result<()> {
        self.instance.own()?;
        match pidfd::send_signal(self.pidfd.as_fd(), signal) {
            Err(Errno::ESRCH) | Ok(()) => Ok(()),
            // The command has another user id than the caller, but the init may
            // signal any process.
            Err(Errno::EPERM) => self.send(signal, wire::TO_COMMAND),
            Err(e) => Err(Error::os(Step::SignalCommand, signal, e)),
        }
    }

    /// As [`Process::kill`].
    ///
    /// # Errors
    /// As [`Process::kill`].
    pub fn kill(&self) -> Result<()> {
        self.instance.kill(self.id, wire::BY_CALLER)
    }

    /// As [`Process::resize`].
    ///
    /// # Errors
    /// As [`Process::resize`].
    pub fn resize(&self, size: Size) -> Result<()> {
        let step = Step::ResizeTerminal;
        let Some(master) = &self.master else {
            return Err(Error::new(Kind::Invalid, step, "the command has none"));
        };
        let Size { rows, columns } = size;
        terminal::set_size(master.as_fd(), rows, columns)
            .map_err(|e| Error::os(step, format_args!("{rows} x {columns}"), e))
    }
}
