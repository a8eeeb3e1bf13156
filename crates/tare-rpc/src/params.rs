// SPDX-License-Identifier: MIT OR Apache-2.0
//! Parameters of requests, for the reader and the schema.
#![forbid(unsafe_code)]

pub(crate) mod command;
pub(crate) mod files;
pub(crate) mod sandbox;
