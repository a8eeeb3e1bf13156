// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tare schema`: prints the JSON Schemas of a spec and of the protocol.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use tare::{Error, Kind, Result};
use tare_rpc::schema::{rpc, spec};

use crate::text::print;

/// Flags of `tare schema`.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Subject of the schema
    #[arg(value_enum, default_value_t = Subject::Spec)]
    subject: Subject,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Subject {
    /// The spec of `tare run --spec`
    Spec,
    /// The requests and replies of `tare rpc`
    Rpc,
}

/// Prints the schema.
pub(crate) fn schema(flags: &Flags) -> Result<ExitCode> {
    let schema = match flags.subject {
        Subject::Spec => spec(),
        Subject::Rpc => rpc(),
    };
    let text = serde_json::to_string_pretty(&schema)
        .map_err(|e| Error::new(Kind::Broken, "write schema", e))?;
    print(&(text + "\n"))?;
    Ok(ExitCode::SUCCESS)
}
