// SPDX-License-Identifier: MIT OR Apache-2.0
//! The spawner: makes sandboxes for one host process, buries them, and ends with it.

use crate::boot::{self, Parent};
use crate::clone::{Dead, reap};
use crate::close::close_from;
use crate::command::Inherited;
use crate::empty_ns;
use crate::grave::Grave;
use crate::id_map::{become_root, map_self, write_map};
use crate::mapping::{Mapping, Table, Zeroable};
use crate::message::{BUFFER, Request, Sender, receive, receive_now, reply};
use crate::replay::Replay;
use crate::sys::{self, AT_FDCWD, CLONE_NEWUSER, Errno, Fd, MaybeFd, PollFd, Result};
use crate::watch::Watched;
use crate::wire::{self, Close, Field as _, Hello, Job, Open, Reader, Reply};

/// Sandboxes alive at once, far above what one machine holds.
const ROWS: usize = 16384;

/// One child: a sandbox's init, or a job (whose id may be 0).
#[derive(Default)]
struct Row {
    /// 0: the row is free.
    pid: i32,
    /// Socket of the host that waits until all is gone.
    told: MaybeFd,
    id: u64,
    /// Lock on what is to be removed.
    lock: MaybeFd,
    /// [`Grave`], kept as address and length by `Mapping::into_raw`.
    grave: (usize, usize),
}

// SAFETY: integers, and descriptors of which zero is none.
unsafe impl Zeroable for Row {}

pub(crate) struct Spawner {
    socket: i32,
    /// Of the first request behind the greeting, which sets the user namespace
    /// that its ids are told in.
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
    // Nothing that the host left inheritable may live on here.
    // SAFETY: this process has opened none yet, and uses the socket alone, 0.
    unsafe { close_from(3) };
    raise_oom_score();
    // Neither the caller's other processes nor a sandbox may look into this one.
    let _ = sys::set_dumpable(false);
    let memory = Mapping::lasting(BUFFER);
    match memory.and_then(|memory| Ok((Spawner::new(socket, ignored)?, memory))) {
        Ok((mut spawner, memory)) => spawner.serve(memory),
        Err(errno) => give_up(socket, errno),
    }
}

/// A host that is protected from the kernel's search for memory (a negative `oom_score_adj`,
/// proc(5)) does not hand that down: with memory used up, everything else would die before what
/// a sandbox runs. While this process is dumpable, or the file would not be an ordinary user's.
fn raise_oom_score() {
    let flags = sys::O_RDWR | sys::O_CLOEXEC;
    let Ok(file) = sys::openat(AT_FDCWD, c"/proc/self/oom_score_adj", flags, 0) else {
        // A host without /proc; nothing that was asked for depends on it.
        return;
    };
    let mut sign = [0];
    if sys::read(file.raw(), &mut sign) == Ok(1) && sign == *b"-" {
        // Raising takes no privilege, so it does not fail.
        let _ = sys::write(file.raw(), b"0");
    }
}

