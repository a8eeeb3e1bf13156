// SPDX-License-Identifier: MIT OR Apache-2.0
//! Starting one command: from a request to a process that executes it, confined.

use core::ffi::CStr;

use crate::clone::{CLONE_INTO_CGROUP, CLONE_PIDFD, CloneArgs, Shared, share};
use crate::close::close_from;
use crate::dir;
use crate::exec::{self, Words};
use crate::filtered_thread::attach;
use crate::mapping::Mapping;
use crate::owner;
use crate::replay::drop_bounding;
use crate::sys::{self, AT_FDCWD, Errno, Fd, O_PATH, Result, nr, sys};
use crate::user::{Identity, Users};
use crate::wire::{self, Confine, Reader, Run};

type Outcome<T> = core::result::Result<T, (u32, Errno)>;

/// Memory that every start uses again: the child's stack, the argument vectors, and what the child reads of
/// the sandbox's users and groups.
pub(crate) struct Parts {
    stack: Mapping,
    words: Words,
    users: Users,
    inherited: Inherited,
}

/// State of the caller's process that its commands inherit and this process has
/// not, as it was when the helper started.
#[derive(Clone, Copy)]
pub(crate) struct Inherited {
    /// The limit of descriptors, which is higher here.
    files: [u64; 2],
    /// Ignored signals, of which this process has none; signal 1 as bit 0.
    ignored: u64,
}

impl Inherited {
    /// SIGPIPE and SIGXFSZ, which language runtimes ignore for themselves and
    /// put back for each child; and the C library's own two, 32 and 33, which
    /// posix_spawn(3) ignores in the helper.
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
            words: Words::new()?,
            users: Users::new()?,
            inherited,
        })
    }
}

/// A started command.
pub(crate) struct Child {
    pub(crate) pid: i32,
    /// If somebody is told of its start.
    pub(crate) pidfd: Option<Fd>,
    /// Its time was up before it executed anything; it is dead.
    pub(crate) late: bool,
    /// Its terminal, to be sent to the host.
    pub(crate) master: Option<Fd>,
    /// The tag that it was given.
    pub(crate) tag: Option<u64>,
}

/// What the child reads, and where it says why it failed; the memory is shared until it executes.
struct Launch<'a> {
    run: &'a Run<'a>,
    confine: &'a Confine<'a>,
    /// Status socket, those standard streams that are not `/dev/null`, extra ones.
    fds: &'a [i32],
    terminal: Option<&'a Fd>,
    /// A cgroup to join, where it could not be born there.
    join: Option<i32>,
    words: &'a mut Words,
    users: &'a mut Users,
    inherited: Inherited,
    /// Whether the caller is behind the sandbox's program already, and so is the child.
    born_confined: bool,
    /// Whether it needs a tag, and then which it has.
    tagged: bool,
    tag: Option<u64>,
    failed: Option<(u32, Errno)>,
}

/// Where commands are started.
pub(crate) struct Place {
    pub(crate) devpts: i32,
    pub(crate) dev: i32,
    /// Whether the calling thread is behind the sandbox's program; it can do without terminals and cgroups then.
    pub(crate) confined: bool,
    /// Whether the command needs a tag (`owner.rs`).
    pub(crate) tagged: bool,
}

/// Starts a command that may take until `start_by`; `meanwhile` as in [`share`].
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
        _ => Some(open_terminal(run, place).map_err(|e| (wire::AT_TERMINAL, e))?),
    };
    let Parts {
        stack,
        words,
        users,
        inherited,
    } = parts;
    words.fill(run).map_err(|e| (wire::AT_EXEC, e))?;
    let mut pidfd = -1i32;
    let mut args = CloneArgs::child(0);
    if run.flags & wire::UNTOLD == 0 {
        args.flags |= CLONE_PIDFD;
        args.pidfd = &raw mut pidfd as u64;
    }
    if run.flags & wire::INTO_CGROUP != 0 {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = fds[cgroup_at(run)] as u64;
    }
    let slave = terminal.as_ref().map(|(_, slave)| slave);
    let mut launch = Launch {
        run,
        confine,
        fds,
        terminal: slave,
        join: None,
        words,
        users,
        inherited: *inherited,
        born_confined: place.confined,
        tagged: place.tagged,
        tag: None,
        failed: None,
    };
    let mut started = launch.share(&args, stack, start_by, &meanwhile);
    if matches!(started, Err(Errno::NOSYS)) && args.flags & CLONE_INTO_CGROUP != 0 {
        // clone3 is older than our floor, but an outer filter may hide it.
        args.flags &= !CLONE_INTO_CGROUP;
        launch.join = Some(fds[cgroup_at(run)]);
        started = launch.share(&args, stack, start_by, &meanwhile);
    }
    let child = started.map_err(|e| (wire::AT_CLONE, e))?;
    let pidfd = (pidfd >= 0).then(|| Fd(pidfd));
    let Launch { failed, tag, .. } = launch;
    match failed {
        // The child is dead already; the loop reaps it as an orphan.
        Some(failure) => Err(failure),
        None => Ok(Child {
            pid: child.pid,
            pidfd,
            late: child.late,
            master: terminal.map(|(master, _)| master),
            tag,
        }),
    }
}

