// SPDX-License-Identifier: MIT OR Apache-2.0
//! Starts the helper process, asks the helper for sandboxes, and ends the
//! helper.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{getegid, geteuid};

use super::limits::more_processes;
use super::request::{checked, gone, receive, receive_now, send_for_reply, send_request};
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

/// Milliseconds to wait for the end of a helper that is this process's child.
const REAP_MS: u16 = 2000;

/// Directories that a helper removes by name at the end.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Watched {
    Cgroups,
    /// Directories with all their entries.
    Trees,
}

/// A helper process, started for this process. Both end together.
#[derive(Debug)]
pub(crate) struct Spawner {
    pub(super) socket: OwnedFd,
    /// The process that started the helper. A forked copy of that process must
    /// start its own helper.
    owner: u32,
    /// Caches [`Spawner::prefix`].
    prefix: OnceLock<String>,
    /// Set once the helper watches for cgroups, and for scratch directories.
    watches: [OnceLock<()>; 2],
    /// True if this process, as process 1 or a subreaper, is the parent.
    is_child: bool,
    /// The helper's process id. Names of sandboxes hold the id, because a
    /// process may have two helpers.
    pid: u32,
    /// A pidfd of the helper. A closed socket does not prove the end, because a
    /// child that the helper has just forked may still hold the other end.
    pidfd: Option<OwnedFd>,
    /// The ids that sandboxes of the helper can hold.
    pub(crate) ids: Ids,
    /// The authority of the thread that started the helper.
    pub(crate) authority: Authority,
    /// Results of trials of mounts of the host.
    pub(super) verdicts: Mutex<Verdicts>,
    /// Caches [`Spawner::home`].
    home: OnceLock<Option<PathBuf>>,
    pub(crate) missing: Arc<Missing>,
}

/// Features that the kernel was seen to refuse to a helper's authority; set
/// once.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    /// Any overlay.
    pub(crate) overlay: OnceLock<()>,
    /// The detached path, where the attached path worked.
    pub(crate) detached: OnceLock<()>,
}

impl Spawner {
    /// A spawner without a helper, for plans that are not sent.
    #[cfg(any(test, feature = "bench"))]
    pub(crate) fn absent() -> Self {
        let socket = socket::pair().unwrap().0;
        Self::new(socket, Ids::Host, Authority::of_caller().unwrap())
    }

    /// Returns a spawner whose helper has not greeted yet.
    fn new(socket: OwnedFd, ids: Ids, authority: Authority) -> Self {
        Self {
            socket,
            owner: std::process::id(),
            prefix: OnceLock::new(),
            watches: Default::default(),
            is_child: false,
            pid: 0,
            pidfd: None,
            ids,
            authority,
            verdicts: Mutex::default(),
            home: OnceLock::new(),
            missing: Arc::default(),
        }
    }

    /// Takes over what `before`, the helper that this one replaces, has seen
    /// missing. The kernel may grant another authority what it refused that of
    /// `before`.
    pub(super) fn inherit(&mut self, before: &Self) {
        if self.authority == before.authority {
            self.missing = Arc::clone(&before.missing);
        }
    }

