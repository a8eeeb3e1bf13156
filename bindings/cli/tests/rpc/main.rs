// SPDX-License-Identifier: MIT OR Apache-2.0
//! Conversations with `tare rpc`, as root and as ordinary users.

mod cancels;
#[path = "../common/mod.rs"]
mod common;
mod document;
mod files;
mod pools;
mod requests;
mod session;
