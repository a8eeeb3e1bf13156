// SPDX-License-Identifier: MIT OR Apache-2.0
//! Starts a command: from a request to a process that executes the program,
//! confined.
//!
//! The child shares the memory of process 1 until execve(2), as after vfork(2).
//! So it needs no copy of the page tables, and reads the request where process
//! 1 received it. For the same reason the child must not leave traces in memory
//! that process 1 relies on: it writes only to [`Launch`], the vectors and the
//! cached user.

use core::ffi::CStr;

use crate::clone::{Birth, Shared, share};
use crate::close::close_from;
use crate::dir;
use crate::exec::{self, Words};
use crate::mapping::Mapping;
use crate::message::{Failure, Outcome, at};
use crate::owner;
use crate::replay::drop_bounding;
use crate::sys::{self, AT_FDCWD, Errno, Fd, O_PATH, RLIMIT_NOFILE, Result};
use crate::user::{Identity, Users};
use crate::wire::{self, Confine, Reader, Run};

/// Memory that every start reuses.
pub(crate) struct Parts {
    stack: Mapping,
    child: ChildParts,
}

/// The parts that the child uses: argument vectors and the cached user.
struct ChildParts {
    words: Words,
    users: Users,
    inherited: Inherited,
}

/// State of the caller's process that commands inherit and this process lacks,
/// as of the start of the helper.
#[derive(Clone, Copy)]
pub(crate) struct Inherited {
    /// Limits of descriptors; higher in this process.
    files: [u64; 2],
    /// Ignored signals, signal 1 as bit 0; this process ignores no signal.
    ignored: u64,
}

impl Inherited {
    /// Signals that do not count: language runtimes ignore SIGPIPE and SIGXFSZ
    /// for themselves and put them back for each child. posix_spawn(3) ignores
    /// 32 and 33, the C library's own, in the helper.
    const RUNTIMES: u64 = 1 << (13 - 1) | 1 << (25 - 1) | 1 << (32 - 1) | 1 << (33 - 1);

    pub(crate) fn new(ignored: u64) -> Result<Self> {
        Ok(Self {
            files: sys::lift_files()?,
            ignored: ignored & !Self::RUNTIMES,
        })
    }
}

impl Parts {
    pub(crate) fn new(inherited: Inherited) -> Result<Self> {
        Ok(Self {
            stack: Mapping::lasting(128 << 10)?,
            child: ChildParts {
                words: Words::new()?,
                users: Users::new()?,
                inherited,
            },
        })
    }
}

/// A started command.
pub(crate) struct Child {
    /// With a pidfd if the host waits for the word of the start; late if the
    /// time was up before the child executed a program.
    pub(crate) shared: Shared,
    /// Master of the command's terminal, for the host.
    pub(crate) master: Option<Fd>,
    /// The command's tag, if any.
    pub(crate) tag: Option<u64>,
}

/// Input of the child, and the place for its failure; in shared memory until
/// the exec.
struct Launch<'a> {
    run: &'a Run<'a>,
    confine: &'a Confine<'a>,
    /// Status socket, standard streams other than `/dev/null`, extra
    /// descriptors.
    fds: &'a [i32],
    terminal: Option<&'a Fd>,
    /// A cgroup to join, where the child could not be born there.
    join: Option<i32>,
    place: &'a Place,
    parts: &'a mut ChildParts,
    tag: Option<u64>,
    failed: Option<Failure>,
}

/// Descriptors of the sandbox, and state of the calling thread.
pub(crate) struct Place {
    pub(crate) devpts: i32,
    pub(crate) dev: i32,
    /// True if the calling thread has the sandbox's filter, which the child
    /// inherits. Terminals and cgroups are not possible then.
    pub(crate) confined: bool,
    /// True if the command needs a tag (`owner.rs`).
    pub(crate) tagged: bool,
}

