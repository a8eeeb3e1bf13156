// SPDX-License-Identifier: MIT OR Apache-2.0
//! Layer extraction against real and hostile archives.
#![forbid(unsafe_code)]

mod archives;
mod cage;
mod codecs;
mod hosts;
mod links;
mod metadata;
mod orders;
mod paths;
mod real;
mod robust;
mod tar;
mod ways;
mod whiteouts;
