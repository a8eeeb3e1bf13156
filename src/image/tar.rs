// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tar archives, read strictly: an archive that two programs would read differently is refused.
#![forbid(unsafe_code)]

mod archive;
mod fault;
mod header;
mod input;
mod pax;
mod sparse;

pub(super) use archive::{Archive, Entry, What};
pub(super) use fault::{Call, Fault, Step, refuse, shown};
pub(super) use header::resembles;
pub(super) use input::Input;
pub(super) use pax::Time;
pub(super) use sparse::Map;

#[cfg(test)]
mod tests;
