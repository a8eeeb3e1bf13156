// SPDX-License-Identifier: MIT OR Apache-2.0
//! Process 1 of a sandbox: replays the start, then serves commands until it is told to end.

mod ends;

use core::cell::Cell;

use crate::close::{close_but, close_from};
use crate::command::{self, Inherited, Parts, Place};
use crate::confined::Confined;
use crate::files::Files;
use crate::mapping::{self, Mapping, Table};
use crate::message::{BUFFER, Fds, Request, note, receive, reply, tell};
use crate::owner::Marks;
use crate::replay::Replay;
use crate::sys::{self, Errno, Fd, PollFd, Result, nr, sys};
use crate::wire::{self, Field as _, Find, Kill, Open, Reader, Reply, Run};
use ends::Row;

/// Commands running at once in one sandbox.
const ROWS: usize = 16384;

/// How long a command may take to its exec; only somebody inside can make it take that long.
const START_NS: u64 = 10_000_000_000;

/// How long a command's ends of pipes are ours, too, where the host waits for its end alone: of most, until they are dead. The
/// host is then woken once, by all at once, instead of by the last end that a dying command closes and by its status.
const BRIEF_NS: u64 = 10_000_000;

/// Descriptors that stay open, in this order from number 3 on.
const CONTROL: i32 = 3;
const DEVPTS: i32 = 4;
const DEV: i32 = 5;
const PROC: i32 = 6;
/// Behind the stage, which nobody needs by number.
const SIGNALS: i32 = 8;

/// What the spawner has and every init needs.
pub(crate) struct Parent {
    /// Of the spawner: its children see by it whether it lives.
    pub(crate) pidfd: Fd,
    /// A mount namespace with nothing in it, once one was asked for.
    pub(crate) bare: Option<Fd>,
    /// For commands.
    pub(crate) inherited: Inherited,
}

struct Resident<'a> {
    open: &'a Open<'a>,
    rows: Table<Row>,
    parts: Parts,
    files: Files,
    /// How many commands run.
    live: usize,
    /// Whether process 1 has no child at all, as far as it knows: then nothing
    /// else is in the sandbox.
    empty: bool,
    /// Which processes are whose.
    marks: Marks,
    /// In the thread that is behind it.
    confined: Option<&'a Confined<'a>>,
}

/// What one thread hands to the other.
struct Handed<'r, 'a> {
    resident: &'r mut Resident<'a>,
    memory: &'r mut Mapping,
}

/// CLONE_NEWIPC, CLONE_NEWNET: of all namespaces, those that take long to make.
pub(crate) const SLOW: u64 = 0x0800_0000 | 0x4000_0000;

/// How long one that was made ahead waits: who opens none for so long needs none at once.
const PATIENCE_NS: u64 = 5_000_000_000;

/// Becomes process 1 of the sandbox, `late` if it has yet to enter its cgroup; the first descriptor is the control socket.
pub(crate) fn run(open: &Open<'_>, fds: &[i32], late: bool, parent: &Parent) -> ! {
    // Where the host can be told of a failure: it is moved on the way.
    let mut control = fds.first().copied().unwrap_or(-1);
    let mut replay = Replay::new(fds, parent.bare.as_ref().map_or(-1, |fd| fd.0));
    sys::set_name(if open.ahead == 1 { c"tare-ahead" } else { c"tare-init" });
    if let Err(failure) = begin(open, fds, &mut replay, late, parent) {
        give_up(control, failure);
    }
    if open.ahead == 0 {
        serve(open, &mut replay, &mut control, parent);
    }
    let Ok(mut memory) = Mapping::lasting(BUFFER) else { sys::exit(1) };
    let Ok(buffer) = <&mut [u8; BUFFER]>::try_from(memory.bytes_mut()) else { sys::exit(70) };
    let mut asked = [PollFd::input(control)];
    sys::await_input(&mut asked, Some(PATIENCE_NS));
    // Nobody has come for long. An interrupted wait is taken for that: only a debugger interrupts it.
    if asked[0].revents == 0 {
        sys::exit(0);
    }
    // End of file: nobody has a use for it.
    let Ok(Some(request)) = receive(control, buffer) else { sys::exit(0) };
    let Some(rest) = Open::get(&mut Reader::new(request.body())).filter(|_| request.kind == wire::OPEN_REQUEST) else { sys::exit(1) };
    sys::set_name(c"tare-init");
    serve(&rest, &mut replay, &mut control, parent)
}

