// SPDX-License-Identifier: MIT OR Apache-2.0
//! Raw system calls for the helper program: numbers, structures, one wrapper each.
//!
//! Nothing here may assume more than that its pointers come from Rust references.

use core::arch::asm;
use core::ffi::CStr;
use core::mem::ManuallyDrop;

/// The number of an error, errno(3).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) i32);

pub(crate) type Result<T> = core::result::Result<T, Errno>;

impl Errno {
    pub(crate) const PERM: Self = Self(1);
    pub(crate) const NOENT: Self = Self(2);
    pub(crate) const SRCH: Self = Self(3);
    pub(crate) const INTR: Self = Self(4);
    pub(crate) const IO: Self = Self(5);
    pub(crate) const TOOBIG: Self = Self(7);
    pub(crate) const BADF: Self = Self(9);
    pub(crate) const AGAIN: Self = Self(11);
    pub(crate) const ACCES: Self = Self(13);
    pub(crate) const EXIST: Self = Self(17);
    pub(crate) const XDEV: Self = Self(18);
    pub(crate) const NOTDIR: Self = Self(20);
    pub(crate) const INVAL: Self = Self(22);
    pub(crate) const MFILE: Self = Self(24);
    pub(crate) const NOSYS: Self = Self(38);
    pub(crate) const LOOP: Self = Self(40);
    pub(crate) const NOTEMPTY: Self = Self(39);
    pub(crate) const PROTO: Self = Self(71);
    pub(crate) const NOTSOCK: Self = Self(88);
    pub(crate) const NOTSUP: Self = Self(95);
    pub(crate) const TIMEDOUT: Self = Self(110);

    /// Whether it speaks of the machine's state, not of what the call was asked to do:
    /// EIO, ENOMEM, ENFILE, EMFILE, ENOSPC, EDQUOT.
    pub(crate) fn is_of_machine(self) -> bool {
        matches!(self.0, 5 | 12 | 23 | 24 | 28 | 122)
    }
}

