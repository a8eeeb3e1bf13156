// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tare version`: version and features of the command line and of the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Args;
use tare::Result;

use crate::text::{print, print_json};

/// Flags of `tare version`.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Print the version as a JSON object
    #[arg(long)]
    json: bool,
}

/// Prints the version.
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
