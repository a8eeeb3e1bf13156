// SPDX-License-Identifier: MIT OR Apache-2.0
//! Holds a command from the request to the end: reads the status, and kills.
#![forbid(unsafe_code)]

use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Instant;

use nix::errno::Errno;
use serde::{Serialize, Serializer};

use super::{Instance, MemoryMark, gone};
use crate::error::{Error, Kind, Result, Step};
use crate::helper::{checked, read_now, receive_now};
use crate::parts::cgroup::ChildCgroup;
use crate::parts::idmap::ids_of_more;
use crate::status::{Reason, Status, Usage};
use crate::sys::poll::is_readable;
use crate::wire::{self, Reply};

/// A command as the host knows it.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) id: u64,
    /// Program and arguments.
    pub(crate) argv: Vec<OsString>,
    pub(crate) begun: Instant,
    pub(crate) instance: Arc<Instance>,
    pub(crate) status: StatusFd,
    /// The most bytes of output that are captured.
    pub(crate) limit: u64,
    /// The state of the sandbox's memory before the start.
    pub(crate) memory: MemoryMark,
    /// The end of the command, or the error that hides the end.
    pub(crate) done: Mutex<Option<Result<Status>>>,
    /// True if a thread may hold the lock of `done` until the end.
    pub(crate) awaited: AtomicBool,
    /// A cgroup for the command alone, if it has a time limit or began beside
    /// other commands.
    pub(crate) cgroup: Mutex<Option<ChildCgroup>>,
    /// Words for an error of the start.
    pub(crate) context: StartContext,
}

/// The descriptor that a command's status is read from.
#[derive(Debug)]
pub(crate) enum StatusFd {
    /// A socket, on which the init first says that the command has started. The
    /// status is the next message.
    Socket(OwnedFd),
    /// A pipe, for a start that the host does not wait for. The status is the
    /// first message; so is the reason if the command could not be started.
    Pipe(OwnedFd),
}

impl StatusFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Socket(fd) | Self::Pipe(fd) => fd.as_fd(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.retire_cgroup();
        // The command may run on, unknown to this process, and use memory.
        self.instance.memory.leave(&self.memory, Some(true));
    }
}

impl Running {
    /// Kills the command with all its descendants; `reason` is a `BY_*` number.
    pub(crate) fn end(&self, reason: u32) -> Result<()> {
        self.instance.kill(self.id, reason)
    }

