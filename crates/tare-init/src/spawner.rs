// SPDX-License-Identifier: MIT OR Apache-2.0
//! The spawner: makes sandboxes for a host process, cleans up after them, and
//! ends with the host.

use crate::boot::{self, Parent};
use crate::clone::{Dead, reap};
use crate::close::close_from;
use crate::command::Inherited;
use crate::empty_ns;
use crate::id_map::{become_root, map_self, write_map};
use crate::leftovers::Leftovers;
use crate::mapping::{Mapping, Table, Zeroable};
use crate::message::{BUFFER, Outcome, Request, Sender, at, failed, receive, receive_now, reply};
use crate::replay::Replay;
use crate::sys::{self, AT_FDCWD, CLONE_NEWUSER, Errno, Fd, MaybeFd, PollFd, Result};
use crate::watch::Watched;
use crate::wire::{self, Close, Hello, Job, Open, Reply};

/// Sandboxes alive at once, far more than a machine holds.
const ROWS: usize = 16384;

/// A child: the init of a sandbox, or a job (with an id or 0).
#[derive(Default)]
struct Row {
    /// 0: the row is free.
    pid: i32,
    /// Socket of the host that waits until all is gone.
    told: MaybeFd,
    id: u64,
    /// Lock on the directories to be removed.
    lock: MaybeFd,
    /// [`Leftovers`], kept as address and length by `Mapping::into_raw`.
    leftovers: (usize, usize),
}

// SAFETY: integers, and `MaybeFd`, for which zero is a value.
unsafe impl Zeroable for Row {}

pub(crate) struct Spawner {
    socket: i32,
    /// Sender of the first request after the greeting, in ids of the user
    /// namespace that the greeting has set.
    sender: Option<Sender>,
    /// A pidfd.
    host: MaybeFd,
    signals: Fd,
    parent: Parent,
    rows: Table<Row>,
    watched: Watched,
}

/// Serves until the host is gone.
pub(crate) fn run(socket: i32, ignored: u64) -> ! {
    sys::set_name(c"tare-spawner");
    sys::umask(0);
    // The host may have left descriptors inheritable. SAFETY: this process has
    // opened no descriptor yet, and uses only number 0, the socket.
    unsafe { close_from(3) };
    raise_oom_score();
    // Other processes of the caller, and sandboxes, may not look into this
    // process.
    let _ = sys::set_dumpable(false);
    let memory = Mapping::lasting(BUFFER);
    match memory.and_then(|memory| Ok((Spawner::new(socket, ignored)?, memory))) {
        Ok((mut spawner, memory)) => spawner.serve(memory),
        Err(errno) => give_up(socket, errno),
    }
}

/// Takes back the protection from the kernel's out-of-memory killer (a negative
/// `oom_score_adj`, proc(5)). Otherwise the kernel would kill all other
/// processes before those of a sandbox. Must run while this process is
/// dumpable: else an ordinary user does not own the file.
fn raise_oom_score() {
    let flags = sys::O_RDWR | sys::O_CLOEXEC;
    let Ok(file) = sys::openat(AT_FDCWD, c"/proc/self/oom_score_adj", flags, 0) else {
        // The host may be without /proc; no request depends on the score.
        return;
    };
    let mut sign = [0];
    if sys::read(file.raw(), &mut sign) == Ok(1) && sign == *b"-" {
        // To raise the score takes no privilege, so this does not fail.
        let _ = sys::write(file.raw(), b"0");
    }
}

/// Says why there will be no spawner.
pub(crate) fn give_up(socket: i32, errno: Errno) -> ! {
    reply(socket, &failed((wire::AT_SPAWNER, errno)), &[]);
    sys::exit(errno.0)
}

impl Spawner {
    fn new(socket: i32, ignored: u64) -> Result<Self> {
        Ok(Self {
            socket,
            sender: None,
            host: MaybeFd::default(),
            signals: sys::signalfd_child()?,
            parent: Parent {
                pidfd: sys::pidfd_open(sys::getpid()?)?,
                empty_ns: None,
                inherited: Inherited::new(ignored)?,
            },
            rows: Table::own(ROWS)?,
            watched: Watched::default(),
        })
    }

