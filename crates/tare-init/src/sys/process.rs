// SPDX-License-Identifier: MIT OR Apache-2.0
//! Processes and threads: making, waiting, ending, executing, filtering.

use core::arch::asm;
use core::ffi::CStr;

use super::{Errno, Result, SIGCHLD, calls, nr, syscall};

pub(crate) const CLONE_VM: u64 = 0x100;
pub(crate) const CLONE_FS: u64 = 0x200;
pub(crate) const CLONE_FILES: u64 = 0x400;
pub(crate) const CLONE_SIGHAND: u64 = 0x800;
pub(crate) const CLONE_PIDFD: u64 = 0x1000;
pub(crate) const CLONE_THREAD: u64 = 0x1_0000;
pub(crate) const CLONE_SYSVSEM: u64 = 0x4_0000;
pub(crate) const CLONE_CHILD_CLEARTID: u64 = 0x20_0000;
pub(crate) const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// clone3(2)'s `struct clone_args`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct CloneArgs {
    pub(crate) flags: u64,
    pub(crate) pidfd: u64,
    pub(crate) child_tid: u64,
    pub(crate) parent_tid: u64,
    pub(crate) exit_signal: u64,
    pub(crate) stack: u64,
    pub(crate) stack_size: u64,
    pub(crate) tls: u64,
    pub(crate) set_tid: u64,
    pub(crate) set_tid_size: u64,
    pub(crate) cgroup: u64,
}

impl CloneArgs {
    /// Describes a child that sends SIGCHLD to its parent at its end; `cgroup`
    /// is the directory of a cgroup v2 to be born in.
    pub(crate) fn child(flags: u64, cgroup: Option<i32>) -> Self {
        let into = cgroup.map_or(0, |_| CLONE_INTO_CGROUP);
        Self {
            flags: flags | into,
            exit_signal: u64::from(SIGCHLD),
            cgroup: cgroup.map_or(0, |cgroup| cgroup as u64),
            ..Self::default()
        }
    }
}

/// Makes a child with a copy of the memory; returns 0 in the child, its pid in
/// the parent. `flags` and `cgroup` as in [`CloneArgs::child`].
pub(crate) fn fork(flags: u64, cgroup: Option<i32>) -> Result<i32> {
    // A child with this memory would run on this stack.
    let args = CloneArgs::child(flags & !CLONE_VM, cgroup);
    // SAFETY: the kernel reads as many bytes as `CloneArgs` has; all pointers
    // there are null, and the child has a copy of the memory.
    match unsafe { syscall!(CLONE3, &raw const args, size_of::<CloneArgs>()) } {
        // KERNEL(5.3): an outer filter may hide clone3(2).
        Err(Errno::NOSYS) if cgroup.is_none() => {
            // SAFETY: a null stack means a copy of this one.
            unsafe { syscall!(CLONE, args.flags | args.exit_signal, 0, 0, 0, 0) }
        }
        other => other,
    }
    .map(|pid| pid as i32)
}

/// The first function of a child that shares the memory.
pub(crate) type Entry = unsafe extern "C" fn(*mut ()) -> !;

/// Makes a child that shares the memory and runs `entry(argument)`, clone3(2);
/// returns its pid.
///
/// # Safety
/// `args` describes a stack that only the child uses and that outlives the
/// child. Pointers in `args` are null, or valid for writes while the child
/// lives. The child may call `entry` with `argument` while the caller goes on.
pub(crate) unsafe fn clone3_shared(
    args: &CloneArgs,
    entry: Entry,
    argument: *mut (),
) -> Result<i32> {
    let at = core::ptr::from_ref(args) as usize;
    let a = [at, size_of::<CloneArgs>(), 0, 0];
    // SAFETY: the kernel reads as many bytes as `CloneArgs` has; the caller
    // vouches for stack, pointers and entry.
    unsafe { clone_shared(nr::CLONE3, a, entry, argument) }
}

/// Makes a child as [`clone3_shared`] by clone(2), which takes flags and
/// signal, the end of the stack, and pointers for pidfd and thread id.
///
/// # Safety
/// As for [`clone3_shared`].
pub(crate) unsafe fn clone_legacy_shared(
    args: &CloneArgs,
    entry: Entry,
    argument: *mut (),
) -> Result<i32> {
    let flags = args.flags | args.exit_signal;
    let top = args.stack + args.stack_size;
    let a = [flags, top, args.pidfd, args.child_tid].map(|a| a as usize);
    // SAFETY: the caller vouches for stack, pointers and entry.
    unsafe { clone_shared(nr::CLONE, a, entry, argument) }
}

