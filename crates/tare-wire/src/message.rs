// SPDX-License-Identifier: MIT OR Apache-2.0
//! The messages between host, spawner and init, and the numbers in them.

use core::ffi::CStr;

use super::{Field, List, Reader, Sink};

/// Declares a record: the fields in the order on the wire.
macro_rules! record {
    ($(#[$doc:meta])* $name:ident $(<$life:lifetime>)? { $($(#[$fdoc:meta])* $field:ident: $ty:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Default)]
        pub struct $name $(<$life>)? { $($(#[$fdoc])* pub $field: $ty,)* }

        impl<'a> Field<'a> for $name $(<$life>)? {
            fn get(from: &mut Reader<'a>) -> Option<Self> {
                Some(Self { $($field: Field::get(from)?,)* })
            }
            fn put(&self, to: &mut impl Sink) {
                $(self.$field.put(to);)*
            }
        }
    };
}
pub(crate) use record;

record! {
    /// Begins every message to the spawner and to the init.
    Header {
        /// [`MAGIC`](super::MAGIC).
        magic: u32,
        /// A `*_REQUEST` number.
        kind: u32,
        /// Bytes of the body, which follows, or lies in the last file
        /// descriptor.
        len: u32,
        /// 1 if the body lies in the last file descriptor.
        in_memfd: u32,
    }
}

/// Length of a [`Header`] on the wire.
pub const HEADER: usize = 16;

/// Host to spawner: [`Hello`]; file descriptors: reply socket, pidfd of the
/// host.
pub const HELLO_REQUEST: u32 = 1;
/// Host to spawner: [`Open`]; file descriptors: control socket of the init,
/// then the slots. With [`Open::ahead`], once more from the host to the init,
/// without descriptors.
pub const OPEN_REQUEST: u32 = 2;
/// Host to spawner: [`Close`]; at most one file descriptor: a socket for the
/// word that all is gone.
pub const CLOSE_REQUEST: u32 = 3;
/// Host to spawner: [`Job`]; file descriptors: reply socket, then the slots.
pub const JOB_REQUEST: u32 = 4;
/// Host to init: [`Run`]; file descriptors: status socket, stdin, stdout,
/// stderr, then extra ones.
pub const RUN_REQUEST: u32 = 5;
/// Host to init: [`Kill`].
pub const KILL_REQUEST: u32 = 6;

/// Host to init: [`Find`]; file descriptor: reply socket, for `STARTED` with a
/// pidfd, or `FAILED`.
pub const PIDFD_REQUEST: u32 = 9;

/// Host to spawner: [`Watch`]; no file descriptors and no reply.
pub const WATCH_REQUEST: u32 = 8;

record! {
    /// Names that the host will give to directories. The spawner removes them
    /// when it ends, even if the host died before it could say more.
    Watch<'a> {
        /// Beginning of these names; never empty.
        prefix: &'a CStr,
        /// Directories that will hold these names, absolute.
        parents: List<'a>,
        /// 0: cgroups; 1: trees, removed with all that is in them.
        trees: u32,
    }
}

record! {
    /// Greeting: the ids of the spawner.
    Hello {
        /// 0: stay in this one; 1: make a user namespace and wait for [`Hello`]
        /// again with 2, once the maps are written.
        stage: u32,
        /// 1 if `uid` and `gid` are to be mapped by the spawner itself, as the
        /// only ids.
        map_self: u32,
        /// The caller's user id.
        uid: u32,
        /// The caller's group id.
        gid: u32,
        /// The caller's effective capabilities: executing a program gives user
        /// 0 more than that.
        caps: u64,
    }
}

record! {
    /// A sandbox to be made.
    Open<'a> {
        /// Number of the sandbox, from the host.
        id: u64,
        /// Flags of clone(2) for new namespaces.
        namespaces: u64,
        /// 1: the init does these operations and then waits on the control
        /// socket for another such message with the rest. Of the latter only
        /// the slots, the operations and the fields behind them count.
        ahead: u32,
        /// 1: the init needs the empty mount namespace
        /// ([`Op::EnterEmptyNs`](super::Op::EnterEmptyNs)).
        empty_ns: u32,
        /// Slot of a cgroup v2 directory to be born in, or -1.
        cgroup: i32,
        /// `uid_map` to write, or empty.
        uid_map: &'a [u8],
        /// `gid_map` to write, or empty.
        gid_map: &'a [u8],
        /// Directories to rmdir(2) when the sandbox is gone, in order.
        cgroups: List<'a>,
        /// Directories to remove with all that is in them when the sandbox is
        /// gone.
        scratch: List<'a>,
        /// Slot of the lock that says that `scratch` is in use, or -1; kept
        /// until that is removed.
        lock: i32,
        /// Slot of the devpts mount that serves terminals, or -1.
        devpts: i32,
        /// Slot of the `/dev` mount, or -1.
        dev: i32,
        /// Slot of the proc mount, or -1.
        proc: i32,
        /// Slot of the stage, or -1. Kept open if the stage is detached,
        /// because the last close unmounts the stage, which takes long.
        stage: i32,
        /// [`Op`](super::Op)s, in order.
        ops: &'a [u8],
        /// Capabilities that the init keeps while serving.
        init_caps: u64,
        /// Restrictions of every command.
        confine: Confine<'a>,
    }
}

record! {
    /// Restrictions of every command of a sandbox.
    Confine<'a> {
        /// Effective and permitted capabilities of container root; inheritable
        /// and ambient stay empty.
        caps: u64,
        /// 1: no_new_privs.
        no_new_privs: u32,
        /// Instructions of the seccomp program; empty for no program.
        seccomp: &'a [u8],
        /// 1: process 1 can start commands from behind the program.
        seccomp_at_birth: u32,
        /// Resource limits: u32 resource, u64 soft, u64 hard, each.
        rlimits: &'a [u8],
        /// 1: setgroups(2) is denied by the user namespace and is left out.
        no_setgroups: u32,
        /// 1: only user and group 0 are mapped; every user id asked for must be
        /// 0.
        single_id: u32,
        /// `HOME=` and the home of user 0 in the place of that in
        /// `/etc/passwd`; empty to keep the latter.
        home: &'a CStr,
    }
}

record! {
    /// Operations without a sandbox, run by a child of the spawner where the
    /// spawner is.
    Job<'a> {
        /// Number of the job, from the host, for [`Close`]; 0 for no number.
        id: u64,
        /// [`Op`](super::Op)s, in order.
        ops: &'a [u8],
        /// Flags of clone(2).
        namespaces: u64,
    }
}