    /// Starts the helper: executes a sealed copy of the program by
    /// posix_spawn(3), which does not copy the host. Calls `meanwhile` with the
    /// ids and the authority of the helper while the helper boots.
    ///
    /// # Errors
    /// [`crate::Kind::Unsupported`] where `vm.memfd_noexec` or a missing user
    /// namespace stand in the way.
    pub(crate) fn start(meanwhile: impl FnOnce(&Ids, &Authority)) -> Result<Self> {
        let step = Step::StartSpawner;
        let authority = Authority::of_caller()?;
        let program = tare_init::PROGRAM;
        #[cfg(tare_weak)]
        let program = &crate::weak::told(program)[..];
        // From memory, so that no file of the machine has to be found, or
        // trusted. The seals keep others of this user from changing it.
        let helper = memfd::sealed(c"tare-init", program, true).map_err(|e| {
            let error = Error::os(step, "memfd_create", e);
            match e {
                Errno::EACCES => error.with_cure("sysctl vm.memfd_noexec=0"),
                _ => error,
            }
        })?;
        let (ours, theirs) = socket::pair().map_err(|e| Error::os(step, "socketpair", e))?;
        // By the credentials, the helper refuses requests of other senders.
        socket::tell_senders(theirs.as_fd()).map_err(|e| Error::os(step, "SO_PASSCRED", e))?;
        // In a host without standard streams these could have the numbers 0 to
        // 2, which the child's streams get.
        let above =
            |fd: OwnedFd| duplicate(fd.as_raw_fd()).map_err(|e| Error::os(step, "fcntl", e));
        let (helper, ours) = (above(helper)?, above(ours)?);
        let path = format!("/proc/self/fd/{}", helper.as_raw_fd());
        let mut child = Command::new(path)
            .arg0("tare")
            // The environment may hold secrets, and the helper reads none.
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
        let ids = Ids::detect();
        meanwhile(&ids, &authority);
        // The child ends at once and leaves the spawner to process 1, so the
        // host has no child that its own wait(2) could find. A host that
        // ignores SIGCHLD, or waits for all children, may have taken the
        // status: harmless.
        let _ = child.wait();
        let mut spawner = Self::new(ours, ids, authority);
        let (pid, pidfd) = spawner.greet()?;
        spawner.is_child = pidfd::is_child(pid);
        (spawner.pid, spawner.pidfd) = (pid, Some(pidfd));
        Ok(spawner)
    }

    /// Returns whether this process started the helper; false in a forked copy
    /// of that process.
    pub(crate) fn is_own(&self) -> bool {
        self.owner == std::process::id()
    }

    /// Returns whether the helper still runs. A helper never ends by itself,
    /// but may be killed.
    pub(crate) fn is_alive(&self) -> bool {
        let mut ends = vec![PollFd::new(self.socket.as_fd(), PollFlags::empty())];
        let pidfd = self.pidfd.as_ref().map(AsFd::as_fd);
        ends.extend(pidfd.map(|pidfd| PollFd::new(pidfd, PollFlags::POLLIN)));
        // If poll(2) fails, the next request reports the end.
        poll(&mut ends, PollTimeout::ZERO).is_err()
            || !ends.iter().any(|end| end.any() != Some(false))
    }

    /// Returns whether the helper was killed and its children are this
    /// process's now.
    pub(crate) fn left_children(&self) -> bool {
        self.is_child && self.is_own() && !self.is_alive()
    }

    /// Returns the beginning of the sandboxes' names: this process, and the
    /// helper's process id.
    ///
    /// # Errors
    /// When `/proc/self/stat` cannot be read.
    pub(crate) fn prefix(&self) -> Result<&str> {
        if let Some(prefix) = self.prefix.get() {
            return Ok(prefix);
        }
        // Read once: the start time of this process does not change.
        let owner = Owner::current()?;
        Ok(self.prefix.get_or_init(|| format!("{owner}-{}.", self.pid)))
    }

    /// Has the helper remove the directories below `parents` whose names begin
    /// with `prefix` at the end. Called before the first of them is made,
    /// because the host may be killed at any moment.
    pub(crate) fn watch(&self, kind: Watched, prefix: &str, parents: &[&Path]) -> Result<()> {
        let watched = &self.watches[kind as usize];
        if watched.get().is_some() {
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
        // A second thread waits here until the request is sent. Its directory
        // would otherwise exist before the helper knows the prefix.
        watched.get_or_init(|| {
            // If the helper is gone, the next request reports that.
            let _ = send_request(self.socket.as_fd(), wire::WATCH_REQUEST, &watch, &[]);
        });
        Ok(())
    }

    /// Returns the home of the caller, for views of the host.
    pub(crate) fn home(&self) -> Option<&Path> {
        self.home.get_or_init(home::of_caller).as_deref()
    }

    /// Returns a number that no sandbox of this process had before, in any
    /// store: the names of cgroups hold the number.
    pub(crate) fn next_id(&self) -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        NEXT.fetch_add(1, Ordering::Relaxed)
    }