/// One system call.
///
/// # Safety
/// The arguments must be what the kernel expects for `nr`: every pointer valid for
/// what that call reads or writes.
#[inline]
pub(crate) unsafe fn call(nr: usize, a: [usize; 6]) -> Result<usize> {
    let ret: isize;
    // SAFETY: the caller vouches for the arguments; the kernel clobbers rcx and r11 only.
    unsafe {
        asm!("syscall", inlateout("rax") nr as isize => ret, in("rdi") a[0], in("rsi") a[1], in("rdx") a[2],
             in("r10") a[3], in("r8") a[4], in("r9") a[5], lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    match ret {
        -4095..=-1 => Err(Errno(-ret as i32)),
        _ => Ok(ret as usize),
    }
}

/// A system call whose arguments are numbers, or pointers taken from references that live through it.
macro_rules! sys {
    ($nr:expr $(, $arg:expr)* $(,)?) => {{
        // A match, not a let: what the arguments point to lives until its end, even if it has no name.
        match &[$($arg as usize),*] as &[usize] {
            given => {
                let mut args = [0usize; 6];
                args[..given.len()].copy_from_slice(given);
                // SAFETY: each argument is a number or comes from a reference that outlives the call.
                unsafe { $crate::sys::call($nr, args) }
            }
        }
    }};
}
pub(crate) use sys;

/// System call numbers of x86-64.
pub(crate) mod nr {
    macro_rules! numbers { ($($name:ident $n:literal)*) => { $(pub(crate) const $name: usize = $n;)* } }
    numbers! {
        READ 0 WRITE 1 CLOSE 3 MMAP 9 MUNMAP 11 RT_SIGACTION 13 RT_SIGPROCMASK 14 IOCTL 16
        MADVISE 28 DUP2 33 NANOSLEEP 35 GETPID 39 SOCKET 41 SENDMSG 46 RECVMSG 47 CLONE 56 EXECVE 59 EXIT 60 WAIT4 61 KILL 62
        FCNTL 72 CHDIR 80 FCHDIR 81 FCHMOD 91 FCHOWN 93 UMASK 95 SETSID 112 SETGROUPS 116 SETRESUID 117 SETRESGID 119 CAPGET 125 CAPSET 126
        PIVOT_ROOT 155 PRCTL 157 CHROOT 161 FUTEX 202 MOUNT 165 UMOUNT2 166 SETHOSTNAME 170 SETXATTR 188
        FSTATFS 138 GETDENTS64 217 CLOCK_GETTIME 228 EXIT_GROUP 231 KEYCTL 250 OPENAT 257 MKDIRAT 258 MKNODAT 259
        FCHOWNAT 260 NEWFSTATAT 262 UNLINKAT 263  SYMLINKAT 266 READLINKAT 267 FCHMODAT 268 PPOLL 271 UNSHARE 272
        UTIMENSAT 280 SIGNALFD4 289 DUP3 292 PIPE2 293 PRLIMIT64 302 SETNS 308 SECCOMP 317 COPY_FILE_RANGE 326 STATX 332 OPEN_TREE 428 MOVE_MOUNT 429 FSOPEN 430
        FSCONFIG 431 FSMOUNT 432 PIDFD_OPEN 434 CLONE3 435 CLOSE_RANGE 436 OPENAT2 437 MOUNT_SETATTR 442
    }
}

pub(crate) const AT_FDCWD: i32 = -100;
pub(crate) const AT_SYMLINK_NOFOLLOW: u32 = 0x100;
pub(crate) const AT_REMOVEDIR: u32 = 0x200;
pub(crate) const AT_EMPTY_PATH: u32 = 0x1000;
pub(crate) const AT_RECURSIVE: u32 = 0x8000;

pub(crate) const O_RDONLY: u32 = 0;
pub(crate) const O_WRONLY: u32 = 1;
pub(crate) const O_RDWR: u32 = 2;
pub(crate) const O_CREAT: u32 = 0o100;
pub(crate) const O_EXCL: u32 = 0o200;
pub(crate) const O_NOCTTY: u32 = 0o400;
pub(crate) const O_NONBLOCK: u32 = 0o4000;
pub(crate) const O_DIRECTORY: u32 = 0o200000;
pub(crate) const O_NOFOLLOW: u32 = 0o400000;
pub(crate) const O_CLOEXEC: u32 = 0o2000000;
pub(crate) const O_PATH: u32 = 0o10000000;

/// A file descriptor that is closed when it goes out of scope.
pub(crate) struct Fd(pub(crate) i32);

impl Drop for Fd {
    fn drop(&mut self) {
        close(self.0);
    }
}

impl Fd {
    /// Keeps it open; the caller owns the number from now on.
    pub(crate) fn keep(self) -> i32 {
        ManuallyDrop::new(self).0
    }
}

pub(crate) fn close(fd: i32) {
    // A descriptor is gone even when close(2) reports an error.
    let _ = sys!(nr::CLOSE, fd);
}

/// A copy of a descriptor with a number of at least `from`, close-on-exec.
pub(crate) fn duplicate(fd: i32, from: i32) -> Result<Fd> {
    const F_DUPFD_CLOEXEC: usize = 1030;
    match sys!(nr::FCNTL, fd, F_DUPFD_CLOEXEC, from) {
        // `from` is above RLIMIT_NOFILE.
        Err(Errno::INVAL) => Err(Errno::MFILE),
        done => done.map(|fd| Fd(fd as i32)),
    }
}

/// RLIMIT_NOFILE.
pub(crate) const FILES: u32 = 7;

/// Lifts the limit of descriptors to what is allowed at all; soft and hard limit as they were.
/// The caller may have set it for its own needs, which are not those of this program.
pub(crate) fn lift_files() -> Result<[u64; 2]> {
    let mut old = [0u64; 2];
    sys!(nr::PRLIMIT64, 0, FILES, 0, old.as_mut_ptr())?;
    let new = [old[1], old[1]];
    sys!(nr::PRLIMIT64, 0, FILES, new.as_ptr(), 0)?;
    Ok(old)
}

/// Takes [`lift_files`] back.
pub(crate) fn restore_files(old: &[u64; 2]) -> Result<()> {
    sys!(nr::PRLIMIT64, 0, FILES, old.as_ptr(), 0).map(drop)
}

/// openat2(2)'s `struct open_how`.
#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

pub(crate) const RESOLVE_NO_XDEV: u64 = 0x01;
pub(crate) const RESOLVE_NO_MAGICLINKS: u64 = 0x02;
pub(crate) const RESOLVE_NO_SYMLINKS: u64 = 0x04;
pub(crate) const RESOLVE_BENEATH: u64 = 0x08;
pub(crate) const RESOLVE_IN_ROOT: u64 = 0x10;

pub(crate) fn openat2(dir: i32, path: &CStr, flags: u32, mode: u32, resolve: u64) -> Result<Fd> {
    let how = OpenHow {
        flags: u64::from(flags | O_CLOEXEC),
        mode: u64::from(mode),
        resolve,
    };
    for _ in 0..1000 {
        match sys!(
            nr::OPENAT2,
            dir,
            path.as_ptr(),
            &raw const how,
            size_of::<OpenHow>()
        ) {
            // A rename raced with the walk; the kernel asks to try again.
            Err(Errno::AGAIN) => {}
            other => return other.map(|fd| Fd(fd as i32)),
        }
    }
    // Somebody renames without end.
    Err(Errno::AGAIN)
}

pub(crate) fn openat(dir: i32, path: &CStr, flags: u32, mode: u32) -> Result<Fd> {
    sys!(nr::OPENAT, dir, path.as_ptr(), flags | O_CLOEXEC, mode).map(|fd| Fd(fd as i32))
}

/// `struct stat` of x86-64, as far as it is used.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Stat {
    pub(crate) dev: u64,
    pub(crate) ino: u64,
    pub(crate) nlink: u64,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    _pad: u32,
    pub(crate) rdev: u64,
    pub(crate) size: i64,
    _blksize: i64,
    pub(crate) blocks: i64,
    pub(crate) times: [i64; 6],
    _unused: [i64; 3],
}

pub(crate) const S_IFMT: u32 = 0o170000;
pub(crate) const S_IFDIR: u32 = 0o040000;
pub(crate) const S_IFCHR: u32 = 0o020000;
pub(crate) const S_IFREG: u32 = 0o100000;
pub(crate) const S_IFLNK: u32 = 0o120000;

impl Stat {
    pub(crate) fn is(&self, kind: u32) -> bool {
        self.mode & S_IFMT == kind
    }
}

/// fstatat(2); with an empty path, of `dir` itself.
pub(crate) fn fstatat(dir: i32, path: &CStr) -> Result<Stat> {
    stat_with(dir, path, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)
}

/// What a path leads to, through whatever links.
pub(crate) fn stat(dir: i32, path: &CStr) -> Result<Stat> {
    stat_with(dir, path, 0)
}

fn stat_with(dir: i32, path: &CStr, flags: u32) -> Result<Stat> {
    // SAFETY: all-zero bytes are a valid `Stat`, which holds only integers.
    let mut stat: Stat = unsafe { core::mem::zeroed() };
    sys!(nr::NEWFSTATAT, dir, path.as_ptr(), &raw mut stat, flags)?;
    Ok(stat)
}

pub(crate) fn read(fd: i32, into: &mut [u8]) -> Result<usize> {
    loop {
        match sys!(nr::READ, fd, into.as_mut_ptr(), into.len()) {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

/// One write(2) of everything; a short one is an error.
pub(crate) fn write(fd: i32, bytes: &[u8]) -> Result<()> {
    match sys!(nr::WRITE, fd, bytes.as_ptr(), bytes.len())? {
        n if n == bytes.len() => Ok(()),
        _ => Err(Errno::IO),
    }
}

pub(crate) const SIGKILL: u32 = 9;
pub(crate) const SIGSTOP: u32 = 19;
pub(crate) const SIGCHLD: u32 = 17;

pub(crate) fn kill(pid: i32, signal: u32) -> Result<()> {
    sys!(nr::KILL, pid, signal).map(drop)
}

/// Blocks every signal, or none.
pub(crate) fn block_signals(all: bool) {
    let set: u64 = if all { !0 } else { 0 };
    // SIG_SETMASK of a valid set cannot fail.
    let _ = sys!(nr::RT_SIGPROCMASK, 2, &raw const set, 0, 8);
}

/// SIG_IGN.
const IGNORE: u64 = 1;

/// Puts every signal back to its default action, because ignored ones survive
/// an exec; returns those that were ignored, signal 1 as bit 0.
pub(crate) fn default_signals() -> u64 {
    let default = [0u64; 4];
    let mut ignored = 0;
    for signal in 1..=64 {
        let mut old = [0u64; 4];
        // KILL and STOP cannot be set and need not be.
        let _ = sys!(
            nr::RT_SIGACTION,
            signal,
            default.as_ptr(),
            old.as_mut_ptr(),
            8
        );
        if old[0] == IGNORE {
            ignored |= 1 << (signal - 1);
        }
    }
    ignored
}

/// Ignores these signals, as [`default_signals`] returns them.
pub(crate) fn ignore_signals(mut set: u64) {
    let ignore = [IGNORE, 0, 0, 0];
    while set != 0 {
        // The set has what could be ignored before.
        let _ = sys!(
            nr::RT_SIGACTION,
            set.trailing_zeros() + 1,
            ignore.as_ptr(),
            0,
            8
        );
        set &= set - 1;
    }
}

pub(crate) fn signalfd_child() -> Result<Fd> {
    let set: u64 = 1 << (SIGCHLD - 1);
    sys!(
        nr::SIGNALFD4,
        -1i32,
        &raw const set,
        8,
        O_CLOEXEC | O_NONBLOCK
    )
    .map(|fd| Fd(fd as i32))
}

/// poll(2)'s entry; waits for input.
#[repr(C)]
pub(crate) struct PollFd {
    pub(crate) fd: i32,
    events: i16,
    pub(crate) revents: i16,
}

impl PollFd {
    pub(crate) fn input(fd: i32) -> Self {
        Self {
            fd,
            events: 1,
            revents: 0,
        }
    }
}

/// Waits for input, for as long as it takes; who sees none may have been interrupted. Where an outer filter refuses to
/// wait there is nothing that this process could do but spin, so it ends.
pub(crate) fn await_input(fds: &mut [PollFd], timeout_ns: Option<u64>) {
    match poll(fds, timeout_ns) {
        Err(errno) if errno != Errno::INTR && !errno.is_of_machine() => exit(errno.0),
        _ => {}
    }
}

/// ppoll(2); `None` waits for ever.
pub(crate) fn poll(fds: &mut [PollFd], timeout_ns: Option<u64>) -> Result<usize> {
    let spec = timeout_ns.map(|ns| [ns / 1_000_000_000, ns % 1_000_000_000]);
    let at = spec.as_ref().map_or(0, |s| s.as_ptr() as usize);
    sys!(nr::PPOLL, fds.as_mut_ptr(), fds.len(), at, 0, 8)
}

/// CLOCK_BOOTTIME.
pub(crate) fn now_ns() -> u64 {
    let time = clock(7);
    time[0] * 1_000_000_000 + time[1]
}

/// Seconds of the clock that files are stamped with.
pub(crate) fn realtime_s() -> u64 {
    // CLOCK_REALTIME
    clock(0)[0]
}

fn clock(id: u32) -> [u64; 2] {
    let mut time = [0u64; 2];
    // These clocks are always there.
    let _ = sys!(nr::CLOCK_GETTIME, id, time.as_mut_ptr());
    time
}

pub(crate) fn sleep_us(us: u64) {
    let time = [us / 1_000_000, us % 1_000_000 * 1000];
    // Waking early is harmless: every caller is in a loop.
    let _ = sys!(nr::NANOSLEEP, time.as_ptr(), 0);
}

pub(crate) fn exit(code: i32) -> ! {
    loop {
        // exit_group does not return.
        let _ = sys!(nr::EXIT_GROUP, code);
    }
}

pub(crate) fn prctl(option: usize, a: usize, b: usize) -> Result<usize> {
    sys!(nr::PRCTL, option, a, b, 0, 0)
}

/// Sets the name that `ps` shows.
pub(crate) fn set_name(name: &CStr) {
    // PR_SET_NAME of a readable string cannot fail.
    let _ = prctl(15, name.as_ptr() as usize, 0);
}

/// capset(2) for the caller: keeps of what it has only what is in `bits`.
pub(crate) fn keep_caps(bits: u64) -> Result<()> {
    let header = [0x2008_0522u32, 0];
    // Effective, permitted, inheritable; then the same of the upper half.
    let mut has = [0u32; 6];
    sys!(nr::CAPGET, header.as_ptr(), has.as_mut_ptr())?;
    capset(bits & (u64::from(has[4]) << 32 | u64::from(has[1])), 0)
}

/// capset(2) for the caller: gives up what is not in `bits`, for good. Nothing
/// is asked for where that is nothing.
pub(crate) fn drop_caps_beyond(bits: u64) -> Result<()> {
    let header = [0x2008_0522u32, 0];
    // As in `keep_caps`.
    let mut has = [0u32; 6];
    sys!(nr::CAPGET, header.as_ptr(), has.as_mut_ptr())?;
    let set = |n: usize| u64::from(has[n + 3]) << 32 | u64::from(has[n]);
    let (permitted, inheritable) = (set(1), set(2));
    if permitted & !bits == 0 {
        return Ok(());
    }
    capset(permitted & bits, inheritable & bits)
}

/// capset(2) for the caller: effective and permitted, then inheritable.
pub(crate) fn capset(bits: u64, inheritable: u64) -> Result<()> {
    // _LINUX_CAPABILITY_VERSION_3
    let header = [0x2008_0522u32, 0];
    let (low, high) = (bits as u32, (bits >> 32) as u32);
    let (low_inherit, high_inherit) = (inheritable as u32, (inheritable >> 32) as u32);
    let data = [low, low, low_inherit, high, high, high_inherit];
    sys!(nr::CAPSET, header.as_ptr(), data.as_ptr()).map(drop)
}
