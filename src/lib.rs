// SPDX-License-Identifier: MIT OR Apache-2.0
//! Containers as a library: an image in, an isolated throwaway command out.

pub mod error;
pub mod image;
mod parts;
pub mod spec;
mod sys;

pub use error::{Error, Kind, Result};
pub use spec::Spec;