    fn serve(&mut self, mut memory: Mapping) -> ! {
        let Ok(buffer) = <&mut [u8; BUFFER]>::try_from(memory.bytes_mut()) else {
            sys::exit(70)
        };
        self.serve_until_alone(buffer);
        self.hear_the_rest(buffer);
        self.end()
    }

    /// Serves until the host is gone or needs no spawner any more.
    fn serve_until_alone(&mut self, buffer: &mut [u8; BUFFER]) {
        loop {
            let mut fds = [self.socket, self.host.raw(), self.signals.raw()].map(PollFd::input);
            sys::await_input(&mut fds, None);
            let [socket, host, signals] = fds.map(|f| f.revents != 0);
            if signals {
                self.reap_and_clear();
            }
            if host {
                return;
            }
            if socket {
                match receive(self.socket, buffer) {
                    Ok(Some(request)) => self.answer(request),
                    // ENOTSOCK: the helper was run as a program, without a
                    // host.
                    Ok(None) | Err(Errno::NOTSOCK) => return,
                    // A malformed message is dropped, which closes its sockets;
                    // the sender sees that.
                    Err(_) => {}
                }
            }
        }
    }

    /// Reads the last requests of a dead host, and makes no sandbox. Notes the
    /// watches, and removes the directories that queued opens name. Never
    /// waits, because a forked copy of the host may keep the socket open.
    fn hear_the_rest(&mut self, buffer: &mut [u8; BUFFER]) {
        loop {
            match receive_now(self.socket, buffer) {
                Ok(Some(request)) if request.kind == wire::WATCH_REQUEST => {
                    // The host is dead, so an error has no reader.
                    let _ = self.watch(&request);
                }
                Ok(Some(request)) if request.kind == wire::OPEN_REQUEST => {
                    // `Watched::remove`, called by `end`, removes the rest.
                    if let Ok(open) = request.read::<Open>()
                        && let Ok(leftovers) = Leftovers::new(&open)
                    {
                        leftovers.clear();
                    }
                }
                Ok(Some(_)) | Err(Errno::INTR | Errno::PROTO | Errno::TOOBIG) => {}
                Ok(None) | Err(_) => return,
            }
        }
    }

    fn watch(&mut self, request: &Request<'_>) -> Outcome<()> {
        let added = self.watched.add(request.body());
        added.map_err(at(wire::AT_MESSAGE))
    }

    fn answer(&mut self, mut request: Request<'_>) {
        let first = request.fds.get(0).unwrap_or(-1);
        let outcome = match request.kind {
            wire::OPEN_REQUEST | wire::JOB_REQUEST | wire::WATCH_REQUEST
                if !self.is_from_host(&request) =>
            {
                Err((wire::AT_AUTHORITY, Errno::PERM))
            }
            wire::HELLO_REQUEST => self.hello(&mut request),
            wire::OPEN_REQUEST => self.open(&request),
            wire::JOB_REQUEST => self.job(&request),
            wire::CLOSE_REQUEST => self.close(&mut request),
            wire::WATCH_REQUEST => self.watch(&request),
            _ => Err((wire::AT_MESSAGE, Errno::PROTO)),
        };
        if let Err(failure) = outcome {
            reply(first, &failed(failure), &[]);
        }
    }

    /// Returns whether the kernel names the same sender as of the first
    /// request: process, real user and group. A forked copy of the host, or a
    /// host that has dropped its ids, may still hold the socket.
    fn is_from_host(&mut self, request: &Request<'_>) -> bool {
        let known = *self.sender.get_or_insert(request.sender);
        known == request.sender
    }

