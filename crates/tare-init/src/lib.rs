// SPDX-License-Identifier: MIT OR Apache-2.0
//! The helper program of libtare, as bytes to embed.
//!
//! An implementation detail of libtare, without any promise.
//!
//! The program (`src/main.rs`) has neither a standard library nor a C library,
//! and aborts instead of unwinding. A cargo profile holds for a whole build,
//! and libtare must unwind. Therefore the build script runs rustc on the
//! program, with the flags it needs, and this library embeds the result.
//!
//! Cargo knows the same sources as the binary `tare-helper`, so that `cargo
//! check`, `clippy`, `fmt`, `doc` and rust-analyzer see them. Without the build
//! script's `--cfg freestanding` they use the standard library's entry point,
//! panic handler and memory functions. Nothing runs that binary.
#![no_std]
#![forbid(unsafe_code)]

/// System calls of process 1 (`src/serve.rs`, `src/command.rs`) while it
/// serves, starts a command from behind a seccomp program, and reaps it.
pub const CALLS_OF_SERVING: &str = "\
    capset clock_gettime close close_range dup2 execve exit_group fchdir fcntl fstat futex \
    getdents64 kill mkdirat mmap munmap nanosleep newfstatat openat openat2 ppoll prctl \
    prlimit64 read recvmsg rt_sigprocmask sendmsg setgroups setresgid setresuid setsid umask \
    wait4 write";

/// The program: a static executable for x86-64 Linux.
pub static PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tare-init"));
