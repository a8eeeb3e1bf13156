// SPDX-License-Identifier: MIT OR Apache-2.0
//! Containers as a library: an image in, an isolated throwaway command out.

pub mod error;
pub mod image;
#[allow(dead_code, reason = "their user, the plan, is still to come")]
mod parts;
pub mod spec;
mod sys;

pub use error::{Error, Kind, Result};
pub use spec::Spec;
