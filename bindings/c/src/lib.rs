// SPDX-License-Identifier: MIT OR Apache-2.0
//! The C face of libtare: converts, calls, converts back. `include/tare.h` is
//! generated from this crate and is its manual.
//!
//! A function checks its arguments ([`input`], [`handle`]), calls the library,
//! and writes the results ([`out`]), all inside [`call`] or [`value`], where
//! panics end and no thread is cancelled. The functions' ABI is "C-unwind"
//! because of [`cancel`] alone.
#![allow(non_camel_case_types, reason = "the names of the types in C")]
#![allow(
    clippy::missing_safety_doc,
    reason = "the first chapter of tare.h says once what every pointer must be"
)]

// In the order of the manual, which cbindgen keeps.
pub mod library;

pub mod logging;

pub mod error;

pub mod bytes;

pub mod store;

pub mod progress;

pub mod image;

pub mod importing;

pub mod unpack;

pub mod tree;

pub mod sandbox;

pub mod opening;

pub mod events;

pub mod pool;

pub mod command;

pub mod spawn;

pub mod process;

pub mod status;

pub mod output;

pub mod stat;

pub mod user;

pub mod files;

pub mod directory;

pub mod copy;

mod call;
mod cancel;
mod handle;
mod input;
mod out;
mod table;
mod value;
