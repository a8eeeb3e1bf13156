// SPDX-License-Identifier: MIT OR Apache-2.0
//! The system calls that nix lacks, a family per file; the only unsafe code of
//! the library.

pub(crate) mod accounts;
pub(crate) mod auxv;
pub(crate) mod bpf;
pub(crate) mod caller;
pub(crate) mod dup;
pub(crate) mod event;
pub(crate) mod file_size;
pub(crate) mod flock;
pub(crate) mod lock;
pub(crate) mod memfd;
pub(crate) mod mountinfo;
pub(crate) mod pidfd;
pub(crate) mod poll;
pub(crate) mod probe;
pub(crate) mod signals;
pub(crate) mod socket;
pub(crate) mod terminal;
pub(crate) mod user;
pub(crate) mod xattr;
