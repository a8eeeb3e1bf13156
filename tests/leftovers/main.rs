// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is left behind: nothing, however a sandbox, its helper or its host ends.
//!
//! Every test holds `Host::exclusive`: it compares this process and the machine before and after.

#[path = "../harness/mod.rs"]
mod harness;

mod child;
mod descriptors;
mod ends;
mod soak;
