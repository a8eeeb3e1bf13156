// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands in a sandbox: input, run, end, and view of the machine.

#[allow(dead_code, reason = "the tests of unpacking use the rest")]
#[path = "../layer/tar.rs"]
mod blocks;
#[path = "../harness/mod.rs"]
mod harness;
#[path = "../layout/mod.rs"]
mod layout;

mod ahead;
mod closing;
mod confined;
mod control;
mod cures;
mod endings;
mod events;
mod found;
mod host;
mod identity;
mod image_trees;
mod kills;
mod layers;
mod many;
mod names;
mod network;
mod odd;
mod opening;
mod pools;
mod rights;
mod streams;
mod terminal;
mod trees;
mod users;
mod view;
mod view_cow;
mod view_dying;
mod view_kinds;
mod view_root;
mod words;