record! {
    /// A sandbox to be ended.
    Close {
        /// Number of the sandbox, from the host.
        id: u64,
    }
}

record! {
    /// A command to be started.
    Run<'a> {
        /// Number of the command, from the host.
        id: u64,
        /// `TTY` and the like.
        flags: u32,
        /// `USER[:GROUP]`, empty for 0:0; then a supplementary group in each
        /// following line.
        user: &'a CStr,
        /// Working directory.
        cwd: &'a CStr,
        /// Program and arguments.
        argv: List<'a>,
        /// `NAME=value`, each.
        env: List<'a>,
        /// Directories in which a program without a slash is looked for,
        /// separated by colons.
        path: &'a CStr,
        /// Numbers that the extra file descriptors get, u32 each.
        fds: &'a [u8],
        /// Milliseconds after which the command and all it started are killed;
        /// 0 for never.
        timeout_ms: u64,
        /// Rows and columns of the terminal.
        rows: u32,
        /// Columns of the terminal.
        columns: u32,
        /// Capabilities, at most the sandbox's own.
        caps: u64,
        /// Resource limits in place of [`Confine::rlimits`]; empty for those.
        rlimits: &'a [u8],
        /// File mode creation mask.
        umask: u32,
    }
}

/// [`Run`]: stdin, stdout and stderr are a new terminal, whose master is sent
/// back.
pub const TTY: u32 = 1;
/// [`Run`]: the environment has no `HOME`; add the user's.
pub const ADD_HOME: u32 = 2;
/// The device number of `/dev/null`, null(4).
pub const NULL: u64 = 1 << 8 | 3;
/// [`Run`], shifted by the number of a standard stream: the stream is
/// `/dev/null`, and sends no file descriptor.
pub const NULL_STREAM: u32 = 16;
/// [`Run`]: the first extra file descriptor is a cgroup v2 directory to be born
/// in.
pub const INTO_CGROUP: u32 = 4;
/// [`Run`]: a missing working directory is made, but below no mount.
pub const MAKE_CWD: u32 = 128;
/// [`Run`]: the host does not wait for the word of the start, and reads the
/// word of the end from a pipe.
pub const UNTOLD: u32 = 8;

record! {
    /// A signal for a command.
    Kill {
        /// The host's number for the command.
        id: u64,
        /// Signal number.
        signal: u32,
        /// [`TO_COMMAND`], [`TO_TREE`] or [`TO_GROUP`].
        tree: u32,
        /// Reason to be reported, a `BY_*` number.
        reason: u32,
    }
}

record! {
    /// A running command to be found.
    Find {
        /// The host's number for the command.
        id: u64,
    }
}

