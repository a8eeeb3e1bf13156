// SPDX-License-Identifier: MIT OR Apache-2.0
//! The helper process as its host holds it: starts it, asks it for sandboxes, and ends it.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{getegid, geteuid};

use super::limits::more_processes;
use super::request::{checked, gone, receive, receive_now, send_request};
use super::start::Start;
use crate::error::{Error, Result, Step};
use crate::ops::{Ops, c_path};
use crate::parts::authority::Authority;
use crate::parts::cgroup::Owner;
use crate::parts::home;
use crate::parts::idmap::Ids;
use crate::parts::shown::Verdicts;
use crate::sys::dup::duplicate;
use crate::sys::{memfd, pidfd, socket};
use crate::wire::{self, Close, Field, Hello, Job, ListBuf, Open, Reply, Watch};

/// How long the end of a helper that is this process's child is waited for.
const REAP_MS: u16 = 2000;

/// What a helper removes by name when it ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Watched {
    Cgroups,
    /// Directories with all that is in them.
    Trees,
}

/// One helper process, started for this process and ending with it.
#[derive(Debug)]
pub(crate) struct Spawner {
    pub(super) socket: OwnedFd,
    /// The process that started it; a forked copy of that must start its own.
    owner: u32,
    /// [`Spawner::prefix`], once it was asked for.
    prefix: OnceLock<String>,
    /// Whether it knows where the host makes cgroups, and scratch directories.
    watches: [OnceLock<()>; 2],
    /// Whether this process, as process 1 or a subreaper, is its parent.
    is_child: bool,
    /// Its own process id: with it, sandboxes of two spawners of one process differ in name.
    pid: u32,
    /// Of the helper: a child that it has just forked may still have the other end of the socket.
    pidfd: Option<OwnedFd>,
    ids: Ids,
    /// Of the thread that started it.
    authority: Authority,
    /// Of mounts of the host.
    pub(super) verdicts: Mutex<Verdicts>,
    /// [`Spawner::home`], once it was asked for.
    home: OnceLock<Option<PathBuf>>,
}

impl Spawner {
    /// One that nobody answers for.
    #[cfg(any(test, feature = "bench"))]
    pub(crate) fn absent() -> Self {
        Self {
            socket: socket::pair().unwrap().0,
            owner: std::process::id(),
            prefix: OnceLock::new(),
            watches: Default::default(),
            is_child: false,
            pid: 0,
            pidfd: None,
            ids: Ids::Host,
            authority: Authority::of_caller().unwrap(),
            verdicts: Mutex::default(),
            home: OnceLock::new(),
        }
    }

