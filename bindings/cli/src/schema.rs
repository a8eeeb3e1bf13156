// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tare schema`: prints the JSON Schemas of a spec and of the protocol.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use tare::{Error, Kind, Result};
use tare_rpc::schema::{rpc, spec};

use crate::text::print;

/// What `tare schema` was told.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// What to describe
    #[arg(value_enum, default_value_t = Subject::Spec)]
    subject: Subject,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Subject {
    /// What `tare run --spec` reads
    Spec,
    /// What `tare rpc` reads and writes
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
