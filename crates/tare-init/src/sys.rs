// SPDX-License-Identifier: MIT OR Apache-2.0
//! System calls of x86-64: a typed function each, without the C library.
//!
//! A function here is safe if no argument can break the memory of this program,
//! and if the caller alone owns each returned descriptor. All others are
//! `unsafe`, and their documentation states the duty of the caller. The macro
//! `syscall` stays inside `sys/`.

mod errno;
mod fd;
mod fs;
mod identity;
mod memory;
mod mount;
mod process;
mod signal;
mod socket;
mod stat;
mod terminal;
mod time;
mod xattr;

use core::arch::asm;

pub(crate) use errno::{Errno, Result};
pub(crate) use fd::*;
pub(crate) use fs::*;
pub(crate) use identity::*;
pub(crate) use memory::*;
pub(crate) use mount::*;
pub(crate) use process::*;
pub(crate) use signal::*;
pub(crate) use socket::*;
pub(crate) use stat::*;
pub(crate) use terminal::*;
pub(crate) use time::*;
pub(crate) use xattr::*;

/// Makes a system call.
///
/// # Safety
/// The arguments must be of the kinds that the kernel expects for `nr`. Every
/// pointer must be valid for all that the call reads or writes.
#[inline]
unsafe fn call(nr: usize, a: [usize; 6]) -> Result<usize> {
    let ret: isize;
    // SAFETY: the caller vouches for the arguments; the kernel clobbers rcx and
    // r11 only.
    unsafe {
        asm!("syscall", inlateout("rax") nr as isize => ret,
             in("rdi") a[0], in("rsi") a[1], in("rdx") a[2],
             in("r10") a[3], in("r8") a[4], in("r9") a[5],
             lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    match ret {
        -4095..=-1 => Err(Errno(-ret as i32)),
        _ => Ok(ret as usize),
    }
}

/// Fills up the six arguments of a system call with zeros.
#[inline]
fn words<const N: usize>(given: [usize; N]) -> [usize; 6] {
    core::array::from_fn(|n| given.get(n).copied().unwrap_or(0))
}

/// Calls [`call`] with up to six numbers or pointers.
macro_rules! syscall {
    ($nr:ident $(, $arg:expr)* $(,)?) => {
        $crate::sys::call($crate::sys::nr::$nr, $crate::sys::words([$($arg as usize),*]))
    };
}
use syscall;

/// Declares typed functions that only pass their words to a system call:
/// arguments, `-> Fd` if the call opens a descriptor, number and words.
///
/// List only calls to which every number is harmless: no word is an address,
/// but of a string that the call reads up to its NUL.
macro_rules! calls {
    ($(
        $(#[$doc:meta])*
        fn $name:ident($($arg:ident: $type:ty),*) $(-> $fd:ident)? = $nr:ident($($word:expr),*);
    )*) => {$(
        $(#[$doc])*
        pub(crate) fn $name($($arg: $type),*) -> $crate::sys::Result<calls!(@type $($fd)?)> {
            // SAFETY: the table lists only calls that take numbers and strings,
            // and says which of them open the returned descriptor.
            unsafe { calls!(@result $crate::sys::syscall!($nr $(, $word)*) $(, $fd)?) }
        }
    )*};
    (@type) => { () };
    (@type Fd) => { $crate::sys::Fd };
    (@result $returned:expr) => { $returned.map(drop) };
    (@result $returned:expr, Fd) => { $crate::sys::fd::opened($returned) };
}
use calls;

/// System call numbers of x86-64.
#[rustfmt::skip]
mod nr {
    macro_rules! numbers {
        ($($name:ident $n:literal)*) => { $(pub(super) const $name: usize = $n;)* }
    }
    numbers! {
        READ 0 WRITE 1 CLOSE 3 MMAP 9 MUNMAP 11 RT_SIGACTION 13
        RT_SIGPROCMASK 14 IOCTL 16 MADVISE 28 DUP2 33 NANOSLEEP 35 GETPID 39
        SOCKET 41 SENDMSG 46 RECVMSG 47 CLONE 56 EXECVE 59 EXIT 60 WAIT4 61
        KILL 62 FCNTL 72 CHDIR 80 FCHDIR 81 FCHMOD 91 FCHOWN 93 UMASK 95
        SETSID 112 SETGROUPS 116 SETRESUID 117 SETRESGID 119 CAPGET 125
        CAPSET 126 FSTATFS 138 PIVOT_ROOT 155 PRCTL 157 CHROOT 161 MOUNT 165
        UMOUNT2 166 SETHOSTNAME 170 SETXATTR 188 FSETXATTR 190 GETXATTR 191
        FGETXATTR 193 LISTXATTR 194 FLISTXATTR 196 FUTEX 202 GETDENTS64 217
        CLOCK_GETTIME 228 EXIT_GROUP 231 KEYCTL 250 OPENAT 257 MKDIRAT 258
        MKNODAT 259 FCHOWNAT 260 NEWFSTATAT 262 UNLINKAT 263 RENAMEAT 264
        LINKAT 265 SYMLINKAT 266 READLINKAT 267 FCHMODAT 268 PPOLL 271
        UNSHARE 272 UTIMENSAT 280 SIGNALFD4 289 DUP3 292 PIPE2 293
        PRLIMIT64 302 SETNS 308 RENAMEAT2 316 SECCOMP 317 COPY_FILE_RANGE 326
        STATX 332 OPEN_TREE 428 MOVE_MOUNT 429 FSOPEN 430 FSCONFIG 431
        FSMOUNT 432 PIDFD_OPEN 434 CLONE3 435 CLOSE_RANGE 436 OPENAT2 437
        MOUNT_SETATTR 442
    }
}
