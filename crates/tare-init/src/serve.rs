// SPDX-License-Identifier: MIT OR Apache-2.0
//! Process 1 of a sandbox while serving: runs commands until the host ends the
//! sandbox.

mod ends;

use core::cell::Cell;

use crate::command::{self, Child, Inherited, Parts, Place};
use crate::files::Files;
use crate::filtered_thread::{FilteredThread, hand_over};
use crate::mapping::{Mapping, Table};
use crate::message::{BUFFER, Fds, Outcome, Request, at, failed, note, receive, reply, tell};
use crate::owner::Marks;
use crate::sys::{self, Errno, MaybeFd, PollFd, Result};
use crate::wire::{self, Field as _, Find, Kill, Open, Reader, Reply, Run};
use ends::Row;

/// Commands that run at once in a sandbox.
const ROWS: usize = 16384;

/// Time from fork(2) to execve(2) of a command. Only a process inside the
/// sandbox can delay a command for so long.
const START_NS: u64 = 10_000_000_000;

/// Time that this process keeps a command's ends of pipes, too, where the host
/// waits for the end only. Most commands are dead by then, and all ends close
/// at once: the host wakes once, instead of once for the pipe and once for the
/// status.
const BRIEF_NS: u64 = 10_000_000;

/// Descriptors that stay open, in this order from number 3 on.
pub(crate) const CONTROL: i32 = 3;
const DEVPTS: i32 = 4;
pub(crate) const DEV: i32 = 5;
const PROC: i32 = 6;
/// Behind number 7, the stage, which is only kept open.
pub(crate) const SIGNALS: i32 = 8;

pub(crate) struct Resident<'a> {
    open: &'a Open<'a>,
    rows: Table<Row>,
    parts: Parts,
    files: Files,
    /// Number of running commands.
    live: usize,
    /// True if the last reaping found no child: then no other process is in the
    /// sandbox.
    empty: bool,
    /// Marks that tell the processes of commands apart.
    marks: Marks,
    /// The way to the first thread, in the filtered thread.
    filtered: Option<&'static FilteredThread>,
}

/// The times of a command, nanoseconds of the clock.
struct Times {
    started: u64,
    /// End of the command's time, 0 for never.
    deadline: u64,
    /// Time to give up a child that has executed no program, even if the
    /// command has more time.
    latest: u64,
    /// The earlier of both.
    start_by: u64,
}

impl Times {
    fn of(run: &Run<'_>) -> Self {
        let started = sys::now_ns();
        let latest = started.saturating_add(START_NS);
        let (deadline, start_by) = match run.timeout_ms.saturating_mul(1_000_000) {
            0 => (0, latest),
            ns => (
                started.saturating_add(ns),
                latest.min(started.saturating_add(ns)),
            ),
        };
        Self {
            started,
            deadline,
            latest,
            start_by,
        }
    }
}