    fn hello(&mut self, request: &mut Request<'_>) -> Outcome<()> {
        let hello: Hello = request.read()?;
        if hello.stage != 2 {
            let host = request.fds.take(1).map_err(at(wire::AT_MESSAGE))?;
            self.host = Some(host).into();
            // execve(2) of this program gave user 0 the whole bounding set.
            sys::drop_caps_beyond(hello.caps).map_err(at(wire::AT_CAPS))?;
        }
        if hello.stage == 1 {
            // All sandboxes of this host share the user namespace, as all
            // containers of a rootless user do.
            sys::unshare(CLONE_NEWUSER).map_err(at(wire::AT_USER_NAMESPACE))?;
            // The id maps are written through /proc, whose owner follows
            // dumpability.
            sys::set_dumpable(true).map_err(at(wire::AT_USER_NAMESPACE))?;
        }
        if hello.map_self == 1 {
            map_self(&hello).map_err(at(wire::AT_ID_MAP))?;
        }
        if hello.map_self == 1 || hello.stage == 2 {
            become_root().map_err(at(wire::AT_ID_MAP))?;
        }
        let pid = sys::getpid().map_err(at(wire::AT_MESSAGE))?;
        let mut ready = Reply::new(wire::READY, 0, 0, 0);
        ready.signal = pid as u32;
        let socket = request.fds.get(0).unwrap_or(-1);
        reply(socket, &ready, &[self.parent.pidfd.raw()]);
        if hello.stage == 0 {
            // The host prepares the first sandbox meanwhile. An error shows
            // when that sandbox needs the namespace.
            self.parent.empty_ns = empty_ns::make().ok();
        }
        Ok(())
    }

    fn open(&mut self, request: &Request<'_>) -> Outcome<()> {
        let open: Open = request.read()?;
        let leftovers = Leftovers::new(&open).map_err(at(wire::AT_INIT))?;
        let (pid, gate) = match self.clone_init(&open, request) {
            Ok(init) => init,
            Err(failure) => {
                leftovers.clear();
                return Err(failure);
            }
        };
        let lock = usize::try_from(open.lock).map_err(|_| Errno::BADF);
        // The request closes its own copy.
        let lock = lock.and_then(|slot| sys::duplicate(request.fds.get(slot)?, 0));
        self.remember(Row {
            pid,
            id: open.id,
            lock: lock.ok().into(),
            leftovers: leftovers.into_raw(),
            ..Row::default()
        });
        if let Some((_, write)) = gate {
            write_map(pid, c"uid_map", open.uid_map)
                .and_then(|()| write_map(pid, c"gid_map", open.gid_map))
                .and_then(|()| sys::write(write.raw(), &[1]))
                .map_err(at(wire::AT_ID_MAP))?;
        }
        Ok(())
    }

    /// Clones an init; returns its pid, and the pipe that an init with id maps
    /// waits for.
    fn clone_init(
        &mut self,
        open: &Open<'_>,
        request: &Request<'_>,
    ) -> Outcome<(i32, Option<(Fd, Fd)>)> {
        if open.empty_ns == 1 && self.parent.empty_ns.is_none() {
            let made = empty_ns::make().map_err(at(wire::AT_EMPTY_NS))?;
            self.parent.empty_ns = Some(made);
        }
        let gate = match open.uid_map.is_empty() {
            true => None,
            false => Some(sys::pipe().map_err(at(wire::AT_CLONE))?),
        };
        let (pid, late) = self.fork(open, request).map_err(at(wire::AT_CLONE))?;
        if pid != 0 {
            return Ok((pid, gate));
        }
        self.let_go();
        if let Some((read, write)) = gate {
            drop(write);
            // End of file without a byte: the maps could not be written.
            if sys::read(read.raw(), &mut [0]) != Ok(1) {
                sys::exit(1);
            }
        }
        boot::run(open, request.fds.as_slice(), late, &self.parent)
    }

    /// Forks an init: returns pid 0 in the init, and whether the init still has
    /// to enter its cgroup.
    fn fork(&self, open: &Open<'_>, request: &Request<'_>) -> Result<(i32, bool)> {
        // A prestarted init makes the slow namespaces itself, because this
        // process must stay ready for other requests.
        let flags = open.namespaces & if open.ahead == 1 { !boot::SLOW } else { !0 };
        let cgroup = match usize::try_from(open.cgroup) {
            Ok(slot) => Some(request.fds.get(slot)?),
            Err(_) => None,
        };
        match sys::fork(flags, cgroup) {
            Err(Errno::NOSYS) if cgroup.is_some() => sys::fork(flags, None).map(|pid| (pid, true)),
            other => other.map(|pid| (pid, false)),
        }
    }