    /// Reaps the helper where this process is its parent. Waits at most two
    /// seconds; a later end is left to the host's own wait(2).
    fn reap(&self) {
        let Some(pidfd) = self.pidfd.as_ref().filter(|_| self.is_child) else {
            return;
        };
        pidfd::await_end(pidfd.as_fd(), REAP_MS);
        pidfd::reap(self.pid);
    }

    /// Tells the helper the ids, and returns the process id and a pidfd of the
    /// helper.
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
            // Set-user-id programs write the maps while the helper waits in the
            // new user namespace.
            let written = self.ids.write(reply.signal);
            written.map_err(|error| match pidfd::has_ended(pidfd.as_fd()) {
                true => gone(),
                false => error,
            })?;
            // With the maps written, the helper can take the ids inside.
            hello.stage = 2;
            self.ask(wire::HELLO_REQUEST, &hello, &[], &[])?;
        }
        Ok((reply.signal, pidfd))
    }

    /// Returns the reason that the helper gave for ending, else `error`.
    fn last_words(&self, error: Error) -> Error {
        let said = match receive_now(self.socket.as_fd(), false) {
            // unix(7) reports the unread request before the message.
            Err(Errno::ECONNRESET) => receive_now(self.socket.as_fd(), false),
            other => other,
        };
        match said.map(|(reply, _)| checked(reply, &[])) {
            Ok(Err(told)) => told,
            _ => error,
        }
    }

    /// Sends a request with a socket for the reply, and waits for the reply and
    /// the descriptors.
    fn ask<'a>(
        &self,
        kind: u32,
        body: &impl Field<'a>,
        fds: &[BorrowedFd<'_>],
        ops: &[u8],
    ) -> Result<(Reply, Vec<OwnedFd>)> {
        let ours = send_for_reply(Step::TalkToSpawner, self.socket.as_fd(), kind, body, fds)?;
        let (reply, fds) = receive(ours.as_fd())?;
        let reply = checked(reply, ops)?.ok_or_else(gone)?;
        Ok((reply, fds))
    }

    /// Asks for a sandbox, and returns while the helper works.
    pub(crate) fn begin_open(&self, open: &Open<'_>, fds: &[BorrowedFd<'_>]) -> Result<Start> {
        let (step, socket) = (Step::OpenSandbox, self.socket.as_fd());
        let control = send_for_reply(step, socket, wire::OPEN_REQUEST, open, fds)?;
        Ok(Start::new(control, open.ops.to_vec()))
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

    /// Ends a sandbox; with `wait`, returns when nothing is left.
    pub(crate) fn close(&self, id: u64, wait: bool) -> Result<()> {
        if wait {
            return Self::closed(self.begin_close(id)?.as_fd());
        }
        send_request(self.socket.as_fd(), wire::CLOSE_REQUEST, &Close { id }, &[])
    }

    /// Ends a sandbox. The returned socket has the reply when nothing is left.
    pub(crate) fn begin_close(&self, id: u64) -> Result<OwnedFd> {
        let (step, socket) = (Step::CloseSandbox, self.socket.as_fd());
        send_for_reply(step, socket, wire::CLOSE_REQUEST, &Close { id }, &[]).inspect_err(|_| {
            // Without a descriptor the caller cannot wait, but the sandbox must
            // end.
            let _ = self.close(id, false);
        })
    }

    /// Waits for the reply on the socket of [`Spawner::begin_close`].
    pub(crate) fn closed(notice: BorrowedFd<'_>) -> Result<()> {
        let (reply, _) = receive(notice)?;
        checked(reply, &[])?.ok_or_else(gone).map(drop)
    }
}

impl Drop for Spawner {
    fn drop(&mut self) {
        // A forked copy of the host must leave the parent's helper alone.
        if !self.is_own() {
            return;
        }
        // Not just closed: a forked copy may hold the socket as well, and the
        // helper would see no end of file.
        let _ = socket::shut_down(self.socket.as_fd());
        self.reap();
    }
}