/// Does the operations, and serves.
fn serve(open: &Open<'_>, replay: &mut Replay, control: &mut i32, parent: &Parent) -> ! {
    if let Err(failure) = start(open, replay, control) {
        give_up(*control, failure);
    }
    // What the operations needed of it is more than all that comes.
    mapping::release_stack();
    let memory = Mapping::lasting(BUFFER);
    match memory.and_then(|memory| Ok((Resident::new(open, parent.inherited)?, memory))) {
        Ok((mut resident, mut memory)) => {
            resident.hand_over(&mut memory);
            resident.serve(&mut memory)
        }
        Err(errno) => give_up(CONTROL, init(errno)),
    }
}

fn give_up(control: i32, (place, index, errno): Failure) -> ! {
    reply(control, &Reply::new(wire::FAILED, place, index, errno.0), &[]);
    sys::exit(1)
}

/// Tells the host that the sandbox is ready.
fn announce() {
    let told = sys!(nr::GETPID).and_then(|pid| {
        let pidfd = Fd(sys!(nr::PIDFD_OPEN, pid, 0)? as i32);
        let mut ready = Reply::new(wire::READY, 0, 0, 0);
        ready.signal = pid as u32;
        tell(CONTROL, &ready, &[pidfd.0])
    });
    if let Err(errno) = told {
        give_up(CONTROL, init(errno));
    }
}

/// Where it failed, which operation it was if it was one, and how.
type Failure = (u32, u32, Errno);

fn init(errno: Errno) -> Failure {
    (wire::AT_INIT, 0, errno)
}

/// What comes before anything that a sandbox of its own would want.
fn begin(open: &Open<'_>, fds: &[i32], replay: &mut Replay, late: bool, parent: &Parent) -> core::result::Result<(), Failure> {
    // PR_SET_PDEATHSIG: the spawner has one thread, so this is its end and not a thread's.
    sys::prctl(1, sys::SIGKILL as usize, 0).map_err(init)?;
    if !open.uid_map.is_empty() {
        become_root().map_err(init)?;
    }
    // It may have ended before it could be noticed.
    if sys::poll(&mut [PollFd::input(parent.pidfd.0)], Some(0)) != Ok(0) {
        sys::exit(1);
    }
    if late {
        let cgroup = replay.slot(open.cgroup).map_err(init)?;
        let procs = sys::openat(cgroup, c"cgroup.procs", sys::O_WRONLY, 0).map_err(init)?;
        sys::write(procs.0, b"0").map_err(init)?;
    }
    if open.ahead == 1 {
        // It may wait for long, and what the spawner holds for other sandboxes, as their locks, would be held by it, too.
        let mut kept = [-1; wire::MAX_FDS + 2];
        let all = fds.iter().copied().chain([parent.pidfd.0]).chain(parent.bare.as_ref().map(|fd| fd.0));
        kept.iter_mut().zip(all).for_each(|(kept, fd)| *kept = fd);
        close_but(&mut kept);
        if !is_weak!("network_of_host") {
            sys!(nr::UNSHARE, open.namespaces & SLOW).map_err(init)?;
        }
        run_all(open, replay)?;
    }
    Ok(())
}

fn run_all(open: &Open<'_>, replay: &mut Replay) -> core::result::Result<(), Failure> {
    replay.run(open.ops).map_err(|(index, errno)| (wire::AT_OP, index, errno))
}

fn start(open: &Open<'_>, replay: &mut Replay, told_at: &mut i32) -> core::result::Result<(), Failure> {
    run_all(open, replay)?;
    let kept = [replay.slot(0), keep(replay, open.devpts), keep(replay, open.dev), keep(replay, open.proc), keep(replay, open.stage)];
    let settled = settle(kept, told_at).and_then(|()| sys::keep_caps(open.init_caps));
    settled.map_err(init)
}

fn become_root() -> Result<()> {
    sys!(nr::SETRESGID, 0, 0, 0)?;
    sys!(nr::SETRESUID, 0, 0, 0)?;
    // PR_SET_DUMPABLE, and the death signal that a change of ids takes back.
    sys::prctl(4, 0, 0)?;
    sys::prctl(1, sys::SIGKILL as usize, 0).map(drop)
}

fn keep(replay: &Replay, slot: i32) -> Result<i32> {
    match slot {
        -1 => Err(Errno::BADF),
        slot => replay.slot(slot),
    }
}

