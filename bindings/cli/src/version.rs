// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tare version`: of the command line, which is also the library's, and what was built into it.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Args;
use tare::Result;

use crate::text::{print, print_json};

/// What `tare version` was told.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Print it as one JSON object
    #[arg(long)]
    json: bool,
}

/// Prints it.
pub(crate) fn version(flags: &Flags) -> Result<ExitCode> {
    let (arch, features) = (std::env::consts::ARCH, tare::FEATURES);
    if flags.json {
        print_json(&serde_json::json!({
            "version": tare::VERSION,
            "architecture": arch,
            "features": features,
        }))?;
    } else {
        let version = tare::VERSION;
        print(&format!(
            "tare {version}\narchitecture: {arch}\nfeatures: {}\n",
            features.join(" ")
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
