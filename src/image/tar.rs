// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tar archives, written plainly and read strictly.
//!
//! Refuses an archive that two programs would read differently.
#![forbid(unsafe_code)]

mod archive;
mod build;
mod copy;
mod fault;
mod header;
mod input;
mod pax;
mod sparse;

pub(crate) use archive::{Archive, Entry, What};
pub(crate) use build::Builder;
pub(crate) use fault::{Call, Fault, Parsed, refuse, shown};
pub(crate) use header::resembles;
pub(crate) use input::Input;
#[cfg(any(test, feature = "bench"))]
pub(crate) use input::Slice;
pub(crate) use pax::Time;
pub(crate) use sparse::{Map, SEGMENTS_MAX, Segment};

#[cfg(test)]
mod tests;
