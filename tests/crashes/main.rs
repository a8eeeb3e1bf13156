// SPDX-License-Identifier: MIT OR Apache-2.0
//! A fault, or a death, at every system call: of the helper from its start to its end, and of the host.
//!
//! A host process runs under a filter that asks this one before each call. One round is one sandbox
//! from open to close; the nth call of the nth round fails or is its caller's last, until a round has
//! fewer calls. Nothing in the library knows of it.
#![allow(
    clippy::print_stdout,
    reason = "figures for whoever asks with --nocapture"
)]

#[path = "../harness/mod.rs"]
mod harness;

mod host;
mod place;
mod rounds;
mod supervisor;