/// Starts a command that may take until `start_by`; `meanwhile` as in
/// [`share`].
pub(crate) fn start(
    run: &Run<'_>,
    confine: &Confine<'_>,
    fds: &[i32],
    place: &Place,
    parts: &mut Parts,
    start_by: u64,
    meanwhile: impl Fn(),
) -> Outcome<Child> {
    let extra = run.fds.len() / 4 + usize::from(run.flags & wire::INTO_CGROUP != 0);
    if fds.len() != cgroup_at(run) + extra {
        return Err((wire::AT_MESSAGE, Errno::PROTO));
    }
    let terminal = match run.flags & wire::TTY {
        0 => None,
        _ => Some(open_terminal(run, place).map_err(at(wire::AT_TERMINAL))?),
    };
    let Parts { stack, child } = parts;
    child.words.fill(run).map_err(at(wire::AT_EXEC))?;
    let mut birth = Birth {
        cgroup: (run.flags & wire::INTO_CGROUP != 0).then(|| fds[cgroup_at(run)]),
        pidfd: run.flags & wire::UNTOLD == 0,
    };
    let slave = terminal.as_ref().map(|(_, slave)| slave);
    let mut launch = Launch {
        run,
        confine,
        fds,
        terminal: slave,
        join: None,
        place,
        parts: child,
        tag: None,
        failed: None,
    };
    let mut started = launch.share(birth, stack, start_by, &meanwhile);
    if matches!(started, Err(Errno::NOSYS)) && birth.cgroup.is_some() {
        // KERNEL(5.7): an outer filter may hide clone3(2), and clone(2) knows
        // no cgroup.
        launch.join = birth.cgroup.take();
        started = launch.share(birth, stack, start_by, &meanwhile);
    }
    let shared = started.map_err(at(wire::AT_CLONE))?;
    let Launch { failed, tag, .. } = launch;
    match failed {
        // The child is dead, and the loop in `serve` reaps it as an orphan.
        Some(failure) => Err(failure),
        None => Ok(Child {
            shared,
            master: terminal.map(|(master, _)| master),
            tag,
        }),
    }
}

/// Returns whether a standard stream is `/dev/null`.
fn is_null(run: &Run<'_>, stream: usize) -> bool {
    run.flags & wire::NULL_STREAM << stream != 0
}

/// Returns the place of the cgroup among a command's descriptors: behind the
/// status socket and the streams.
pub(crate) fn cgroup_at(run: &Run<'_>) -> usize {
    1 + (0..3).filter(|n| !is_null(run, *n)).count()
}

/// Begins the child, on a stack of its own.
extern "C" fn enter(launch: &mut Launch<'_>) -> ! {
    if let Err(failure) = launch.steps() {
        launch.failed = Some(failure);
    }
    sys::exit(127)
}

