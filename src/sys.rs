// SPDX-License-Identifier: MIT OR Apache-2.0
//! The system calls that nix lacks, one family per file; the only unsafe code of the library.

pub(crate) mod bpf;
