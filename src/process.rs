// SPDX-License-Identifier: MIT OR Apache-2.0
//! A running command: its pipes, its status, signals for it.
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
use crate::helper::send_request;
use crate::instance::{Instance, Running, RunningCommand};
use crate::status::Status;
use crate::sys::poll::poll_uninterrupted;
use crate::sys::{pidfd, terminal};
use crate::wire::{self, KILL_REQUEST, Kill};

pub use output::{Capture, Output, Sink, Waited};

/// A running command. Dropping a process neither waits nor kills: the sandbox's
/// end does, which for a command of [`crate::spawn_in`] is this.
/// [`crate::Sandbox::process`] finds it again.
#[derive(Debug)]
pub struct Process {
    pub(crate) running: Arc<Running>,
    pub(crate) pidfd: OwnedFd,
    pub(crate) master: Option<OwnedFd>,
    /// Our ends of its pipes, until they are taken.
    pub(crate) pipes: Mutex<Pipes>,
    /// The sandbox that was opened for this command alone, and ends with the
    /// process.
    pub(crate) owned: Option<Box<dyn Owned>>,
}

/// A value that a process keeps until its own end, without another use.
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
    /// Another hold on a command.
    pub(crate) fn again(running: Arc<Running>, pidfd: OwnedFd) -> Self {
        Self {
            running,
            pidfd,
            master: None,
            pipes: Mutex::default(),
            owned: None,
        }
    }

    /// Its number in its sandbox, which no other command of that sandbox gets,
    /// not even after a reset.
    pub fn id(&self) -> u64 {
        self.running.id
    }

    /// Its number, what it is, and how long it has been running: what
    /// [`crate::Sandbox::commands`] lists.
    pub fn describe(&self) -> RunningCommand {
        self.running.describe()
    }

    /// The end of its standard input to write to, if that is
    /// [`crate::Stdin::Piped`]; close it for end of file.
    pub fn take_stdin(&self) -> Option<OwnedFd> {
        self.pipes().stdin.take()
    }

    /// The end of its standard output to read from, if that is
    /// [`crate::Stdout::Piped`]. Blocking.
    pub fn take_stdout(&self) -> Option<OwnedFd> {
        self.pipes().stdout.take()
    }

    /// The end of its standard error to read from, if that is
    /// [`crate::Stdout::Piped`]. Blocking.
    pub fn take_stderr(&self) -> Option<OwnedFd> {
        self.pipes().stderr.take()
    }

    fn pipes(&self) -> MutexGuard<'_, Pipes> {
        self.pipes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The master of its terminal, if it has one.
    pub fn terminal(&self) -> Option<BorrowedFd<'_>> {
        self.master.as_ref().map(|fd| fd.as_fd())
    }

    /// Tells its terminal another size.
    ///
    /// # Errors
    /// [`Kind::Invalid`] without a terminal.
    pub fn resize(&self, size: Size) -> Result<()> {
        resize(self.terminal(), size)
    }

    /// Readable when the command has ended; for poll, epoll and the like, not
    /// to be read from.
    pub fn status_fd(&self) -> BorrowedFd<'_> {
        self.running.status_fd()
    }

    /// A pidfd, pidfd_open(2).
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Sends a signal to the command alone; does nothing after its end.
    ///
    /// # Errors
    /// EINVAL for a number that is no signal.
    pub fn signal(&self, signal: i32) -> Result<()> {
        let Running { instance, id, .. } = &*self.running;
        send_signal(instance, *id, self.pidfd(), signal)
    }

    /// Sends a signal to the command's process group, as a terminal does;
    /// nothing happens if the command has ended.
    ///
    /// # Errors
    /// [`Kind::Broken`] if the sandbox is gone.
    pub fn signal_group(&self, signal: i32) -> Result<()> {
        let Running { instance, id, .. } = &*self.running;
        instance.own()?;
        let kill = Kill {
            id: *id,
            signal: signal as u32,
            tree: wire::TO_GROUP,
            reason: wire::BY_ITSELF,
        };
        send_request(instance.control(), KILL_REQUEST, &kill, &[])
    }

    /// Kills the command and everything that it started; its reason is then
    /// [`Reason::Killed`](crate::Reason::Killed). Leftovers of a command that
    /// has ended stay.
    ///
    /// Its end is told when all of that is dead, also what left its session and
    /// lost its parents. Two things can outlive it: a process in disk sleep,
    /// for which its end waits ten seconds at most; and, beside other commands
    /// and without cgroup v2, a process that made itself look like another
    /// command's (docs/threat-model.md).
    ///
    /// # Errors
    /// [`Kind::Broken`] if the sandbox is gone, and so is the command.
    pub fn kill(&self) -> Result<()> {
        self.running.end(wire::BY_CALLER)
    }

    /// Returns a second hold on the command, for a thread that does not wait
    /// for it.
    ///
    /// # Errors
    /// As dup(2).
    pub fn control(&self) -> Result<Control> {
        let wrong = |e| Error::io(Step::ControlCommand, "dup", e);
        let master = self.terminal().map(|fd| fd.try_clone_to_owned());
        Ok(Control {
            id: self.running.id,
            instance: Arc::clone(&self.running.instance),
            pidfd: self.pidfd.try_clone().map_err(wrong)?,
            master: master.transpose().map_err(wrong)?,
        })
    }

    /// The most bytes of output that are captured:
    /// [`crate::Command::output_limit`], else `limits.output`.
    pub fn output_limit(&self) -> u64 {
        self.running.limit
    }

    /// Waits for the command's end and keeps what it writes to its pipes, or to
    /// its terminal; its input is closed first. Output above the command's
    /// limit ([`crate::Command::output_limit`]) ends it with the reason
    /// `output`. A pipe that was taken before is left to its taker.
    ///
    /// # Errors
    /// Those of read(2) and poll(2).
    pub fn wait_with_output(&self) -> Result<Output> {
        let output = Capture::of(self)?.until_end(&self.running, &mut || false)?;
        Ok(output.expect("no caller interrupts"))
    }

    /// Waits until the command has ended. Every call gives the same answer,
    /// from any thread.
    ///
    /// # Errors
    /// Those of poll(2).
    pub fn wait(&self) -> Result<Status> {
        self.wait_until(None, None)
            .map(|status| status.expect("without a deadline it has ended"))
    }

    /// Waits at most this long; `None` if the command still runs. Longer than
    /// the clock can tell is for ever.
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
/// May outlive the command; then nothing happens any more.
#[derive(Debug)]
pub struct Control {
    id: u64,
    instance: Arc<Instance>,
    pidfd: OwnedFd,
    master: Option<OwnedFd>,
}

