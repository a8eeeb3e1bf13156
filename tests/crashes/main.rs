// SPDX-License-Identifier: MIT OR Apache-2.0
//! A fault, or a death, at every system call: of the helper from start to end,
//! and of the host.
//!
//! A host process runs under a filter that asks this process before each call.
//! A round is a sandbox from open to close; the nth call of the nth round fails
//! or is its caller's last, until a round has fewer calls. The library does not
//! know of the filter.
#![allow(clippy::print_stdout, reason = "figures, shown with --nocapture")]

#[path = "../harness/mod.rs"]
mod harness;

mod host;
mod place;
mod rounds;
mod supervisor;