    /// Returns a descriptor that is readable when the command has ended.
    pub(crate) fn status_fd(&self) -> BorrowedFd<'_> {
        self.status.as_fd()
    }

    /// Returns the status if the command has ended. With `wait`, waits for the
    /// end, or until a signal handler runs.
    pub(crate) fn status(&self, wait: bool) -> Result<Option<Status>> {
        let Some(mut done) = self.done(wait) else {
            return Ok(None);
        };
        if let Some(known) = &*done {
            return known.clone().map(Some);
        }
        // A forked copy would take the message that the parent waits for.
        self.instance.own()?;
        let said = match &self.status {
            StatusFd::Socket(fd) => receive_now(fd.as_fd(), wait).map(|(reply, _)| reply),
            StatusFd::Pipe(fd) => read_now(fd.as_fd(), wait),
        };
        let heard = match said {
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
            Err(e) => return Err(Error::os(Step::WaitForCommand, "status", e)),
            Ok(reply) => self.heard(reply),
        };
        if let Ok(status) = &heard {
            self.tell(status);
            self.retire_cgroup();
            // Does nothing after a reply, which has counted the end already.
            self.instance.memory.leave(&self.memory, Some(true));
        }
        *done = Some(heard.clone());
        // Before the lock of the table, which another thread may hold while
        // waiting for this lock.
        drop(done);
        self.instance.commands.remove(self.id);
        heard.map(Some)
    }

    /// Locks `done`. Returns `None` if another thread holds the lock and waits
    /// for the end of the command; with `wait`, waits for that thread.
    fn done(&self, wait: bool) -> Option<MutexGuard<'_, Option<Result<Status>>>> {
        if wait {
            self.awaited.store(true, Ordering::Relaxed);
            let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
            return Some(done);
        }
        loop {
            match self.done.try_lock() {
                Ok(done) => return Some(done),
                Err(TryLockError::Poisoned(done)) => return Some(done.into_inner()),
                Err(TryLockError::WouldBlock)
                    if self.awaited.load(Ordering::Relaxed) && !is_readable(self.status_fd()) =>
                {
                    return None;
                }
                // The other thread does not wait, or has a reply to read, maybe
                // the reply that woke this thread. The lock is free soon.
                Err(TryLockError::WouldBlock) => std::thread::yield_now(),
            }
        }
    }

    /// Reads the status of an ended command when a handle is dropped. The table
    /// keeps a command that runs on.
    pub(crate) fn let_go(&self) {
        // In a forked copy of the process the lock may be held for ever.
        if self.instance.spawner().is_own() {
            // An error leaves the command in the table: the next look may
            // succeed.
            let _ = self.status(false);
        }
    }

    pub(crate) fn describe(&self) -> RunningCommand {
        RunningCommand {
            id: self.id,
            argv: self.argv.clone(),
            wall_ns: u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX),
        }
    }

    fn tell(&self, status: &Status) {
        // The words take time, and no log hears them in most hosts.
        if !log::log_enabled!(log::Level::Debug) {
            return;
        }
        let (name, id) = (&self.instance.name(), self.id);
        let reason = format!("{:?}", status.reason).to_lowercase();
        let end = match status.exit_code {
            Some(code) => format!("code {code}"),
            None => format!("signal {}", status.signal.unwrap_or_default()),
        };
        log::debug!("sandbox {name}: command {id}: {reason}, {end}");
    }

    fn heard(&self, reply: Option<Reply>) -> Result<Status> {
        match (reply, &self.status) {
            (Some(reply), _) if reply.kind == wire::EXITED => {
                let status = self.status_of(&reply);
                let left = reply.index != 0;
                self.instance.memory.leave(&self.memory, Some(left));
                Ok(status)
            }
            (Some(reply), StatusFd::Pipe(_)) => match checked(Some(reply), &[]) {
                Err(error) => {
                    self.instance.memory.leave(&self.memory, None);
                    Err(self.context.explain(&self.argv[0], error))
                }
                Ok(_) => Err(gone()),
            },
            // End of file: the init has ended, because the sandbox was closed,
            // reset, or killed from outside.
            (None, StatusFd::Pipe(_)) | (_, StatusFd::Socket(_)) => Ok(Status {
                exit_code: None,
                signal: Some(libc::SIGKILL),
                core_dumped: false,
                reason: Reason::Killed,
                usage: Usage::default(),
            }),
        }
    }

    fn retire_cgroup(&self) {
        let mut cgroup = self.cgroup.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cgroup) = cgroup.take() {
            self.instance.retire(cgroup);
        }
    }

    fn status_of(&self, reply: &Reply) -> Status {
        let signal = (reply.signal != 0).then_some(reply.signal as i32);
        let oom_kills = self.instance.oom_kills_since(&self.memory);
        // A shell reports the SIGKILL of its child as 128 plus the signal.
        let killed = signal == Some(libc::SIGKILL) || reply.code == 128 + libc::SIGKILL;
        let reason = match reply.place {
            wire::BY_TIMEOUT => Reason::Timeout,
            wire::BY_OUTPUT => Reason::Output,
            wire::BY_CALLER if signal.is_some() => Reason::Killed,
            _ if killed && oom_kills > Some(0) => Reason::Oom,
            _ if signal.is_some() => Reason::Signaled,
            _ => Reason::Exited,
        };
        let usage = Usage {
            wall_ns: reply.wall_ns,
            user_us: reply.user_us,
            system_us: reply.system_us,
            // Without the count of a cgroup, the largest process stands for
            // all.
            memory_peak: match self.instance.setup.counts_memory {
                true => self.instance.memory_peak_since(&self.memory),
                false => Some(reply.max_rss_kib * 1024),
            },
            // getrusage(2) counts in blocks of 512 bytes.
            io_read: reply.blocks_in * 512,
            io_written: reply.blocks_out * 512,
            oom_kills,
        };
        Status {
            exit_code: signal.is_none().then_some(reply.code),
            signal,
            core_dumped: reply.core != 0,
            reason,
            usage,
        }
    }
}