/// Makes the system call of a clone with shared memory.
///
/// # Safety
/// As for [`clone3_shared`].
unsafe fn clone_shared(nr: usize, a: [usize; 4], entry: Entry, argument: *mut ()) -> Result<i32> {
    let ret: isize;
    // SAFETY: the parent jumps to label 2. The child begins on its own empty
    // stack, uses only two registers of this frame, and never returns from
    // `entry`. The kernel clobbers rcx and r11 only.
    unsafe {
        asm!("syscall", "test rax, rax", "jnz 2f",
             "xor ebp, ebp", "mov rdi, r13", "call r12", "ud2", "2:",
             inlateout("rax") nr as isize => ret,
             in("rdi") a[0], in("rsi") a[1], in("rdx") a[2], in("r10") a[3], in("r8") 0,
             in("r12") entry, in("r13") argument, lateout("rcx") _, lateout("r11") _);
    }
    match ret {
        -4095..=-1 => Err(Errno(-ret as i32)),
        pid => Ok(pid as i32),
    }
}

/// `struct rusage`, getrusage(2).
#[repr(C)]
#[derive(Default, Clone, Copy)]
pub(crate) struct Rusage {
    /// Seconds and microseconds of user time.
    pub(crate) user: [u64; 2],
    pub(crate) system: [u64; 2],
    pub(crate) max_rss_kib: u64,
    _unused: [u64; 6],
    pub(crate) blocks_in: u64,
    pub(crate) blocks_out: u64,
    _unused_too: [u64; 5],
}

/// [`wait4`]: returns at once if no child has ended.
pub(crate) const WNOHANG: u32 = 1;
/// [`wait4`]: waits for children of any kind.
pub(crate) const WALL: u32 = 0x4000_0000;

/// Waits for a child, or for any child with -1; returns pid (0 for no child)
/// and status in the encoding of wait(2).
pub(crate) fn wait4(pid: i32, flags: u32, usage: &mut Rusage) -> Result<(i32, u32)> {
    let mut status = 0u32;
    let (status_at, usage) = (&raw mut status, core::ptr::from_mut(usage));
    // SAFETY: the kernel writes one integer, and as many bytes as `Rusage` has.
    let pid = unsafe { syscall!(WAIT4, pid, status_at, flags, usage) }?;
    Ok((pid as i32, status))
}

/// Ends the process.
pub(crate) fn exit(code: i32) -> ! {
    loop {
        // SAFETY: exit_group(2) takes a number and does not return.
        let _ = unsafe { syscall!(EXIT_GROUP, code) };
    }
}

/// Ends the calling thread alone.
pub(crate) fn exit_thread() -> ! {
    loop {
        // SAFETY: exit(2) takes a number and does not return.
        let _ = unsafe { syscall!(EXIT, 0) };
    }
}

/// Executes a program; returns only with the reason of a failure.
///
/// # Safety
/// `argv` and `envp` end with a null pointer; all pointers before lead to
/// strings with a NUL.
pub(crate) unsafe fn execve(program: &CStr, argv: *const usize, envp: *const usize) -> Errno {
    // SAFETY: `program` ends with a NUL; the caller vouches for the vectors.
    match unsafe { syscall!(EXECVE, program.as_ptr(), argv, envp) } {
        Err(errno) => errno,
        Ok(_) => Errno::INVAL,
    }
}

/// Attaches a seccomp program to the calling thread.
pub(crate) fn seccomp_filter(program: &[u8]) -> Result<()> {
    /// Bytes of a `struct sock_filter`.
    const INSTRUCTION: usize = 8;
    const SECCOMP_SET_MODE_FILTER: u32 = 1;
    /// seccomp(2)'s `struct sock_fprog`.
    #[repr(C)]
    struct Program {
        len: u16,
        at: *const u8,
    }
    let len = u16::try_from(program.len() / INSTRUCTION).map_err(|_| Errno::INVAL)?;
    let at = program.as_ptr();
    let program = Program { len, at };
    // SAFETY: the kernel reads the structure and `len` instructions of
    // `program`.
    unsafe { syscall!(SECCOMP, SECCOMP_SET_MODE_FILTER, 0, &raw const program) }.map(drop)
}

/// Returns the pid of the caller in its pid namespace.
pub(crate) fn getpid() -> Result<i32> {
    // SAFETY: no argument.
    unsafe { syscall!(GETPID) }.map(|pid| pid as i32)
}

calls! {
    /// Opens a pidfd of a process.
    fn pidfd_open(pid: i32) -> Fd = PIDFD_OPEN(pid, 0);

    /// Makes the caller the leader of a new session.
    fn setsid() = SETSID();
}

/// Sets the name that ps(1) shows.
pub(crate) fn set_name(name: &CStr) {
    const PR_SET_NAME: u32 = 15;
    // A readable string cannot fail.
    // SAFETY: the kernel reads up to the NUL of `name`, at most 16 bytes.
    let _ = unsafe { syscall!(PRCTL, PR_SET_NAME, name.as_ptr(), 0, 0, 0) };
}