    /// Starts the helper. The host is not forked: the platform's own spawn call executes a sealed copy.
    ///
    /// # Errors
    /// [`crate::Kind::Unsupported`] where `vm.memfd_noexec` or a missing user namespace stand in the way.
    pub(crate) fn start() -> Result<Self> {
        let step = Step::StartSpawner;
        let authority = Authority::of_caller()?;
        let program = tare_init::PROGRAM;
        #[cfg(tare_weak)]
        let program = &crate::weak::told(program)[..];
        let helper = memfd::sealed(c"tare-init", program, true).map_err(|e| {
            let error = Error::os(step, "memfd_create", e);
            if e == Errno::EACCES {
                error.with_cure("sysctl vm.memfd_noexec=0")
            } else {
                error
            }
        })?;
        let (ours, theirs) = socket::pair().map_err(|e| Error::os(step, "socketpair", e))?;
        socket::tell_senders(theirs.as_fd()).map_err(|e| Error::os(step, "SO_PASSCRED", e))?;
        // In a host without standard streams they could be where the child's, or the host's next ones, will be.
        let above =
            |fd: OwnedFd| duplicate(fd.as_raw_fd()).map_err(|e| Error::os(step, "fcntl", e));
        let (helper, ours) = (above(helper)?, above(ours)?);
        let path = format!("/proc/self/fd/{}", helper.as_raw_fd());
        let mut child = Command::new(path)
            .arg0("tare")
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| {
                let error = Error::io(step, "execute helper", e);
                match error.errno().map(Errno::from_raw) {
                    Some(Errno::ENOENT) => error.with_cure("mount -t proc proc /proc"),
                    Some(Errno::EAGAIN) => error.with_cure(more_processes()),
                    _ => error,
                }
            })?;
        // This child ends at once, leaving the spawner to process 1. A host that ignores SIGCHLD,
        // or waits for everything, may have taken its status: that is its right, and all the same to us.
        let _ = child.wait();
        let mut spawner = Self {
            socket: ours,
            owner: std::process::id(),
            prefix: OnceLock::new(),
            watches: Default::default(),
            is_child: false,
            pid: 0,
            pidfd: None,
            ids: Ids::detect(),
            authority,
            verdicts: Mutex::default(),
            home: OnceLock::new(),
        };
        let (pid, pidfd) = spawner.greet()?;
        spawner.is_child = pidfd::is_child(pid);
        (spawner.pid, spawner.pidfd) = (pid, Some(pidfd));
        Ok(spawner)
    }

    /// Whether it was started by this process, not by one that this process is a forked copy of.
    pub(crate) fn is_own(&self) -> bool {
        self.owner == std::process::id()
    }

    /// Whether it still runs: it never ends by itself, but may be killed.
    pub(crate) fn is_alive(&self) -> bool {
        let mut ends = vec![PollFd::new(self.socket.as_fd(), PollFlags::empty())];
        let pidfd = self.pidfd.as_ref().map(AsFd::as_fd);
        ends.extend(pidfd.map(|pidfd| PollFd::new(pidfd, PollFlags::POLLIN)));
        // A poll that fails says nothing; the next request will.
        poll(&mut ends, PollTimeout::ZERO).is_err()
            || !ends.iter().any(|end| end.any() != Some(false))
    }

    /// The authority that it works with.
    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Whether it was killed and its children are now this process's own.
    pub(crate) fn left_children(&self) -> bool {
        self.is_child && self.is_own() && !self.is_alive()
    }

    /// How the names of its sandboxes begin: the process that started it, which must be this one, and its own process id.
    ///
    /// # Errors
    /// When `/proc/self/stat` cannot be read.
    pub(crate) fn prefix(&self) -> Result<&str> {
        if let Some(prefix) = self.prefix.get() {
            return Ok(prefix);
        }
        let owner = Owner::current()?;
        Ok(self.prefix.get_or_init(|| format!("{owner}-{}.", self.pid)))
    }

    /// Has it remove what lies below `parents` and begins with `prefix` when it
    /// ends. Called before the first such directory is made, so that a host
    /// which is killed at any moment leaves none.
    pub(crate) fn watch(&self, kind: Watched, prefix: &str, parents: &[&Path]) -> Result<()> {
        let told = &self.watches[kind as usize];
        if told.get().is_some() {
            return Ok(());
        }
        let prefix = c_path(Path::new(prefix))?;
        let paths: Result<Vec<_>> = parents.iter().map(|path| c_path(path)).collect();
        let parents: ListBuf = paths?.iter().collect();
        let watch = Watch {
            prefix: &prefix,
            parents: parents.as_list(),
            trees: kind as u32,
        };
        // A thread that comes second waits until the request is sent.
        told.get_or_init(|| {
            // If the helper is gone, the next request says so.
            let _ = send_request(self.socket.as_fd(), wire::WATCH_REQUEST, &watch, &[]);
        });
        Ok(())
    }

    /// The ids that its sandboxes can hold.
    pub(crate) fn ids(&self) -> &Ids {
        &self.ids
    }

    /// The home of the caller, which a view of the host shows.
    pub(crate) fn home(&self) -> Option<&Path> {
        self.home.get_or_init(home::of_caller).as_deref()
    }

    /// A number that no sandbox of this process had before, whichever store it is of: the
    /// names of cgroups are made from it.
    pub(crate) fn next_id(&self) -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        NEXT.fetch_add(1, Ordering::Relaxed)
    }

    /// Takes note of its end where this process is its parent, or it would stay
    /// a zombie. Waits for at most two seconds; afterwards the host's own wait
    /// finds it.
    fn reap(&self) {
        let Some(pidfd) = self.pidfd.as_ref().filter(|_| self.is_child) else {
            return;
        };
        pidfd::await_end(pidfd.as_fd(), REAP_MS);
        pidfd::reap(self.pid);
    }

    /// Its process id and a pidfd of it.
    fn greet(&self) -> Result<(u32, OwnedFd)> {
        let own = pidfd::open_self().map_err(|e| Error::os(Step::StartSpawner, "pidfd_open", e))?;
        let (stage, map_self) = match self.ids {
            Ids::Host => (0, 0),
            Ids::Single => (1, 1),
            Ids::Many { .. } => (1, 0),
        };
        let mut hello = Hello {
            stage,
            map_self,
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
            caps: self.authority.effective(),
        };
        let asked = self.ask(wire::HELLO_REQUEST, &hello, &[own.as_fd()], &[]);
        let (reply, mut fds) = asked.map_err(|error| self.last_words(error))?;
        let pidfd = fds.pop().ok_or_else(gone)?;
        if let Ids::Many { .. } = &self.ids {
            let written = self.ids.write(reply.signal);
            written.map_err(|error| match pidfd::has_ended(pidfd.as_fd()) {
                true => gone(),
                false => error,
            })?;
            hello.stage = 2;
            self.ask(wire::HELLO_REQUEST, &hello, &[], &[])?;
        }
        Ok((reply.signal, pidfd))
    }

    /// Why it could not start, if it has lived to say so.
    fn last_words(&self, error: Error) -> Error {
        let said = match receive_now(self.socket.as_fd(), false) {
            // That it left our request unread comes before what it said, unix(7).
            Err(Errno::ECONNRESET) => receive_now(self.socket.as_fd(), false),
            other => other,
        };
        match said.map(|(reply, _)| checked(reply, &[])) {
            Ok(Err(told)) => told,
            _ => error,
        }
    }

    /// Sends a request with a socket for its reply, and waits for that, and what comes with it.
    fn ask<'a>(
        &self,
        kind: u32,
        body: &impl Field<'a>,
        fds: &[BorrowedFd<'_>],
        ops: &[u8],
    ) -> Result<(Reply, Vec<OwnedFd>)> {
        let (ours, theirs) =
            socket::pair().map_err(|e| Error::os(Step::TalkToSpawner, "socketpair", e))?;
        let mut all = vec![theirs.as_fd()];
        all.extend_from_slice(fds);
        send_request(self.socket.as_fd(), kind, body, &all)?;
        drop(theirs);
        let (reply, fds) = receive(ours.as_fd())?;
        let reply = checked(reply, ops)?.ok_or_else(gone)?;
        Ok((reply, fds))
    }

    /// Asks for a sandbox, and comes back while it is being made.
    pub(crate) fn begin_open(&self, open: &Open<'_>, fds: &[BorrowedFd<'_>]) -> Result<Start> {
        let (control, theirs) =
            socket::pair().map_err(|e| Error::os(Step::OpenSandbox, "socketpair", e))?;
        let mut all = vec![theirs.as_fd()];
        all.extend_from_slice(fds);
        send_request(self.socket.as_fd(), wire::OPEN_REQUEST, open, &all)?;
        let ops = open.ops.to_vec();
        Ok(Start::new(control, ops))
    }

    /// Runs operations in a child of the spawner, without a sandbox.
    pub(crate) fn job(&self, ops: &Ops, namespaces: u64, fds: &[BorrowedFd<'_>]) -> Result<()> {
        let job = Job {
            id: 0,
            ops: ops.bytes(),
            namespaces,
        };
        self.ask(wire::JOB_REQUEST, &job, fds, ops.bytes())
            .map(drop)
    }

    /// Ends a sandbox; with `wait`, comes back when nothing of it is left.
    pub(crate) fn close(&self, id: u64, wait: bool) -> Result<()> {
        if wait {
            return Self::closed(self.begin_close(id)?.as_fd());
        }
        send_request(self.socket.as_fd(), wire::CLOSE_REQUEST, &Close { id }, &[])
    }

    /// Ends a sandbox; the answer comes to this socket when nothing of it is left.
    pub(crate) fn begin_close(&self, id: u64) -> Result<OwnedFd> {
        let (ours, theirs) = socket::pair().map_err(|e| {
            // No descriptor is left to wait with, but the sandbox must end.
            let _ = self.close(id, false);
            Error::os(Step::CloseSandbox, "socketpair", e)
        })?;
        let socket = self.socket.as_fd();
        send_request(
            socket,
            wire::CLOSE_REQUEST,
            &Close { id },
            &[theirs.as_fd()],
        )?;
        Ok(ours)
    }

    /// Waits for the answer to [`Spawner::begin_close`].
    pub(crate) fn closed(told: BorrowedFd<'_>) -> Result<()> {
        let (reply, _) = receive(told)?;
        checked(reply, &[])?.ok_or_else(gone).map(drop)
    }
}

impl Drop for Spawner {
    fn drop(&mut self) {
        // A forked copy of the host has no part in it.
        if !self.is_own() {
            return;
        }
        // A forked copy may keep this socket open, so closing it is not enough.
        let _ = socket::shut_down(self.socket.as_fd());
        self.reap();
    }
}