/// Moves what stays open to its place and closes everything else.
fn settle(kept: [Result<i32>; 5], told_at: &mut i32) -> Result<()> {
    let [control, devpts, dev, proc, stage] = kept;
    let signals = sys::signalfd_child()?;
    let mut high = [-1i32; 6];
    for (high, fd) in high.iter_mut().zip([control, devpts, dev, proc, stage, Ok(signals.0)]) {
        if let Ok(fd) = fd {
            *high = sys::duplicate(fd, 64)?.keep();
        }
    }
    // It is closed with everything that is not in place.
    signals.keep();
    // The first is the control socket, whose old number any of these may take.
    *told_at = high[0];
    let flags = if is_weak!("no_cloexec") { 0 } else { sys::O_CLOEXEC };
    for (at, fd) in (CONTROL..).zip(high) {
        match fd {
            -1 => sys::close(at),
            fd => drop(sys!(nr::DUP3, fd, at, flags)?),
        }
    }
    *told_at = CONTROL;
    // 0 was the spawner's socket. Of our own `/dev`, whatever is mounted on it: commands get this one.
    let null = sys::openat(DEV, c"null", sys::O_RDWR | sys::O_NOFOLLOW, 0)?.keep();
    for fd in 0..3 {
        sys!(nr::DUP2, null, fd)?;
    }
    close_from(SIGNALS + 1);
    Ok(())
}

impl<'a> Resident<'a> {
    fn new(open: &'a Open<'a>, inherited: Inherited) -> Result<Self> {
        Ok(Self { open, rows: Table::lasting(ROWS)?, parts: Parts::new(inherited)?, files: Files::default(), live: 0, empty: true, marks: Marks::default(), confined: None })
    }