/// Whether a standard stream is `/dev/null`.
fn is_null(run: &Run<'_>, stream: usize) -> bool {
    run.flags & wire::NULL_STREAM << stream != 0
}

/// Where the cgroup is among a command's descriptors, if there is one: behind the status socket and the streams.
pub(crate) fn cgroup_at(run: &Run<'_>) -> usize {
    1 + (0..3).filter(|n| !is_null(run, *n)).count()
}

/// The child's first function, on a stack of its own.
extern "C" fn enter(launch: usize) -> ! {
    // SAFETY: `start` passes a live `Launch` and does not touch it before `share` says that this child let the memory go.
    let launch = unsafe { &mut *(launch as *mut Launch<'_>) };
    if let Err(failure) = launch.steps() {
        launch.failed = Some(failure);
    }
    sys::exit(127)
}

fn at(place: u32) -> impl Fn(Errno) -> (u32, Errno) {
    move |errno| (place, errno)
}

impl Launch<'_> {
    /// Starts the child, and waits until it lets the memory go.
    fn share(
        &mut self,
        args: &CloneArgs,
        stack: &mut Mapping,
        start_by: u64,
        meanwhile: impl Fn(),
    ) -> Result<Shared> {
        let argument = core::ptr::from_mut(self) as usize;
        share(
            args,
            stack.bytes_mut(),
            enter,
            argument,
            start_by,
            meanwhile,
        )
    }

    /// The order of a command: session, files, place, identity, limits, restrictions, program.
    fn steps(&mut self) -> Outcome<()> {
        if let Some(cgroup) = self.join {
            join(cgroup).map_err(at(wire::AT_CLONE))?;
        }
        sys!(nr::SETSID).map_err(at(wire::AT_SESSION))?;
        self.place_fds().map_err(at(wire::AT_FDS))?;
        if self.terminal.is_some() {
            // TIOCSCTTY
            sys!(nr::IOCTL, 0, 0x540e, 0).map_err(at(wire::AT_SESSION))?;
        }
        // Where the init is.
        let root = AT_FDCWD;
        let identity = self
            .users
            .find(root, self.run.user)
            .map_err(at(wire::AT_USER))?;
        if self.run.cwd != c"/" {
            enter_dir(root, self.run.cwd, self.run.flags & wire::MAKE_CWD != 0)
                .map_err(at(wire::AT_CWD))?;
        }
        if self.run.flags & wire::ADD_HOME != 0 {
            self.words.set_home(match identity.uid {
                0 if !self.confine.home.is_empty() => self.confine.home,
                _ => identity.home(),
            });
        }
        if self.terminal.is_some() {
            // The terminal belongs to whoever uses it; in a user namespace of one id it may not be given away.
            let _ = sys!(nr::FCHOWN, 0, identity.uid, u32::MAX);
        }
        // Behind what opens files, before what gives up the capability to raise a limit.
        sys::restore_files(&self.inherited.files).map_err(at(wire::AT_RLIMIT + sys::FILES))?;
        set_rlimits(match self.run.rlimits {
            [] => self.confine.rlimits,
            own => own,
        })?;
        if self.tagged {
            self.tag = owner::tag(self.run.id);
        }
        if self.confine.no_new_privs == 0 {
            if self.run.caps != self.confine.caps {
                // A program of user 0 is given the bounding set, capabilities(7).
                drop_bounding(self.run.caps).map_err(at(wire::AT_CAPS))?;
            }
            // Without it the filter needs a capability that goes next.
            filter(self.confine, self.born_confined)?;
        }
        // A group that was asked for may not be left out.
        if self.confine.no_setgroups != 0 && self.run.user.to_bytes().contains(&b'\n') {
            return Err((wire::AT_USER, Errno::PERM));
        }
        become_user(identity, self.confine, self.run.caps)?;
        if self.confine.no_new_privs == 1 {
            if !self.born_confined {
                // PR_SET_NO_NEW_PRIVS, which the thread behind the program has, too.
                sys::prctl(38, 1, 0).map_err(at(wire::AT_NO_NEW_PRIVS))?;
            }
            filter(self.confine, self.born_confined)?;
        }
        let _ = sys!(nr::UMASK, self.run.umask);
        sys::ignore_signals(self.inherited.ignored);
        sys::block_signals(false);
        Err((wire::AT_EXEC, exec::exec(self.run, self.words)))
    }

    /// Puts each descriptor at its number and closes everything else: until the exec, a program
    /// named `/proc/self/fd/N/...` would still find it (CVE-2024-21626).
    fn place_fds(&self) -> Result<()> {
        let skip = cgroup_at(self.run) + usize::from(self.run.flags & wire::INTO_CGROUP != 0);
        let mut given = self.fds[1..].iter().copied();
        let numbers = self.run.fds.as_chunks::<4>().0;
        let wanted = |n: usize| u32::from_ne_bytes(numbers[n]) as i32;
        let above = (0..numbers.len()).map(wanted).max().unwrap_or(2).max(2) + 1;
        // First out of each other's way, where they are in it, then into place.
        let mut high = [-1i32; crate::wire::MAX_FDS];
        for (n, high) in high.iter_mut().enumerate().take(3 + numbers.len()) {
            let from = match (n, self.terminal) {
                (0..3, Some(slave)) => slave.0,
                // The sandbox's own, which the init has there.
                (0..3, None) if is_null(self.run, n) => continue,
                (0..3, None) => given.next().ok_or(Errno::BADF)?,
                _ => own_null(self.fds[skip + n - 3])?,
            };
            *high = if from < above {
                sys::duplicate(from, above)?.keep()
            } else {
                from
            };
        }
        for (n, fd) in high.iter().enumerate().filter(|(_, fd)| **fd >= 0) {
            let to = if n < 3 { n as i32 } else { wanted(n - 3) };
            sys!(nr::DUP2, *fd, to)?;
        }
        if !is_weak!("no_cloexec") {
            let given = |fd: i32| (0..numbers.len()).any(|n| wanted(n) == fd);
            (3..above).filter(|fd| !given(*fd)).for_each(sys::close);
            close_from(above);
        }
        Ok(())
    }
}

/// In the place of a `/dev/null` of the host's, which container root could give another mode or
/// owner through its descriptor, the sandbox's own: the init has it as 0, opened before any command.
/// For the standard streams, the host says which are.
fn own_null(fd: i32) -> Result<i32> {
    let stat = sys::fstatat(fd, c"")?;
    Ok(if stat.is(sys::S_IFCHR) && stat.rdev == wire::NULL {
        0
    } else {
        fd
    })
}

fn join(cgroup: i32) -> Result<()> {
    let procs = sys::openat(cgroup, c"cgroup.procs", sys::O_WRONLY, 0)?;
    sys::write(procs.0, b"0")
}

/// Groups, ids, then capabilities: what is left is what was asked for, and nothing is inheritable.
fn become_user(identity: &Identity, confine: &Confine<'_>, caps: u64) -> Outcome<()> {
    change_ids(identity, confine).map_err(at(wire::AT_SETUID))?;
    let caps = if identity.uid == 0 {
        confine.caps & caps
    } else {
        0
    };
    let inheritable = if is_weak!("caps_inheritable") {
        caps
    } else {
        0
    };
    sys::capset(caps, inheritable).map_err(at(wire::AT_CAPS))
}

/// Groups and ids. Capabilities are the caller's to set.
pub(crate) fn change_ids(identity: &Identity, confine: &Confine<'_>) -> Result<()> {
    if confine.single_id == 1 && (identity.uid, identity.gid) != (0, 0) {
        return Err(Errno::INVAL);
    }
    if confine.no_setgroups == 0 {
        set_groups(identity.groups())?;
    }
    let (uid, gid) = (identity.uid, identity.gid);
    sys!(nr::SETRESGID, gid, gid, gid)?;
    sys!(nr::SETRESUID, uid, uid, uid)?;
    // PR_SET_DUMPABLE: a change of ids sets it to fs.suid_dumpable, for the init too, whose memory this is.
    sys::prctl(4, 0, 0).map(drop)
}

/// Attaches the sandbox's program, unless it was there at birth.
fn filter(confine: &Confine<'_>, born_confined: bool) -> Outcome<()> {
    match confine.seccomp {
        [] => Ok(()),
        _ if born_confined => Ok(()),
        program => attach(program).map_err(at(wire::AT_SECCOMP)),
    }
}

fn set_groups(groups: &[u32]) -> Result<()> {
    if is_weak!("groups_of_host") {
        return Ok(());
    }
    sys!(nr::SETGROUPS, groups.len(), groups.as_ptr()).map(drop)
}

/// Changes into a directory of the root; links stay inside, magic ones are
/// refused. A missing one may be made, but not in what is mounted there.
fn enter_dir(root: i32, path: &CStr, make: bool) -> Result<()> {
    let dir = match dir::open(root, path, O_PATH | sys::O_DIRECTORY, dir::ANY) {
        Err(Errno::NOENT) if make => match dir::ensure_dir(root, path, dir::HERE) {
            Err(Errno::XDEV) => Err(Errno::NOENT),
            other => other,
        },
        other => other,
    }?;
    sys!(nr::FCHDIR, dir.0).map(drop)
}

fn set_rlimits(limits: &[u8]) -> Outcome<()> {
    use wire::Field as _;
    const MALFORMED: (u32, Errno) = (wire::AT_MESSAGE, Errno::PROTO);
    let mut reader = Reader::new(limits);
    while !reader.is_empty() {
        let resource = u32::get(&mut reader).ok_or(MALFORMED)?;
        let soft = u64::get(&mut reader).ok_or(MALFORMED)?;
        let hard = u64::get(&mut reader).ok_or(MALFORMED)?;
        // Named, so that it lives until the call is over.
        let limit = [soft, hard];
        sys!(nr::PRLIMIT64, 0, resource, limit.as_ptr(), 0)
            .map_err(at(wire::AT_RLIMIT + resource))?;
    }
    Ok(())
}

/// Master and slave of a new terminal of the sandbox's own devpts; the slave is opened through
/// the master, never by a path that the sandbox could have changed.
fn open_terminal(run: &Run<'_>, place: &Place) -> Result<(Fd, Fd)> {
    const TIOCSPTLCK: usize = 0x4004_5431;
    const TIOCGPTPEER: usize = 0x5441;
    const TIOCSWINSZ: usize = 0x5414;
    let flags = sys::O_RDWR | sys::O_NOCTTY | sys::O_CLOEXEC;
    let master = sys::openat(place.devpts, c"ptmx", flags, 0)?;
    let unlocked = 0u32;
    sys!(nr::IOCTL, master.0, TIOCSPTLCK, &raw const unlocked)?;
    let slave = Fd(sys!(nr::IOCTL, master.0, TIOCGPTPEER, flags)? as i32);
    let size = [run.rows as u16, run.columns as u16, 0, 0];
    sys!(nr::IOCTL, master.0, TIOCSWINSZ, size.as_ptr())?;
    attach_console(place.dev, &slave)?;
    Ok((master, slave))
}

/// The first terminal is also `/dev/console`; whoever already has something there keeps it.
fn attach_console(dev: i32, slave: &Fd) -> Result<()> {
    let clone = match crate::mount::clone_tree(slave.0, c"", sys::AT_EMPTY_PATH) {
        // An init that may be traced from inside may not mount any more: see `Open::init_caps`.
        Err(Errno::PERM) => return Ok(()),
        other => other?,
    };
    let flags = sys::O_WRONLY | sys::O_CREAT | sys::O_EXCL | sys::O_NOFOLLOW;
    match sys::openat(dev, c"console", flags, 0o600) {
        Err(Errno::EXIST | Errno::BADF) => Ok(()),
        Err(error) => Err(error),
        Ok(_) => {
            let target = sys::openat(dev, c"console", O_PATH | sys::O_NOFOLLOW, 0)?;
            crate::mount::attach(clone.0, &target)
        }
    }
}
