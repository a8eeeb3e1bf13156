// SPDX-License-Identifier: MIT OR Apache-2.0
//! Parameters of the requests, as they are read and as the schema shows them.
#![forbid(unsafe_code)]

pub(crate) mod command;
pub(crate) mod files;
pub(crate) mod sandbox;
