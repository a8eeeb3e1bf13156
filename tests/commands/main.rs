// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands in a sandbox: what they get, how they run, how they end, and what they see of the machine.

#[path = "../harness/mod.rs"]
mod harness;

mod closing;
mod endings;
mod host;
mod many;
mod network;
mod streams;
mod terminal;
mod trees;
mod users;
mod words;