impl Launch<'_> {
    /// Starts the child, and waits until the child releases the memory.
    fn share(
        &mut self,
        birth: Birth,
        stack: &mut Mapping,
        start_by: u64,
        meanwhile: impl Fn(),
    ) -> Result<Shared> {
        share(birth, stack.bytes_mut(), enter, self, start_by, meanwhile)
    }

    /// Does all steps of a command; returns only after a failure.
    ///
    /// The order matters: files are opened before the ids change, limits are
    /// raised before the capability goes, and the filter comes last, because it
    /// may refuse the calls before it.
    fn steps(&mut self) -> Outcome<()> {
        if let Some(cgroup) = self.join {
            let joined = dir::write_file(cgroup, c"cgroup.procs", b"0");
            joined.map_err(at(wire::AT_CLONE))?;
        }
        sys::setsid().map_err(at(wire::AT_SESSION))?;
        self.place_fds().map_err(at(wire::AT_FDS))?;
        if self.terminal.is_some() {
            sys::set_controlling_terminal(0).map_err(at(wire::AT_SESSION))?;
        }
        // The root of the init, so of the sandbox.
        let root = AT_FDCWD;
        let identity = self.parts.users.find(root, self.run.user);
        let identity = identity.map_err(at(wire::AT_USER))?;
        if self.run.cwd != c"/" {
            enter_dir(root, self.run.cwd, self.run.flags & wire::MAKE_CWD != 0)
                .map_err(at(wire::AT_CWD))?;
        }
        if self.run.flags & wire::ADD_HOME != 0 {
            self.parts.words.set_home(match identity.uid {
                0 if !self.confine.home.is_empty() => self.confine.home,
                _ => identity.home(),
            });
        }
        if self.terminal.is_some() {
            // The user of a terminal owns the terminal. In a user namespace
            // with one id this fails, and the terminal stays user 0's.
            let _ = sys::fchown(0, identity.uid, u32::MAX);
        }
        // After the last open, because the limit may be low; before the ids
        // change, because a change loses the capability to raise a limit.
        let files = sys::setrlimit(RLIMIT_NOFILE, &self.parts.inherited.files);
        files.map_err(at(wire::AT_RLIMIT + RLIMIT_NOFILE))?;
        set_rlimits(match self.run.rlimits {
            [] => self.confine.rlimits,
            own => own,
        })?;
        if self.place.tagged {
            self.tag = owner::tag(self.run.id);
        }
        if self.confine.no_new_privs == 0 {
            if self.run.caps != self.confine.caps {
                // execve(2) gives user 0 the bounding set, capabilities(7).
                drop_bounding(self.run.caps).map_err(at(wire::AT_CAPS))?;
            }
            // Without no_new_privs seccomp(2) needs CAP_SYS_ADMIN, which the
            // next step drops.
            filter(self.confine, self.place)?;
        }
        // A missing setgroups(2) may not silently drop groups of the request.
        if self.confine.no_setgroups != 0 && self.run.user.to_bytes().contains(&b'\n') {
            return Err((wire::AT_USER, Errno::PERM));
        }
        become_user(identity, self.confine, self.run.caps)?;
        if self.confine.no_new_privs == 1 {
            if !self.place.confined {
                // Otherwise the filtered thread has set the flag already.
                sys::set_no_new_privs().map_err(at(wire::AT_NO_NEW_PRIVS))?;
            }
            filter(self.confine, self.place)?;
        }
        sys::umask(self.run.umask);
        sys::ignore_signals(self.parts.inherited.ignored);
        sys::block_signals(false);
        // SAFETY: `start` filled the vectors with the strings of `self.run`;
        // the home is in the cached user or in `self.confine`.
        Err((wire::AT_EXEC, unsafe {
            exec::exec(self.run, &mut self.parts.words)
        }))
    }

    /// Puts each descriptor at its number and closes all others: until the
    /// exec, a program named `/proc/self/fd/N/...` could reach them
    /// (CVE-2024-21626).
    fn place_fds(&self) -> Result<()> {
        let skip = cgroup_at(self.run) + usize::from(self.run.flags & wire::INTO_CGROUP != 0);
        let mut given = self.fds[1..].iter().copied();
        let numbers = self.run.fds.as_chunks::<4>().0;
        let wanted = |n: usize| u32::from_ne_bytes(numbers[n]) as i32;
        let above = (0..numbers.len()).map(wanted).max().unwrap_or(2).max(2) + 1;
        // First moves descriptors out of the way of the numbers, then into
        // place.
        let mut high = [-1i32; wire::MAX_FDS];
        for (n, high) in high.iter_mut().enumerate().take(3 + numbers.len()) {
            let from = match (n, self.terminal) {
                (0..3, Some(slave)) => slave.raw(),
                // The init has the sandbox's own `/dev/null` there already.
                (0..3, None) if is_null(self.run, n) => continue,
                (0..3, None) => given.next().ok_or(Errno::BADF)?,
                _ => own_null(self.fds[skip + n - 3])?,
            };
            *high = if from < above {
                sys::duplicate(from, above)?.into_raw()
            } else {
                from
            };
        }
        for (n, fd) in high.iter().enumerate().filter(|(_, fd)| **fd >= 0) {
            let to = if n < 3 { n as i32 } else { wanted(n - 3) };
            // SAFETY: the child has a copy of the descriptor table, and only
            // this function uses it until the exec.
            unsafe { sys::dup2(*fd, to) }?;
        }
        if !is_weak!("no_cloexec") {
            let given = |fd: i32| (0..numbers.len()).any(|n| wanted(n) == fd);
            // SAFETY: as above. `self.fds` and the terminal are not used again.
            unsafe {
                (3..above)
                    .filter(|fd| !given(*fd))
                    .for_each(|fd| sys::close(fd));
                close_from(above);
            }
        }
        Ok(())
    }
}

/// Replaces the host's `/dev/null` by number 0, the sandbox's own, which the
/// init opened before any command. Through the host's, container root could
/// change mode or owner of the host's device. The request marks such standard
/// streams itself.
fn own_null(fd: i32) -> Result<i32> {
    let stat = sys::fstatat(fd, c"")?;
    let is_null = stat.is(sys::S_IFCHR) && stat.rdev == wire::NULL;
    Ok(if is_null { 0 } else { fd })
}

