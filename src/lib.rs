// SPDX-License-Identifier: MIT OR Apache-2.0
//! Containers as a library: an image in, an isolated throwaway command out.

mod capture;
mod command;
pub mod error;
pub mod image;
mod live;
#[allow(
    dead_code,
    unused_imports,
    reason = "parts of their interface have no user yet"
)]
mod parts;
#[allow(dead_code, reason = "the mount primitive's noun is still to come")]
mod plan;
mod process;
mod sandbox;
mod spawner;
pub mod spec;
mod store;
mod sys;
mod tree;
#[allow(dead_code, reason = "the helper uses the rest")]
mod wire;

pub use capture::Output;
pub use command::{Command, Size, Stdin, Stdout};
pub use error::{Error, Kind, Result};
pub use process::{Control, Process, Reason, Status, Usage};
pub use sandbox::{Effective, Sandbox};
pub use spec::Spec;
pub use store::Store;
