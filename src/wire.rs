// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the host, the spawner and the init say to each other: flat records, no allocation to read them.
//!
//! This file is compiled twice: into the library, and into the helper program
//! (`cfg(tare_init)`), which has no standard library and no allocator. Strings
//! are sent with their NUL, so that the reader hands them to the kernel where they lie.
//! See `docs/design.md`, "What goes over the wire?".

use core::ffi::CStr;

/// First word of every message; changes whenever a record does.
pub(crate) const MAGIC: u32 = 0x7a5e_0001;

/// Bodies up to this size travel in the message, larger ones in a memfd.
pub(crate) const INLINE: usize = 64 << 10;

/// Most file descriptors in one message, SCM_RIGHTS' own bound (`SCM_MAX_FD`).
pub(crate) const MAX_FDS: usize = 253;

/// How many slots a list of operations has for file descriptors.
pub(crate) const SLOTS: usize = 320;

/// Reads records from a message body.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads from the beginning of `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether everything was read.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n)?;
        self.0 = tail;
        Some(head)
    }
}

/// A value that can be sent.
pub(crate) trait Field<'a>: Sized {
    /// Reads one, or `None` if the bytes end early or make no sense.
    fn get(from: &mut Reader<'a>) -> Option<Self>;

    /// Appends it.
    #[cfg(not(tare_init))]
    fn put(&self, to: &mut Vec<u8>);
}

macro_rules! number {
    ($($ty:ty),*) => {$(
        impl<'a> Field<'a> for $ty {
            fn get(from: &mut Reader<'a>) -> Option<Self> {
                let bytes = from.take(size_of::<$ty>())?;
                Some(<$ty>::from_ne_bytes(bytes.try_into().ok()?))
            }
            #[cfg(not(tare_init))]
            fn put(&self, to: &mut Vec<u8>) {
                to.extend_from_slice(&self.to_ne_bytes());
            }
        }
    )*};
}
number!(u32, i32, u64);

impl<'a> Field<'a> for &'a [u8] {
    fn get(from: &mut Reader<'a>) -> Option<Self> {
        let len = u32::get(from)?;
        from.take(len as usize)
    }

    #[cfg(not(tare_init))]
    fn put(&self, to: &mut Vec<u8>) {
        let len = u32::try_from(self.len()).expect("a message body is far below 4 GiB");
        len.put(to);
        to.extend_from_slice(self);
    }
}

impl<'a> Field<'a> for &'a CStr {
    fn get(from: &mut Reader<'a>) -> Option<Self> {
        CStr::from_bytes_with_nul(<&[u8]>::get(from)?).ok()
    }

    #[cfg(not(tare_init))]
    fn put(&self, to: &mut Vec<u8>) {
        self.to_bytes_with_nul().put(to);
    }
}

/// Any number of strings, one behind the other, each with its NUL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct List<'a>(&'a [u8]);

impl<'a> List<'a> {
    /// The strings in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a CStr> + use<'a> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let string = CStr::from_bytes_until_nul(rest).ok()?;
            rest = &rest[string.count_bytes() + 1..];
            Some(string)
        })
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The strings as they are sent, without the length before them.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.0
    }
}

impl<'a> Field<'a> for List<'a> {
    fn get(from: &mut Reader<'a>) -> Option<Self> {
        let bytes = <&[u8]>::get(from)?;
        matches!(bytes.last(), None | Some(0)).then_some(Self(bytes))
    }

    #[cfg(not(tare_init))]
    fn put(&self, to: &mut Vec<u8>) {
        self.0.put(to);
    }
}

/// The bytes behind a [`List`], to be built up.
#[cfg(not(tare_init))]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ListBuf(Vec<u8>);

#[cfg(not(tare_init))]
impl ListBuf {
    /// Appends one string.
    pub(crate) fn push(&mut self, string: &CStr) {
        self.0.extend_from_slice(string.to_bytes_with_nul());
    }

    /// The list so far.
    pub(crate) fn as_list(&self) -> List<'_> {
        List(&self.0)
    }
}

#[cfg(not(tare_init))]
impl<S: AsRef<CStr>> FromIterator<S> for ListBuf {
    fn from_iter<T: IntoIterator<Item = S>>(strings: T) -> Self {
        let mut list = Self::default();
        for string in strings {
            list.push(string.as_ref());
        }
        list
    }
}

