// SPDX-License-Identifier: MIT OR Apache-2.0
//! Layer extraction against real and hostile archives.
#![forbid(unsafe_code)]
#![allow(dead_code)]

mod cage;
mod codecs;
mod real;
mod tar;
