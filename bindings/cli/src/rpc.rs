// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tare rpc`: many sandboxes and commands for a program in any language, by lines of JSON.
#![forbid(unsafe_code)]

mod bytes;
mod client;
mod command;
mod events;
mod files;
mod input;
mod message;
mod pool;
mod pool_slot;
mod reply;
mod schema;
mod session;
mod ticket;
mod value;
mod watch;
mod worker;

use std::process::ExitCode;

use clap::Args;
use tare::Result;

use crate::store_flag::StoreFlag;

pub(crate) use schema::{Flags as SchemaFlags, schema};

/// The version of the protocol: raised when a client that keeps to an older one would be misled.
const PROTOCOL: u32 = 1;

/// What `tare rpc` was told.
#[derive(Debug, Args)]
#[command(
    after_help = "Requests on standard input, answers and events on standard output, each a line of JSON; \
                  `tare schema rpc` describes them. At the end of the input every sandbox is closed."
)]
pub(crate) struct Flags {}

/// Speaks until the end of the input.
pub(crate) fn rpc(store: &StoreFlag, _: &Flags) -> Result<ExitCode> {
    session::Session::new(store.open()?)?.speak()?;
    Ok(ExitCode::SUCCESS)
}