    fn serve(&mut self, memory: &mut Mapping) -> ! {
        loop {
            let Ok(buffer) = <&mut [u8; BUFFER]>::try_from(memory.bytes_mut()) else { sys::exit(70) };
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
                    // The host closed the sandbox or is gone: this namespace ends with its process 1.
                    Ok(None) => sys::exit(0),
                    // One malformed message is dropped; its sockets close, which its sender sees.
                    Err(_) => {}
                }
            }
        }
    }

    /// Tells the host that the sandbox is ready, and goes on in a thread behind the seccomp program, if it lets that be;
    /// comes back if not. The thread attaches the program while the host hears of it and makes up its first request.
    fn hand_over(&mut self, memory: &mut Mapping) {
        fn serve(handed: usize, confined: &Confined<'_>) -> ! {
            // SAFETY: `hand_over` passes its own `Handed`, and does not come back once this runs: the first thread tells the
            // host, touching nothing of that, does what this one asks for, and waits otherwise. So do `confined` and what `handed` points to live on.
            let (handed, confined) = unsafe { (&mut *(handed as *mut Handed<'_, '_>), &*core::ptr::from_ref(confined)) };
            handed.resident.confined = Some(confined);
            handed.resident.serve(handed.memory)
        }
        let confine = &self.open.confine;
        if confine.seccomp_at_birth == 1 && confine.no_new_privs == 1 && !confine.seccomp.is_empty() {
            let mut handed = Handed { resident: self, memory };
            Confined::hand_over(confine.seccomp, serve, &raw mut handed as usize, announce);
        } else {
            announce();
        }
    }

    /// Does something in the first thread, which nothing is refused.
    fn first<R>(&mut self, work: impl FnOnce(&mut Self) -> R) -> R {
        let Some(confined) = self.confined.take() else { return work(self) };
        let mut result = None;
        confined.by_first(|| result = Some(work(self)));
        self.confined = Some(confined);
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
                let started = run.and_then(|run| match run.flags & (wire::TTY | wire::INTO_CGROUP) {
                    0 => self.start(&run, fds),
                    _ => self.first(|this| this.start(&run, fds)),
                });
                if let Err((place, errno)) = started {
                    note(status, &Reply::new(wire::FAILED, place, 0, errno.0));
                }
            }
            wire::KILL_REQUEST => {
                if let Some(kill) = Kill::get(&mut Reader::new(body)) {
                    self.first(|this| this.kill(&kill));
                }
            }
            wire::PIDFD_REQUEST => self.find(body, fds.get(0).unwrap_or(-1)),
            wire::FILE_REQUEST => self.first(|this| this.files.serve(body, fds.as_slice(), PROC, &this.open.confine)),
            _ => {}
        }
    }

    /// Sends a pidfd of a running command.
    fn find(&mut self, body: &[u8], told: i32) {
        let find = Find::get(&mut Reader::new(body)).ok_or(Errno::PROTO);
        let found = find.and_then(|find| {
            let row = self.used().find(|row| row.id == find.id && !row.is_dead()).ok_or(Errno::SRCH)?;
            // Its pid is its own as long as the row is in use.
            let pid = row.pid;
            self.first(|_| sys!(nr::PIDFD_OPEN, pid, 0)).map(|fd| Fd(fd as i32))
        });
        match found {
            Ok(pidfd) => reply(told, &Reply::new(wire::STARTED, 0, 0, 0), &[pidfd.0]),
            Err(errno) => note(told, &Reply::new(wire::FAILED, wire::AT_MESSAGE, 0, errno.0)),
        }
    }

    fn start(&mut self, run: &Run<'_>, fds: &mut Fds) -> core::result::Result<(), (u32, Errno)> {
        // Of an empty table nothing is read: a page that is first read and then written is given twice.
        let free = if self.live == 0 { Some(0) } else { self.rows.rows().iter().position(|r| r.pid == 0) };
        let row = free.ok_or((wire::AT_CLONE, Errno::AGAIN))?;
        let started = sys::now_ns();
        let tagged = run.flags & wire::INTO_CGROUP == 0 && self.marks.begin(run.id, self.empty);
        let place = Place { devpts: DEVPTS, dev: DEV, confined: self.confined.is_some(), tagged };
        let deadline = if run.timeout_ms == 0 { 0 } else { started.saturating_add(run.timeout_ms.saturating_mul(1_000_000)) };
        let latest = started.saturating_add(START_NS);
        let start_by = if deadline == 0 { latest } else { deadline.min(latest) };
        let own = start_by - started;
        let rest = self.until_deadline().map_or(own, |others| others.min(own));
        let (given, closed) = (fds.as_slice(), Cell::new(false));
        let meanwhile = || {
            if run.flags & (wire::UNTOLD | wire::INTO_CGROUP) != wire::UNTOLD {
                return;
            }
            // Mostly until it is dead; what else it may be, the loop finds out.
            let wait = |ns| sys::poll(&mut [CONTROL, SIGNALS].map(PollFd::input), Some(ns));
            if wait(rest.min(BRIEF_NS)) == Ok(0) && rest > BRIEF_NS {
                // The child has copies.
                given[1..].iter().for_each(|fd| sys::close(*fd));
                closed.set(true);
                let _ = wait(rest - BRIEF_NS);
            }
        };
        self.empty = false;
        let child = command::start(run, &self.open.confine, given, &place, &mut self.parts, start_by, meanwhile);
        if closed.get() {
            fds.truncate(1);
        }
        let child = child?;
        if child.late && start_by == latest {
            return Err((wire::AT_START, Errno::TIMEDOUT));
        }
        if tagged {
            self.marks.tagged(run.id, child.tag);
        }
        let take = |fds: &mut Fds, n| fds.take(n).map_err(|e| (wire::AT_MESSAGE, e));
        let status = take(fds, 0)?;
        let cgroup = match run.flags & wire::INTO_CGROUP {
            0 => 0,
            _ => take(fds, command::cgroup_at(run))? + 1,
        };
        // Before the host is told: from then on, who closes its end of a pipe was the last to have it.
        fds.clear();
        let reason = if child.late { wire::BY_TIMEOUT } else { wire::BY_ITSELF };
        self.rows.rows()[row] =
            Row { pid: child.pid, status, id: run.id, started, deadline, reason, cgroup, ..Row::default() };
        self.live += 1;
        let mut message = Reply::new(wire::STARTED, 0, 0, 0);
        message.signal = child.pid as u32;
        let told = match (&child.pidfd, &child.master) {
            (None, _) => Ok(()),
            (Some(pidfd), Some(master)) => tell(status, &message, &[pidfd.0, master.0]),
            (Some(pidfd), None) => tell(status, &message, &[pidfd.0]),
        };
        if told.is_err() {
            // Nobody could wait for it: it ends, and so does the host's wait for its start.
            self.first(|this| {
                let row = &mut this.rows.rows()[row];
                sys::close(row.status);
                (row.status, row.reason) = (-1, wire::BY_CALLER);
                let owner = this.marks.owner(row.id);
                row.kill(&owner);
            });
        }
        Ok(())
    }

    /// The rows in use; those beyond the last one are not touched.
    fn used(&mut self) -> impl Iterator<Item = &mut Row> {
        self.rows.rows().iter_mut().filter(|r| r.pid != 0).take(self.live)
    }

    /// Time until the next command is due.
    fn until_deadline(&mut self) -> Option<u64> {
        let due = self.used().map(|r| r.deadline).filter(|d| *d != 0).min()?;
        Some(due.saturating_sub(sys::now_ns()))
    }
}
