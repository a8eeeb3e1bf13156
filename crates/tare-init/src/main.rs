// SPDX-License-Identifier: MIT OR Apache-2.0
//! The helper program: the spawner of a host process, and process 1 of each
//! sandbox.
//!
//! Static, without a standard library and without an allocator. Therefore a
//! clone of the program can go on at once, in any namespace, and no memory of
//! the host is in it.
//!
//! The build script sets `freestanding`. Without that cfg, these are the
//! sources of an ordinary program for tools: see `lib.rs`.
#![cfg_attr(freestanding, no_std, no_main)]

#[macro_use]
mod weak;

mod answer;
mod boot;
mod cgroup;
mod chroot;
mod clone;
mod close;
mod command;
mod copy;
mod decimal;
mod descent;
mod dir;
mod empty_ns;
mod exec;
mod files;
mod filtered_thread;
mod fs_types;
mod id_map;
mod kill;
mod leftovers;
mod mapping;
mod message;
mod mount;
mod names;
mod network;
mod overlay;
mod owner;
mod passwd;
mod remount;
mod replay;
mod serve;
mod spawner;
mod sys;
mod user;
mod watch;
mod xattrs;

use tare_wire as wire;

#[cfg(freestanding)]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "and rsp, -16",
    "call {main}",
    "ud2",
    main = sym start,
);

#[cfg(not(freestanding))]
fn main() {
    start()
}

/// Begins the program. Descriptor 0 is the host's socket. A child continues as
/// the spawner, so that the host has no child to wait for.
extern "C" fn start() -> ! {
    sys::block_signals(true);
    let ignored = sys::default_signals();
    match sys::fork(0, None) {
        Ok(0) => match stand_apart() {
            Ok(()) => spawner::run(0, ignored),
            Err(errno) => spawner::give_up(0, errno),
        },
        Ok(_) => sys::exit(0),
        Err(errno) => spawner::give_up(0, errno),
    }
}

/// Leaves the host's session, process group and working directory: a signal for
/// the host's group must not end this process before it has cleaned up, and the
/// host's directory must not stay busy.
fn stand_apart() -> sys::Result<()> {
    sys::setsid()?;
    sys::chdir(c"/")
}

#[cfg(freestanding)]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    sys::exit(70)
}

/// Symbol that the precompiled core library names. Never called, because
/// `panic=abort` unwinds no stack.
// SAFETY: only the standard library defines this symbol, and the program does
// not link it.
#[cfg(freestanding)]
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// Memory functions that the compiler calls; the C library's are not linked.
#[cfg_attr(
    not(freestanding),
    allow(dead_code, reason = "the C library has its own")
)]
mod memory {
    use core::arch::asm;

    // SAFETY: the four symbols are the C library's own, defined nowhere else in
    // this program.
    #[cfg_attr(freestanding, unsafe(no_mangle))]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
        // SAFETY: the caller promises `n` bytes at both, not overlapping.
        unsafe {
            asm!("rep movsb", inout("rcx") n => _, inout("rdi") to => _, inout("rsi") from => _, options(nostack, preserves_flags))
        }
        to
    }

    // SAFETY: as above.
    #[cfg_attr(freestanding, unsafe(no_mangle))]
    unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
        if (to as usize).wrapping_sub(from as usize) >= n {
            // SAFETY: the target does not begin inside the source, so copying
            // upwards is right.
            return unsafe { memcpy(to, from, n) };
        }
        // SAFETY: the caller promises `n` bytes at both; copying downwards,
        // with the direction flag put back.
        unsafe {
            asm!("std", "rep movsb", "cld", inout("rcx") n => _, inout("rdi") to.wrapping_add(n).wrapping_sub(1) => _, inout("rsi") from.wrapping_add(n).wrapping_sub(1) => _, options(nostack))
        }
        to
    }

    // SAFETY: as above.
    #[cfg_attr(freestanding, unsafe(no_mangle))]
    unsafe extern "C" fn memset(to: *mut u8, byte: i32, n: usize) -> *mut u8 {
        // SAFETY: the caller promises `n` bytes.
        unsafe {
            asm!("rep stosb", inout("rcx") n => _, inout("rdi") to => _, in("al") byte as u8, options(nostack, preserves_flags))
        }
        to
    }

    // SAFETY: as above.
    #[cfg_attr(freestanding, unsafe(no_mangle))]
    unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
        for i in 0..n {
            // SAFETY: the caller promises `n` bytes at both.
            let (x, y) = unsafe { (a.add(i).read_volatile(), b.add(i).read_volatile()) };
            if x != y {
                return i32::from(x) - i32::from(y);
            }
        }
        0
    }

    // SAFETY: as above.
    #[cfg_attr(freestanding, unsafe(no_mangle))]
    unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
        // SAFETY: the same contract.
        unsafe { memcmp(a, b, n) }
    }

    // SAFETY: as above.
    #[cfg_attr(freestanding, unsafe(no_mangle))]
    unsafe extern "C" fn strlen(s: *const u8) -> usize {
        let mut n = 0;
        // SAFETY: the caller promises a NUL at the end.
        while unsafe { s.add(n).read_volatile() } != 0 {
            n += 1;
        }
        n
    }
}