    fn job(&mut self, request: &Request<'_>) -> Outcome<()> {
        let job: Job = request.read()?;
        match sys::fork(job.namespaces, None).map_err(at(wire::AT_CLONE))? {
            0 => {
                self.let_go();
                let socket = request.fds.get(0).unwrap_or(-1);
                // SAFETY: this child has copies of the request's descriptors,
                // and uses only the socket, which operations do not close.
                let mut replay = unsafe { Replay::new(request.fds.as_slice(), -1) };
                let done = match replay.run(job.ops) {
                    Ok(()) => Reply::new(wire::READY, 0, 0, 0),
                    Err((index, errno)) => Reply::new(wire::FAILED, wire::AT_OP, index, errno.0),
                };
                reply(socket, &done, &[]);
                sys::exit(0)
            }
            pid => self.remember(Row {
                pid,
                id: job.id,
                ..Row::default()
            }),
        }
        Ok(())
    }

    fn close(&mut self, request: &mut Request<'_>) -> Outcome<()> {
        let close: Close = request.read()?;
        let told: MaybeFd = request.fds.take(0).ok().into();
        let mut rows = self.rows.rows().iter_mut();
        let Some(row) = rows.find(|r| r.pid != 0 && r.id == close.id) else {
            reply(told.raw(), &Reply::new(wire::CLOSED, 0, 0, 0), &[]);
            return Ok(());
        };
        row.told = told;
        // The init is not yet reaped, so the pid is its own.
        if let Err(errno) = sys::kill(row.pid, sys::SIGKILL) {
            // The init will not be reaped soon, so the waiting host is told.
            let told = core::mem::take(&mut row.told);
            reply(told.raw(), &failed((wire::AT_KILL, errno)), &[]);
        }
        Ok(())
    }

    fn remember(&mut self, new: Row) {
        match self.rows.rows().iter_mut().find(|r| r.pid == 0) {
            Some(row) => *row = new,
            // Without a row the spawner could not clean up after the init.
            None => drop(sys::kill(new.pid, sys::SIGKILL)),
        }
    }

    /// Reaps dead children and removes their directories.
    fn reap_and_clear(&mut self) {
        // Reading clears the pending signal; the content does not matter.
        let _ = sys::read(self.signals.raw(), &mut [0; 128]);
        while let Ok(Some(dead)) = reap(false) {
            self.remove_leftovers_of(&dead);
        }
    }

    fn remove_leftovers_of(&mut self, dead: &Dead) {
        let Some(row) = self.rows.rows().iter_mut().find(|r| r.pid == dead.pid) else {
            return;
        };
        // `_lock` closes when all is removed.
        let Row {
            told,
            leftovers,
            lock: _lock,
            ..
        } = core::mem::take(row);
        // SAFETY: `open` put the pair there, and `take` left another in the
        // row.
        let leftovers = unsafe { Leftovers::from_raw(leftovers) };
        leftovers.remove_cgroups();
        // Removing a big tree must not keep the next sandbox waiting.
        let aside = match leftovers.has_scratch() {
            true => leftovers.for_children().and_then(|()| sys::fork(0, None)),
            false => Err(Errno::NOENT),
        };
        match aside {
            Ok(0) => self.let_go(),
            Ok(_) => return,
            Err(_) => {}
        }
        leftovers.remove_scratch();
        reply(told.raw(), &Reply::new(wire::CLOSED, 0, 0, 0), &[]);
        if aside == Ok(0) {
            sys::exit(0);
        }
    }

    /// Closes a child's copy of the socket: the host's requests must fail when
    /// the spawner is gone, even if this child lives.
    fn let_go(&self) {
        // SAFETY: the child owns its copy, and does not use the number again.
        unsafe { sys::close(self.socket) };
    }

    /// Ends all sandboxes of a dead host, cleans up, and exits.
    fn end(&mut self) -> ! {
        for row in self.rows.rows().iter().filter(|r| r.pid != 0) {
            // As in `close`.
            let _ = sys::kill(row.pid, sys::SIGKILL);
        }
        loop {
            match reap(true) {
                Ok(Some(dead)) => self.remove_leftovers_of(&dead),
                Err(Errno::INTR) | Ok(None) => {}
                Err(_) => {
                    self.watched.remove();
                    sys::exit(0)
                }
            }
        }
    }
}