/// Says why there will be no spawner.
pub(crate) fn give_up(socket: i32, errno: Errno) -> ! {
    reply(
        socket,
        &Reply::new(wire::FAILED, wire::AT_SPAWNER, 0, errno.0),
        &[],
    );
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
                bare: None,
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

    /// Returns when the host is gone, or needs no spawner any more.
    fn serve_until_alone(&mut self, buffer: &mut [u8; BUFFER]) {
        loop {
            let mut fds = [self.socket, self.host.raw(), self.signals.raw()].map(PollFd::input);
            sys::await_input(&mut fds, None);
            let [socket, host, signals] = fds.map(|f| f.revents != 0);
            if signals {
                self.bury();
            }
            if host {
                return;
            }
            if socket {
                match receive(self.socket, buffer) {
                    Ok(Some(request)) => self.answer(request),
                    // The second: somebody runs the helper as a program, with no host to serve.
                    Ok(None) | Err(Errno::NOTSOCK) => return,
                    // One malformed message is dropped; its sockets close, which its sender sees.
                    Err(_) => {}
                }
            }
        }
    }

    /// Takes note of what the host sent before it died, and makes nothing of
    /// it. A forked copy of the host may keep the socket open, so this never
    /// waits.
    fn hear_the_rest(&mut self, buffer: &mut [u8; BUFFER]) {
        loop {
            match receive_now(self.socket, buffer) {
                Ok(Some(request)) if request.kind == wire::WATCH_REQUEST => {
                    // The host is dead, so an error has no reader.
                    let _ = self.watch(&request);
                }
                Ok(Some(request)) if request.kind == wire::OPEN_REQUEST => {
                    let open = Open::get(&mut Reader::new(request.body()));
                    // What `watch` knows is removed without it.
                    if let Some(grave) = open.and_then(|open| Grave::new(&open).ok()) {
                        grave.clear();
                    }
                }
                Ok(Some(_)) | Err(Errno::INTR | Errno::PROTO | Errno::TOOBIG) => {}
                Ok(None) | Err(_) => return,
            }
        }
    }

    fn watch(&mut self, request: &Request<'_>) -> Outcome {
        self.watched
            .add(request.body())
            .map_err(|e| (wire::AT_MESSAGE, e))
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
        if let Err((place, errno)) = outcome {
            reply(first, &Reply::new(wire::FAILED, place, 0, errno.0), &[]);
        }
    }

    /// Whether the kernel names the sender as it named that of the first
    /// request: process, real user and group. A forked copy of the host, or a
    /// host that has dropped its ids, may hold the socket still.
    fn is_from_host(&mut self, request: &Request<'_>) -> bool {
        let known = *self.sender.get_or_insert(request.sender);
        known == request.sender
    }

    fn hello(&mut self, request: &mut Request<'_>) -> Outcome {
        let hello =
            Hello::get(&mut Reader::new(request.body())).ok_or((wire::AT_MESSAGE, Errno::PROTO))?;
        if hello.stage != 2 {
            let host = request.fds.take(1).map_err(|e| (wire::AT_MESSAGE, e))?;
            self.host = Some(host).into();
            // Executing this program gave user 0 all that the bounding set
            // allows.
            sys::drop_caps_beyond(hello.caps).map_err(|e| (wire::AT_CAPS, e))?;
        }
        if hello.stage == 1 {
            // Every sandbox of this host shares it, as every container of a rootless user does.
            sys::unshare(CLONE_NEWUSER).map_err(|e| (wire::AT_USER_NAMESPACE, e))?;
            // The id maps are written through /proc, whose owner follows dumpability.
            sys::set_dumpable(true).map_err(|e| (wire::AT_USER_NAMESPACE, e))?;
        }
        if hello.map_self == 1 {
            map_self(&hello).map_err(|e| (wire::AT_ID_MAP, e))?;
        }
        if hello.map_self == 1 || hello.stage == 2 {
            become_root().map_err(|e| (wire::AT_ID_MAP, e))?;
        }
        let pid = sys::getpid().map_err(|e| (wire::AT_MESSAGE, e))?;
        let mut ready = Reply::new(wire::READY, 0, 0, 0);
        ready.signal = pid as u32;
        reply(
            request.fds.get(0).unwrap_or(-1),
            &ready,
            &[self.parent.pidfd.raw()],
        );
        Ok(())
    }

    fn open(&mut self, request: &Request<'_>) -> Outcome {
        let open =
            Open::get(&mut Reader::new(request.body())).ok_or((wire::AT_MESSAGE, Errno::PROTO))?;
        let grave = Grave::new(&open).map_err(|e| (wire::AT_INIT, e))?;
        if open.bare == 1 && self.parent.bare.is_none() {
            match empty_ns::make() {
                Ok(bare) => self.parent.bare = Some(bare),
                Err(errno) => {
                    grave.clear();
                    return Err((wire::AT_BARE, errno));
                }
            }
        }
        let mapped = !open.uid_map.is_empty();
        let gate = if mapped {
            Some(sys::pipe().map_err(|e| (wire::AT_CLONE, e))?)
        } else {
            None
        };
        let pid = match self.fork(&open, request) {
            Ok((0, late)) => {
                self.let_go();
                if let Some((read, write)) = gate {
                    drop(write);
                    // End of file without a byte: the maps could not be written.
                    if sys::read(read.raw(), &mut [0]) != Ok(1) {
                        sys::exit(1);
                    }
                }
                boot::run(&open, request.fds.as_slice(), late, &self.parent)
            }
            Ok((pid, _)) => pid,
            Err(errno) => {
                grave.clear();
                return Err((wire::AT_CLONE, errno));
            }
        };
        let lock = usize::try_from(open.lock)
            .ok()
            .and_then(|slot| request.fds.get(slot).ok());
        // The request's own copy closes with it.
        let lock = lock.and_then(|fd| sys::duplicate(fd, 0).ok());
        self.remember(Row {
            pid,
            id: open.id,
            lock: lock.into(),
            grave: grave.into_raw(),
            ..Row::default()
        });
        if let Some((_, write)) = gate {
            let written = write_map(pid, c"uid_map", open.uid_map)
                .and_then(|()| write_map(pid, c"gid_map", open.gid_map));
            written
                .and_then(|()| sys::write(write.raw(), &[1]))
                .map_err(|e| (wire::AT_ID_MAP, e))?;
        }
        Ok(())
    }

    /// The init: pid 0 in it, with whether it still has to enter its cgroup.
    fn fork(&self, open: &Open<'_>, request: &Request<'_>) -> Result<(i32, bool)> {
        // What takes long of one that nobody waits for is done by itself, not here, where somebody else may wait.
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

    fn job(&mut self, request: &Request<'_>) -> Outcome {
        let job =
            Job::get(&mut Reader::new(request.body())).ok_or((wire::AT_MESSAGE, Errno::PROTO))?;
        match sys::fork(job.namespaces, None).map_err(|e| (wire::AT_CLONE, e))? {
            0 => {
                self.let_go();
                let socket = request.fds.get(0).unwrap_or(-1);
                // SAFETY: this child has a copy of the request's descriptors, and
                // uses only the socket, which operations leave alone.
                let mut replay = unsafe { Replay::new(request.fds.as_slice(), -1) };
                match replay.run(job.ops) {
                    Ok(()) => reply(socket, &Reply::new(wire::READY, 0, 0, 0), &[]),
                    Err((index, errno)) => reply(
                        socket,
                        &Reply::new(wire::FAILED, wire::AT_OP, index, errno.0),
                        &[],
                    ),
                }
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

    fn close(&mut self, request: &mut Request<'_>) -> Outcome {
        let close =
            Close::get(&mut Reader::new(request.body())).ok_or((wire::AT_MESSAGE, Errno::PROTO))?;
        let told: MaybeFd = request.fds.take(0).ok().into();
        let row = self
            .rows
            .rows()
            .iter_mut()
            .find(|r| r.pid != 0 && r.id == close.id);
        let Some(row) = row else {
            reply(told.raw(), &Reply::new(wire::CLOSED, 0, 0, 0), &[]);
            return Ok(());
        };
        row.told = told;
        // A dead init is not yet reaped, so the pid is still its own.
        if let Err(errno) = sys::kill(row.pid, sys::SIGKILL) {
            // It will not be buried soon; whoever waits for that is told.
            let told = core::mem::take(&mut row.told);
            let failed = Reply::new(wire::FAILED, wire::AT_KILL, 0, errno.0);
            reply(told.raw(), &failed, &[]);
        }
        Ok(())
    }

    fn remember(&mut self, new: Row) {
        match self.rows.rows().iter_mut().find(|r| r.pid == 0) {
            Some(row) => *row = new,
            // Without a row it could not be cleaned up after, so it may not live.
            None => drop(sys::kill(new.pid, sys::SIGKILL)),
        }
    }

    /// Reaps what is dead and removes what it leaves.
    fn bury(&mut self) {
        // The counter of signals is of no interest, only that it is taken back.
        let _ = sys::read(self.signals.raw(), &mut [0; 128]);
        while let Ok(Some(dead)) = reap(false) {
            self.bury_one(&dead);
        }
    }

    fn bury_one(&mut self, dead: &Dead) {
        let Some(row) = self.rows.rows().iter_mut().find(|r| r.pid == dead.pid) else {
            return;
        };
        // The lock is let go when all is removed.
        let Row {
            told,
            grave,
            lock: _lock,
            ..
        } = core::mem::take(row);
        // SAFETY: `open` put it there, and the row has another one now.
        let grave = unsafe { Grave::from_raw(grave) };
        let socket = told.raw();
        grave.remove_cgroups();
        let gone = Reply::new(wire::CLOSED, 0, 0, 0);
        if !grave.has_scratch() {
            reply(socket, &gone, &[]);
        } else {
            // Removing a big tree must not keep the next sandbox waiting.
            match grave.for_children().and_then(|()| sys::fork(0, None)) {
                Ok(0) => {
                    self.let_go();
                    grave.remove_scratch();
                    reply(socket, &gone, &[]);
                    sys::exit(0);
                }
                Ok(_) => {}
                Err(_) => {
                    grave.remove_scratch();
                    reply(socket, &gone, &[]);
                }
            }
        }
    }

    /// In a child: what the host sends when the spawner is gone must not wait for the end of this one.
    fn let_go(&self) {
        // SAFETY: the child's copy, which it does not use again.
        unsafe { sys::close(self.socket) };
    }

    /// The host is gone: so is everything of it.
    fn end(&mut self) -> ! {
        for row in self.rows.rows().iter().filter(|r| r.pid != 0) {
            // As in `close`.
            let _ = sys::kill(row.pid, sys::SIGKILL);
        }
        loop {
            match reap(true) {
                Ok(Some(dead)) => self.bury_one(&dead),
                Err(Errno::INTR) | Ok(None) => {}
                Err(_) => {
                    self.watched.remove();
                    sys::exit(0)
                }
            }
        }
    }
}

type Outcome = core::result::Result<(), (u32, Errno)>;