/// Changes groups, ids, then capabilities. Keeps only the requested
/// capabilities, and makes none inheritable.
fn become_user(identity: &Identity, confine: &Confine<'_>, caps: u64) -> Outcome<()> {
    change_ids(identity, confine).map_err(at(wire::AT_SETUID))?;
    let caps = match identity.uid {
        0 => confine.caps & caps,
        _ => 0,
    };
    let inheritable = if is_weak!("caps_inheritable") {
        caps
    } else {
        0
    };
    sys::capset(caps, inheritable).map_err(at(wire::AT_CAPS))
}

/// Changes groups and ids; the caller sets the capabilities.
pub(crate) fn change_ids(identity: &Identity, confine: &Confine<'_>) -> Result<()> {
    if confine.single_id == 1 && (identity.uid, identity.gid) != (0, 0) {
        return Err(Errno::INVAL);
    }
    if confine.no_setgroups == 0 && !is_weak!("groups_of_host") {
        sys::setgroups(identity.groups())?;
    }
    let (uid, gid) = (identity.uid, identity.gid);
    sys::setresgid(gid)?;
    sys::setresuid(uid)?;
    // A change of ids sets the flag to fs.suid_dumpable, also for the init,
    // because the memory is shared.
    sys::set_dumpable(false)
}

/// Attaches the sandbox's filter, unless the child was born with it.
fn filter(confine: &Confine<'_>, place: &Place) -> Outcome<()> {
    match confine.seccomp {
        [] => Ok(()),
        _ if place.confined => Ok(()),
        program => sys::seccomp_filter(program).map_err(at(wire::AT_SECCOMP)),
    }
}

/// Changes into a directory of the root. Links stay inside, magic links are
/// refused. Makes a missing directory on request, but not below a mount.
fn enter_dir(root: i32, path: &CStr, make: bool) -> Result<()> {
    let dir = match dir::open(root, path, O_PATH | sys::O_DIRECTORY, dir::ANY) {
        Err(Errno::NOENT) if make => match dir::ensure_dir(root, path, dir::HERE) {
            Err(Errno::XDEV) => Err(Errno::NOENT),
            other => other,
        },
        other => other,
    }?;
    sys::fchdir(dir.raw())
}

fn set_rlimits(limits: &[u8]) -> Outcome<()> {
    use wire::Field as _;
    const MALFORMED: Failure = (wire::AT_MESSAGE, Errno::PROTO);
    let mut reader = Reader::new(limits);
    while !reader.is_empty() {
        let resource = u32::get(&mut reader).ok_or(MALFORMED)?;
        let soft = u64::get(&mut reader).ok_or(MALFORMED)?;
        let hard = u64::get(&mut reader).ok_or(MALFORMED)?;
        sys::setrlimit(resource, &[soft, hard]).map_err(at(wire::AT_RLIMIT + resource))?;
    }
    Ok(())
}

/// Opens master and slave of a new terminal in the sandbox's own devpts. Opens
/// the slave through the master, because the sandbox can change paths.
fn open_terminal(run: &Run<'_>, place: &Place) -> Result<(Fd, Fd)> {
    let flags = sys::O_RDWR | sys::O_NOCTTY | sys::O_CLOEXEC;
    let master = sys::openat(place.devpts, c"ptmx", flags, 0)?;
    sys::unlock_pty(&master)?;
    let slave = sys::open_pty_peer(&master, flags)?;
    sys::set_window_size(&master, run.rows as u16, run.columns as u16)?;
    attach_console(place.dev, &slave)?;
    Ok((master, slave))
}

/// Makes the first terminal `/dev/console` as well, unless the sandbox has put
/// a file there.
fn attach_console(dev: i32, slave: &Fd) -> Result<()> {
    let clone = match sys::open_tree_clone(slave.raw(), c"", sys::AT_EMPTY_PATH) {
        // A traceable init has no capability to mount: see `Open::init_caps`.
        Err(Errno::PERM) => return Ok(()),
        other => other?,
    };
    let flags = sys::O_WRONLY | sys::O_CREAT | sys::O_EXCL | sys::O_NOFOLLOW;
    match sys::openat(dev, c"console", flags, 0o600) {
        Err(Errno::EXIST | Errno::BADF) => Ok(()),
        Err(error) => Err(error),
        Ok(_) => {
            let target = sys::openat(dev, c"console", O_PATH | sys::O_NOFOLLOW, 0)?;
            crate::mount::attach(clone.raw(), target.raw())
        }
    }
}
