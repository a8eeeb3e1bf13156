// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tare rpc`: serves the JSON protocol on standard input and output.
#![forbid(unsafe_code)]

use std::io;
use std::os::fd::AsFd as _;
use std::process::ExitCode;

use clap::Args;
use tare::Result;

use crate::store_flag::StoreFlag;

/// Flags of `tare rpc`.
#[derive(Debug, Args)]
#[command(
    after_help = "Requests on standard input, answers and events on standard output, each a line of JSON; \
                  `tare schema rpc` describes them. At the end of the input every sandbox is closed."
)]
pub(crate) struct Flags {}

/// Serves until the end of the input.
pub(crate) fn rpc(store: &StoreFlag, _: &Flags) -> Result<ExitCode> {
    let (input, output) = (io::stdin(), io::stdout());
    tare_rpc::serve(&store.open()?, input.as_fd(), output.as_fd())?;
    Ok(ExitCode::SUCCESS)
}