impl Control {
    /// As [`Process::signal`].
    ///
    /// # Errors
    /// As [`Process::signal`].
    pub fn signal(&self, signal: i32) -> Result<()> {
        send_signal(&self.instance, self.id, self.pidfd.as_fd(), signal)
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
        resize(self.master.as_ref().map(|fd| fd.as_fd()), size)
    }
}

fn send_signal(instance: &Instance, id: u64, pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    instance.own()?;
    match pidfd::send_signal(pidfd, signal) {
        Err(Errno::ESRCH) | Ok(()) => Ok(()),
        // The command has another id than the caller, but the init may signal
        // any.
        Err(Errno::EPERM) => {
            let kill = Kill {
                id,
                signal: signal as u32,
                tree: wire::TO_COMMAND,
                reason: wire::BY_ITSELF,
            };
            send_request(instance.control(), KILL_REQUEST, &kill, &[])
        }
        Err(e) => Err(Error::os(Step::SignalCommand, signal, e)),
    }
}

fn resize(master: Option<BorrowedFd<'_>>, size: Size) -> Result<()> {
    let Some(master) = master else {
        return Err(Error::new(
            Kind::Invalid,
            Step::ResizeTerminal,
            "the command has none",
        ));
    };
    terminal::set_size(master, size.rows, size.columns).map_err(|e| {
        Error::os(
            Step::ResizeTerminal,
            format_args!("{} x {}", size.rows, size.columns),
            e,
        )
    })
}
