// SPDX-License-Identifier: MIT OR Apache-2.0
//! Opens the inside of the library to its benches, fuzzers and counts.
//!
//! No part of the interface: any release may change or drop it.
#![forbid(unsafe_code)]

pub mod bench;
pub mod fuzz;
#[cfg(test)]
mod instructions;
#[cfg(test)]
pub(crate) mod random;