/// [`Kill`]: the command alone.
pub const TO_COMMAND: u32 = 0;
/// [`Kill`]: everything that the command started, too; for [`BY_OUTPUT`], also
/// once the command has ended.
pub const TO_TREE: u32 = 1;
/// [`Kill`]: the process group that the command leads.
pub const TO_GROUP: u32 = 2;

/// Replies to the host, on the socket that came with the request. `READY` and
/// `STARTED` bring a pidfd; `STARTED` with a terminal also the master.
pub const READY: u32 = 1;
/// Something failed; see [`Reply`].
pub const FAILED: u32 = 2;
/// The command runs.
pub const STARTED: u32 = 3;
/// The command ended.
pub const EXITED: u32 = 4;
/// All of the sandbox is gone.
pub const CLOSED: u32 = 5;

record! {
    /// A reply; `kind` decides on the fields that matter.
    Reply {
        /// `READY` and so on.
        kind: u32,
        /// Failed: one of the `AT_*` numbers. Exited: one of the `BY_*`
        /// numbers.
        place: u32,
        /// Failed: index of the operation. Exited: 1 if other processes may be
        /// left in the sandbox.
        index: u32,
        /// Failed: errno. Exited: exit code.
        code: i32,
        /// Exited: signal, or 0. Started, ready: pid in the namespace of the
        /// sender.
        signal: u32,
        /// Exited: 1 if a core was dumped.
        core: u32,
        /// Exited: nanoseconds from start to end.
        wall_ns: u64,
        /// Exited: microseconds of user time.
        user_us: u64,
        /// Exited: microseconds of system time.
        system_us: u64,
        /// Exited: largest resident set, KiB.
        max_rss_kib: u64,
        /// Exited: blocks of 512 bytes read.
        blocks_in: u64,
        /// Exited: blocks of 512 bytes written.
        blocks_out: u64,
    }
}

/// Length of a [`Reply`] on the wire.
pub const REPLY: usize = 72;

/// The command ended by exit(2), or by a signal that the host did not cause.
pub const BY_ITSELF: u32 = 0;
/// The time was up.
pub const BY_TIMEOUT: u32 = 1;
/// The command wrote more than is captured.
pub const BY_OUTPUT: u32 = 2;
/// The caller killed the command.
pub const BY_CALLER: u32 = 3;

/// An operation of a start failed; [`Reply::index`] counts.
pub const AT_OP: u32 = 0;
/// clone3(2).
pub const AT_CLONE: u32 = 1;
/// The message itself.
pub const AT_MESSAGE: u32 = 2;
/// Writing `uid_map` or `gid_map`.
pub const AT_ID_MAP: u32 = 3;
/// unshare(2) of the user namespace.
pub const AT_USER_NAMESPACE: u32 = 4;
/// Making the terminal.
pub const AT_TERMINAL: u32 = 5;
/// dup2(2) of the command's file descriptors.
pub const AT_FDS: u32 = 6;
/// setsid(2) or TIOCSCTTY.
pub const AT_SESSION: u32 = 7;
/// The working directory.
pub const AT_CWD: u32 = 8;
/// Looking the user up.
pub const AT_USER: u32 = 10;
/// setgroups(2), setresgid(2), setresuid(2).
pub const AT_SETUID: u32 = 11;
/// capset(2).
pub const AT_CAPS: u32 = 12;
/// PR_SET_NO_NEW_PRIVS.
pub const AT_NO_NEW_PRIVS: u32 = 13;
/// seccomp(2).
pub const AT_SECCOMP: u32 = 14;
/// execve(2).
pub const AT_EXEC: u32 = 15;
/// Getting as far as execve(2): something inside stood in the way for too long.
pub const AT_START: u32 = 16;
/// Work of a sandbox's process 1 before and after the operations.
pub const AT_INIT: u32 = 17;
/// Work of the spawner before the first request.
pub const AT_SPAWNER: u32 = 18;
/// Killing a sandbox's process 1.
pub const AT_KILL: u32 = 19;
/// Making the empty mount namespace.
pub const AT_EMPTY_NS: u32 = 20;
/// Comparing the sender of a request with the host, as the kernel names both.
pub const AT_AUTHORITY: u32 = 21;
/// A resource limit, whose number is added.
pub const AT_RLIMIT: u32 = 0x100;

impl Reply {
    /// Makes a reply with zeros in all other fields.
    pub fn new(kind: u32, place: u32, index: u32, code: i32) -> Self {
        Self {
            kind,
            place,
            index,
            code,
            ..Self::default()
        }
    }

    /// Returns the reply in the form of the wire; needs no allocator.
    pub fn to_bytes(self) -> [u8; REPLY] {
        let mut bytes = [0; REPLY];
        self.put(&mut &mut bytes[..]);
        bytes
    }
}