/// Declares a record: its fields in the order they are sent.
macro_rules! record {
    ($(#[$doc:meta])* $name:ident $(<$life:lifetime>)? { $($(#[$fdoc:meta])* $field:ident: $ty:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq)]
        pub(crate) struct $name $(<$life>)? { $($(#[$fdoc])* pub(crate) $field: $ty,)* }

        impl<'a> Field<'a> for $name $(<$life>)? {
            fn get(from: &mut Reader<'a>) -> Option<Self> {
                Some(Self { $($field: Field::get(from)?,)* })
            }
            #[cfg(not(tare_init))]
            fn put(&self, to: &mut Vec<u8>) {
                $(self.$field.put(to);)*
            }
        }
    };
}

/// Declares the operations: number, name, fields.
macro_rules! ops {
    ($($(#[$doc:meta])* $code:literal $name:ident { $($(#[$fdoc:meta])* $field:ident: $ty:ty,)* })*) => {
        /// One step of a start, run in order by the init; slots hold file descriptors.
        #[derive(Debug, Clone, Copy, PartialEq)]
        pub(crate) enum Op<'a> { $($(#[$doc])* $name { $($(#[$fdoc])* $field: $ty,)* },)* }

        impl<'a> Field<'a> for Op<'a> {
            fn get(from: &mut Reader<'a>) -> Option<Self> {
                match u32::get(from)? {
                    $($code => Some(Self::$name { $($field: Field::get(from)?,)* }),)*
                    _ => None,
                }
            }
            #[cfg(not(tare_init))]
            fn put(&self, to: &mut Vec<u8>) {
                match self {
                    $(Self::$name { $($field,)* } => {
                        let code: u32 = $code;
                        code.put(to);
                        $($field.put(to);)*
                    })*
                }
            }
        }
    };
}

ops! {
    /// Writes `0` to a `tasks` file of cgroup v1: the caller joins without the lock that a pid takes.
    1 EnterCgroup { file: u32, }
    /// unshare(2).
    2 Unshare { flags: u32, }
    /// setns(2).
    3 Setns { file: u32, flags: u32, }
    /// Makes every mount private, so that nothing crosses in either direction.
    4 MakePrivate { }
    /// sethostname(2).
    5 SetHostname { name: &'a CStr, }
    /// Brings the loopback interface up.
    6 LoopbackUp { }
    /// Joins a new session keyring, so that the caller's keys are out of reach.
    7 NewKeyring { }
    /// A new instance of a file system, not attached yet; options are key and value in turn, an empty value for a flag.
    8 NewFs { into: u32, kind: &'a CStr, options: List<'a>, attrs: u32, }
    /// A clone of the mount at a path of the host (`base` -1) or inside a slot's tree.
    9 CloneTree { into: u32, base: i32, path: &'a CStr, flags: u32, }
    /// An overlay, not attached yet; upper and work are below the slot `stage`, which must be attached, or absolute.
    10 NewOverlay { into: u32, stage: u32, lowers: List<'a>, upper: &'a CStr, work: &'a CStr, options: List<'a>, attrs: u32, flags: u32, }
    /// Attaches a slot's mount on top of the process's root.
    11 AttachRoot { from: u32, }
    /// Attaches a slot's mount inside another's tree, making the target if flags say so.
    12 Attach { from: u32, root: u32, path: &'a CStr, flags: u32, }
    /// mount_setattr(2) on an attached slot.
    13 SetAttr { slot: u32, set: u32, clear: u32, flags: u32, }
    /// mkdir(2) inside a slot's tree; an existing directory is fine.
    14 MakeDir { root: u32, path: &'a CStr, mode: u32, uid: u32, gid: u32, }
    /// symlink(2) inside a slot's tree.
    15 MakeLink { root: u32, path: &'a CStr, target: &'a CStr, }
    /// mknod(2) inside a slot's tree.
    16 MakeNode { root: u32, path: &'a CStr, mode: u32, device: u64, }
    /// Creates a file with these bytes inside a slot's tree; an existing one is an error.
    17 MakeFile { root: u32, path: &'a CStr, mode: u32, bytes: &'a [u8], }
    /// Hides a path: `null` of the tree `dev` over a file, `empty` of the tree `stage` over a directory; nothing where nothing is.
    18 Mask { root: u32, path: &'a CStr, dev: u32, stage: u32, }
    /// Makes a path read-only, with all below it; nothing where nothing is.
    19 MakeReadOnly { root: u32, path: &'a CStr, }
    /// Makes a slot's tree the root and lets the old one go.
    20 PivotRoot { slot: u32, }
    /// Drops from the bounding set what is not in `keep`.
    21 DropBounding { keep: u64, }
    /// Writes bytes to an existing file of a slot's tree, without crossing into another mount.
    22 WriteFile { root: u32, path: &'a CStr, bytes: &'a [u8], }
    /// Closes a slot.
    23 CloseSlot { slot: u32, }
    /// Changes owner, then mode, then the file capability (if any) of an entry, following nothing.
    24 Chown { root: u32, path: &'a CStr, uid: u32, gid: u32, mode: u32, capability: &'a [u8], }
    /// Removes a directory with all that is in it; nothing where nothing is.
    25 RemoveTree { root: u32, path: &'a CStr, }
    /// Copies a directory's content, with owners, modes, times and xattrs, into an existing one.
    26 CopyTree { from: u32, to: u32, }
    /// Detaches an attached slot's mount.
    28 Detach { slot: u32, }
    /// Opens a directory of the caller's view by path.
    27 OpenDir { into: u32, path: &'a CStr, }
}

/// [`Op::Attach`]: make a missing target a directory.
pub(crate) const MAKE_DIR: u32 = 1;
/// [`Op::Attach`]: make a missing target an empty file.
pub(crate) const MAKE_FILE: u32 = 2;
/// [`Op::Attach`]: no component of the target may be a symbolic link.
pub(crate) const NO_SYMLINKS: u32 = 4;
/// [`Op::Attach`]: a missing target is no error, the mount is left out.
pub(crate) const IF_PRESENT: u32 = 8;
/// [`Op::Attach`]: whatever stands in the way, the mount is left out; only for what restricts nothing.
pub(crate) const OR_SKIP: u32 = 16;
/// [`Op::NewOverlay`]: the mount belongs to a user namespace.
pub(crate) const USERXATTR: u32 = 1;

record! {
    /// Begins every message to the spawner and to the init.
    Header {
        /// [`MAGIC`].
        magic: u32,
        /// One of the `*_REQUEST` numbers.
        kind: u32,
        /// Bytes of the body, which follows, or lies in the last file descriptor.
        len: u32,
        /// 1 if the body lies in the last file descriptor.
        in_memfd: u32,
    }
}

/// Length of a [`Header`] on the wire.
pub(crate) const HEADER: usize = 16;

/// Host to spawner: [`Hello`]; file descriptors: reply socket, pidfd of the host.
pub(crate) const HELLO_REQUEST: u32 = 1;
/// Host to spawner: [`Open`]; file descriptors: control socket of the init, then the slots.
pub(crate) const OPEN_REQUEST: u32 = 2;
/// Host to spawner: [`Close`]; file descriptors: none, or a socket that is told when all is gone.
pub(crate) const CLOSE_REQUEST: u32 = 3;
/// Host to spawner: [`Job`]; file descriptors: reply socket, then the slots.
pub(crate) const JOB_REQUEST: u32 = 4;
/// Host to init: [`Run`]; file descriptors: status socket, stdin, stdout, stderr, then extra ones.
pub(crate) const RUN_REQUEST: u32 = 5;
/// Host to init: [`Kill`].
pub(crate) const KILL_REQUEST: u32 = 6;

record! {
    /// How the spawner begins.
    Hello {
        /// 0: stay as it is; 1: make a user namespace and wait for [`Hello`] again with 2, once the maps are written.
        stage: u32,
        /// 1 if `uid` and `gid` are to be mapped by the spawner itself, as the only ids.
        map_self: u32,
        /// The caller's user id.
        uid: u32,
        /// The caller's group id.
        gid: u32,
    }
}

record! {
    /// A sandbox to be made.
    Open<'a> {
        /// The host's number for it.
        id: u64,
        /// Flags of clone(2): which namespaces.
        namespaces: u64,
        /// Slot of a cgroup v2 directory to be born in, or -1.
        cgroup: i32,
        /// `uid_map` to write, or nothing.
        uid_map: &'a [u8],
        /// `gid_map` to write, or nothing.
        gid_map: &'a [u8],
        /// Directories to rmdir(2) when the sandbox is gone, in order.
        cgroups: List<'a>,
        /// Directories to remove with all that is in them when the sandbox is gone.
        scratch: List<'a>,
        /// Slot of the devpts mount that serves terminals, or -1.
        devpts: i32,
        /// Slot of the `/dev` mount, or -1.
        dev: i32,
        /// Slot of the proc mount, or -1.
        proc: i32,
        /// [`Op`]s, in order.
        ops: &'a [u8],
        /// What holds for every command.
        confine: Confine<'a>,
    }
}

record! {
    /// What holds for every command of a sandbox.
    Confine<'a> {
        /// Effective and permitted capabilities of container root; inheritable and ambient stay empty.
        caps: u64,
        /// 1: no_new_privs.
        no_new_privs: u32,
        /// Seccomp programs, attached in order: u32 number of instructions, then the instructions.
        seccomp: &'a [u8],
        /// Resource limits: u32 resource, u64 soft, u64 hard, each.
        rlimits: &'a [u8],
        /// 1: setgroups(2) is denied by the user namespace and is left out.
        no_setgroups: u32,
        /// 1: only user and group 0 are mapped; every user id asked for must be 0.
        single_id: u32,
    }
}

record! {
    /// Operations without a sandbox, run by a child of the spawner where the spawner is.
    Job<'a> {
        /// [`Op`]s, in order.
        ops: &'a [u8],
        /// Flags of clone(2).
        namespaces: u64,
    }
}

record! {
    /// A sandbox to be ended.
    Close {
        /// The host's number for it.
        id: u64,
    }
}

record! {
    /// A command to be started.
    Run<'a> {
        /// The host's number for it.
        id: u64,
        /// `TTY` and the like.
        flags: u32,
        /// `USER[:GROUP]`; empty for 0:0.
        user: &'a CStr,
        /// Working directory; made if it is missing.
        cwd: &'a CStr,
        /// Program and arguments.
        argv: List<'a>,
        /// `NAME=value`, each.
        env: List<'a>,
        /// Directories in which a program without a slash is looked for, separated by colons.
        path: &'a CStr,
        /// Numbers that the extra file descriptors get, u32 each.
        fds: &'a [u8],
        /// Milliseconds after which the command and all it started are killed; 0 for never.
        timeout_ms: u64,
        /// Rows and columns of the terminal.
        rows: u32,
        /// Columns of the terminal.
        columns: u32,
        /// Capabilities, at most the sandbox's own.
        caps: u64,
    }
}

/// [`Run`]: stdin, stdout and stderr are a new terminal, whose master is sent back.
pub(crate) const TTY: u32 = 1;
/// [`Run`]: the environment has no `HOME`; add the one of the user.
pub(crate) const ADD_HOME: u32 = 2;
/// [`Run`]: the first extra file descriptor is a cgroup v2 directory to be born in.
pub(crate) const INTO_CGROUP: u32 = 4;

record! {
    /// A signal for a command.
    Kill {
        /// The host's number for the command.
        id: u64,
        /// Signal number.
        signal: u32,
        /// 1: everything that the command started, too.
        tree: u32,
        /// Reason to be reported, one of the `BY_*` numbers.
        reason: u32,
    }
}

/// Replies to the host, on the socket that came with the request.
/// `READY` and `STARTED` bring a pidfd; `STARTED` with a terminal also its master.
pub(crate) const READY: u32 = 1;
/// Something failed; see [`Reply`].
pub(crate) const FAILED: u32 = 2;
/// The command runs.
pub(crate) const STARTED: u32 = 3;
/// The command ended.
pub(crate) const EXITED: u32 = 4;
/// All of the sandbox is gone.
pub(crate) const CLOSED: u32 = 5;

record! {
    /// What comes back; which fields matter depends on `kind`.
    Reply {
        /// `READY` and so on.
        kind: u32,
        /// Failed: one of the `AT_*` numbers. Exited: one of the `BY_*` numbers.
        place: u32,
        /// Failed: index of the operation.
        index: u32,
        /// Failed: errno. Exited: exit code.
        code: i32,
        /// Exited: signal, 0 if none. Started, ready: pid as the sender sees it.
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
pub(crate) const REPLY: usize = 72;

/// The command ended by itself, or by a signal of its own making.
pub(crate) const BY_ITSELF: u32 = 0;
/// Its time was up.
pub(crate) const BY_TIMEOUT: u32 = 1;
/// It wrote more than is captured.
pub(crate) const BY_OUTPUT: u32 = 2;
/// The caller killed it.
pub(crate) const BY_CALLER: u32 = 3;

/// Where a start or a command failed, beside the operations.
pub(crate) const AT_OP: u32 = 0;
/// clone3(2).
pub(crate) const AT_CLONE: u32 = 1;
/// The message itself.
pub(crate) const AT_MESSAGE: u32 = 2;
/// Writing `uid_map` or `gid_map`.
pub(crate) const AT_ID_MAP: u32 = 3;
/// unshare(2) of the user namespace.
pub(crate) const AT_USER_NAMESPACE: u32 = 4;
/// Making the terminal.
pub(crate) const AT_TERMINAL: u32 = 5;
/// dup2(2) of the command's file descriptors.
pub(crate) const AT_FDS: u32 = 6;
/// setsid(2) or TIOCSCTTY.
pub(crate) const AT_SESSION: u32 = 7;
/// The working directory.
pub(crate) const AT_CWD: u32 = 8;
/// A resource limit.
pub(crate) const AT_RLIMIT: u32 = 9;
/// Looking the user up.
pub(crate) const AT_USER: u32 = 10;
/// setgroups(2), setresgid(2), setresuid(2).
pub(crate) const AT_SETUID: u32 = 11;
/// capset(2).
pub(crate) const AT_CAPS: u32 = 12;
/// PR_SET_NO_NEW_PRIVS.
pub(crate) const AT_NO_NEW_PRIVS: u32 = 13;
/// seccomp(2).
pub(crate) const AT_SECCOMP: u32 = 14;
/// execve(2).
pub(crate) const AT_EXEC: u32 = 15;

impl Reply {
    /// All fields zero but these.
    pub(crate) const fn new(kind: u32, place: u32, index: u32, code: i32) -> Self {
        Self {
            kind,
            place,
            index,
            code,
            signal: 0,
            core: 0,
            wall_ns: 0,
            user_us: 0,
            system_us: 0,
            max_rss_kib: 0,
            blocks_in: 0,
            blocks_out: 0,
        }
    }
}

/// Writes numbers one behind the other; the reply's counterpart of [`Reader`].
struct Fixed<const N: usize> {
    bytes: [u8; N],
    at: usize,
}

impl<const N: usize> Fixed<N> {
    fn add(&mut self, bytes: &[u8]) {
        let end = self.at + bytes.len();
        if let Some(place) = self.bytes.get_mut(self.at..end) {
            place.copy_from_slice(bytes);
        }
        self.at = end;
    }
}

impl Reply {
    /// The reply as it is sent; needs no allocator.
    pub(crate) fn to_bytes(self) -> [u8; REPLY] {
        let mut out = Fixed::<REPLY> {
            bytes: [0; REPLY],
            at: 0,
        };
        for word in [
            self.kind,
            self.place,
            self.index,
            self.code as u32,
            self.signal,
            self.core,
        ] {
            out.add(&word.to_ne_bytes());
        }
        for long in [
            self.wall_ns,
            self.user_us,
            self.system_us,
            self.max_rss_kib,
            self.blocks_in,
            self.blocks_out,
        ] {
            out.add(&long.to_ne_bytes());
        }
        out.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_op_is_read_as_it_was_put() {
        let lowers: ListBuf = [c"/a", c"/b,c:d"].into_iter().collect();
        let none = ListBuf::default();
        let op = Op::NewOverlay {
            into: 3,
            stage: 1,
            lowers: lowers.as_list(),
            upper: c"u",
            work: c"w",
            options: none.as_list(),
            attrs: 7,
            flags: USERXATTR,
        };
        let mut bytes = Vec::new();
        op.put(&mut bytes);
        Op::MakePrivate {}.put(&mut bytes);
        let mut reader = Reader::new(&bytes);
        assert_eq!(Op::get(&mut reader), Some(op));
        assert_eq!(Op::get(&mut reader), Some(Op::MakePrivate {}));
        assert!(reader.is_empty());
        assert_eq!(lowers.as_list().iter().count(), 2);
    }

    #[test]
    fn wire_cut_bytes_are_refused_everywhere() {
        let mut bytes = Vec::new();
        Op::MakeLink {
            root: 1,
            path: c"a",
            target: c"b",
        }
        .put(&mut bytes);
        for cut in 0..bytes.len() {
            assert_eq!(Op::get(&mut Reader::new(&bytes[..cut])), None, "{cut}");
        }
    }

    #[test]
    fn wire_sizes_are_as_declared() {
        let mut bytes = Vec::new();
        Reply::new(READY, 0, 0, 0).put(&mut bytes);
        assert_eq!(bytes, Reply::new(READY, 0, 0, 0).to_bytes());
        bytes.clear();
        Header {
            magic: MAGIC,
            kind: 1,
            len: 0,
            in_memfd: 0,
        }
        .put(&mut bytes);
        assert_eq!(bytes.len(), HEADER);
    }
}