/// A running command, as in the list of [`crate::Sandbox::commands`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunningCommand {
    /// Number in the sandbox, [`crate::Process::id`].
    pub id: u64,
    /// Program and arguments; in JSON as text, with U+FFFD for bytes that are
    /// not UTF-8.
    #[serde(serialize_with = "texts")]
    pub argv: Vec<OsString>,
    /// Nanoseconds since the start.
    pub wall_ns: u64,
}

fn texts<S: Serializer>(argv: &[OsString], serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_seq(argv.iter().map(|arg| arg.to_string_lossy()))
}

/// The user and the directory of a start, for the words of a failure.
#[derive(Debug)]
pub(crate) struct StartContext {
    pub(crate) user: CString,
    pub(crate) cwd: CString,
}

impl StartContext {
    /// Adds the subject of the failed step to an error of the start.
    pub(crate) fn explain(&self, program: &OsStr, error: Error) -> Error {
        let step = error.at();
        let Some(errno) = error.errno().map(Errno::from_raw) else {
            return error;
        };
        let subject = match step {
            Step::LookUpUser | Step::SetUserAndGroups => return no_user(step, &self.user, errno),
            Step::Clone3 | Step::Execute => format!("{program:?}"),
            Step::ChangeDirectory => format!("{:?}", self.cwd),
            _ if error.subject().is_empty() => format!("{program:?}"),
            _ => return error,
        };
        let error = Error::os(step, subject, errno);
        match (step, errno) {
            (Step::Clone3, Errno::EAGAIN) => {
                error.with_cure("a higher limits.pids or ulimit -u, or fewer at once")
            }
            (Step::ChangeDirectory, Errno::ENOENT) => error.with_cure(
                "a directory that is there; one of an image is made by workdir: tare run -w",
            ),
            _ => error,
        }
    }
}

/// Returns the user, and the groups that were asked for.
fn shown_user(user: &CStr) -> String {
    let text = user.to_string_lossy();
    match text.split_once('\n') {
        None => format!("{text:?}"),
        Some((user, groups)) => {
            let groups: Vec<&str> = groups.lines().collect();
            format!("{user:?} with groups {}", groups.join(", "))
        }
    }
}

/// Returns the error of a user that does not exist, or that no process can
/// become.
pub(crate) fn no_user(step: Step, user: &CStr, errno: Errno) -> Error {
    let subject = shown_user(user);
    match (step, errno) {
        (Step::LookUpUser, Errno::EINVAL) if user.is_empty() => {
            let why = "/etc/passwd or /etc/group of the image is no regular file";
            Error::os(step, why, errno)
        }
        (Step::LookUpUser, Errno::EINVAL) => {
            let why = format_args!("{subject} is no user name, and no number up to 2147483647");
            Error::new(Kind::Invalid, step, why)
        }
        (Step::LookUpUser, Errno::ENOENT) => {
            let why = format_args!("{subject} is not in /etc/passwd or /etc/group of the image");
            Error::new(Kind::NotFound, step, why)
        }
        (Step::SetUserAndGroups, Errno::EINVAL) | (Step::LookUpUser, Errno::EPERM) => {
            Error::os(step, subject, errno).with_cure(ids_of_more())
        }
        _ => Error::os(step, subject, errno),
    }
}