/// State that the first thread hands to the filtered thread.
type Served<'r, 'a> = (&'r mut Resident<'a>, &'r mut Mapping);

impl<'a> Resident<'a> {
    pub(crate) fn new(open: &'a Open<'a>, inherited: Inherited) -> Result<Self> {
        Ok(Self {
            open,
            rows: Table::lasting(ROWS)?,
            parts: Parts::new(inherited)?,
            files: Files::default(),
            live: 0,
            empty: true,
            marks: Marks::default(),
            filtered: None,
        })
    }

    pub(crate) fn serve(&mut self, memory: &mut Mapping) -> ! {
        loop {
            let Ok(buffer) = <&mut [u8; BUFFER]>::try_from(memory.bytes_mut()) else {
                sys::exit(70)
            };
            let mut fds = [CONTROL, SIGNALS].map(PollFd::input);
            sys::await_input(&mut fds, self.until_deadline());
            let [control, signals] = fds.map(|f| f.revents != 0);
            if signals {
                self.reap();
            }
            self.expire();
            if control {
                match receive(CONTROL, buffer) {
                    Ok(Some(request)) => self.answer(request),
                    // The host closed the sandbox or is gone. The end of
                    // process 1 ends the pid namespace.
                    Ok(None) => sys::exit(0),
                    // A malformed message is dropped, which closes its sockets;
                    // the sender sees that.
                    Err(_) => {}
                }
            }
        }
    }

    /// Tells the host that the sandbox is ready, and continues in a filtered
    /// thread if possible; otherwise returns. The thread attaches the program
    /// while the host prepares its first request.
    pub(crate) fn hand_over(&mut self, memory: &mut Mapping, announce: fn()) {
        let confine = &self.open.confine;
        if confine.seccomp_at_birth == 1 && confine.no_new_privs == 1 && !confine.seccomp.is_empty()
        {
            let program = confine.seccomp;
            let serve = |(resident, memory): &mut Served<'_, 'a>, thread| -> ! {
                resident.filtered = Some(thread);
                resident.serve(memory)
            };
            hand_over(program, serve, &mut (self, memory), announce);
        } else {
            announce();
        }
    }

    /// Calls `work` in the first thread, which has no filter.
    fn first<R>(&mut self, work: impl FnOnce(&mut Self) -> R) -> R {
        let Some(thread) = self.filtered.take() else {
            return work(self);
        };
        let mut result = None;
        thread.by_first(|| result = Some(work(self)));
        self.filtered = Some(thread);
        match result {
            Some(result) => result,
            None => sys::exit(70),
        }
    }

    fn answer(&mut self, mut request: Request<'_>) {
        let kind = request.kind;
        let (body, fds) = request.parts();
        match kind {
            wire::RUN_REQUEST => {
                let status = fds.get(0).unwrap_or(-1);
                let run = Run::get(&mut Reader::new(body)).ok_or((wire::AT_MESSAGE, Errno::PROTO));
                let started =
                    run.and_then(|run| match run.flags & (wire::TTY | wire::INTO_CGROUP) {
                        0 => self.start(&run, fds),
                        _ => self.first(|this| this.start(&run, fds)),
                    });
                if let Err(failure) = started {
                    note(status, &failed(failure));
                }
            }
            wire::KILL_REQUEST => {
                if let Some(kill) = Kill::get(&mut Reader::new(body)) {
                    self.first(|this| this.kill(&kill));
                }
            }
            wire::PIDFD_REQUEST => self.find(body, fds.get(0).unwrap_or(-1)),
            wire::FILE_REQUEST => self.first(|this| {
                this.files
                    .serve(body, fds.as_slice(), PROC, &this.open.confine)
            }),
            _ => {}
        }
    }

    /// Sends a pidfd of a running command.
    fn find(&mut self, body: &[u8], told: i32) {
        let find = Find::get(&mut Reader::new(body)).ok_or(Errno::PROTO);
        let found = find.and_then(|find| {
            let row = self.used().find(|r| r.id == find.id && !r.is_dead());
            // The pid is not reused as long as the row is in use.
            let pid = row.ok_or(Errno::SRCH)?.pid;
            self.first(|_| sys::pidfd_open(pid))
        });
        match found {
            Ok(pidfd) => reply(told, &Reply::new(wire::STARTED, 0, 0, 0), &[pidfd.raw()]),
            Err(errno) => note(told, &failed((wire::AT_MESSAGE, errno))),
        }
    }

    fn start(&mut self, run: &Run<'_>, fds: &mut Fds) -> Outcome<()> {
        // Skips the scan if no command runs: reading first would map the zero
        // page, and the write below would fault again.
        let free = match self.live {
            0 => Some(0),
            _ => self.rows.rows().iter().position(|r| r.pid == 0),
        };
        let row = free.ok_or((wire::AT_CLONE, Errno::AGAIN))?;
        let times = Times::of(run);
        let tagged = run.flags & wire::INTO_CGROUP == 0 && self.marks.begin(run.id, self.empty);
        let place = Place {
            devpts: DEVPTS,
            dev: DEV,
            confined: self.filtered.is_some(),
            tagged,
        };
        let own = times.start_by - times.started;
        let rest = self.until_deadline().map_or(own, |others| others.min(own));
        let (given, closed) = (fds.as_slice(), Cell::new(false));
        let meanwhile = || {
            if run.flags & (wire::UNTOLD | wire::INTO_CGROUP) != wire::UNTOLD {
                return;
            }
            // Usually the wait ends with SIGCHLD. The loop in `serve` handles
            // all causes.
            let wait = |ns| sys::poll(&mut [CONTROL, SIGNALS].map(PollFd::input), Some(ns));
            if wait(rest.min(BRIEF_NS)) == Ok(0) && rest > BRIEF_NS {
                // The child has copies of its own.
                for fd in &given[1..] {
                    // SAFETY: the request owns them, and `truncate` below makes
                    // the request forget them.
                    unsafe { sys::close(*fd) };
                }
                closed.set(true);
                let _ = wait(rest - BRIEF_NS);
            }
        };
        self.empty = false;
        let child = command::start(
            run,
            &self.open.confine,
            given,
            &place,
            &mut self.parts,
            times.start_by,
            meanwhile,
        );
        if closed.get() {
            fds.truncate(1);
        }
        let child = child?;
        if child.shared.late && times.start_by == times.latest {
            return Err((wire::AT_START, Errno::TIMEDOUT));
        }
        if tagged {
            self.marks.tagged(run.id, child.tag);
        }
        self.enroll(row, run, &child, &times, fds)
    }

    /// Notes a child that has executed its program in a row, and tells the
    /// host.
    fn enroll(
        &mut self,
        row: usize,
        run: &Run<'_>,
        child: &Child,
        times: &Times,
        fds: &mut Fds,
    ) -> Outcome<()> {
        let take = |fds: &mut Fds, n| fds.take(n).map_err(at(wire::AT_MESSAGE));
        let status = take(fds, 0)?;
        let cgroup = match run.flags & wire::INTO_CGROUP {
            0 => None,
            _ => Some(take(fds, command::cgroup_at(run))?),
        };
        // Before the host is told: afterwards the host may take the close of a
        // pipe for the end of the last writer.
        fds.clear();
        let reason = if child.shared.late {
            wire::BY_TIMEOUT
        } else {
            wire::BY_ITSELF
        };
        let filled = Row {
            pid: child.shared.pid,
            status: Some(status).into(),
            id: run.id,
            started: times.started,
            deadline: times.deadline,
            reason,
            cgroup: cgroup.into(),
            ..Row::default()
        };
        let status = filled.status.raw();
        self.rows.fill(row, filled);
        self.live += 1;
        let mut message = Reply::new(wire::STARTED, 0, 0, 0);
        message.signal = child.shared.pid as u32;
        let told = match (&child.shared.pidfd, &child.master) {
            (None, _) => Ok(()),
            (Some(pidfd), Some(master)) => tell(status, &message, &[pidfd.raw(), master.raw()]),
            (Some(pidfd), None) => tell(status, &message, &[pidfd.raw()]),
        };
        if told.is_err() {
            // No one could wait for the command, so the command ends; the
            // closed socket ends the host's wait for the start.
            self.first(|this| {
                let row = &mut this.rows.rows()[row];
                (row.status, row.reason) = (MaybeFd::default(), wire::BY_CALLER);
                let owner = this.marks.owner(row.id);
                row.kill(&owner);
            });
        }
        Ok(())
    }

    /// Yields the rows in use. Does not touch rows behind the last of them.
    fn used(&mut self) -> impl Iterator<Item = &mut Row> {
        let rows = self.rows.rows().iter_mut();
        rows.filter(|r| r.pid != 0).take(self.live)
    }

    /// Returns the time until the next command is due.
    fn until_deadline(&mut self) -> Option<u64> {
        let due = self.used().map(|r| r.deadline).filter(|d| *d != 0).min()?;
        Some(due.saturating_sub(sys::now_ns()))
    }
}
