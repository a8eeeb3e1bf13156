// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tare doctor`: abilities of this machine, and cures for those missing.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Args;
use tare::{Check, Matter, Report, Result};

use crate::store_flag::StoreFlag;
use crate::text::{print, print_json, table};

/// Flags of `tare doctor`.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 if sandboxes can be opened here, else 1.")]
pub(crate) struct Flags {
    /// Print the report as a JSON object
    #[arg(long)]
    json: bool,
}

/// Prints the report; the exit status tells whether sandboxes can be opened.
pub(crate) fn doctor(store: &StoreFlag, flags: &Flags) -> Result<ExitCode> {
    let report = tare::doctor(store.path());
    match flags.json {
        true => print_json(&report)?,
        false => print(&text(&report))?,
    }
    Ok(match report.ok {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn text(report: &Report) -> String {
    let rows: Vec<[String; 3]> = report
        .checks
        .iter()
        .map(|check| [mark(check).into(), check.name.clone().into(), found(check)])
        .collect();
    let verdict = match report.ok {
        true => "sandboxes can be opened here",
        false => "no sandbox can be opened here: see what is marked NO",
    };
    format!("{}\n{verdict}\n", table(&rows))
}

fn mark(check: &Check) -> &'static str {
    match (check.ok, check.matter) {
        (true, _) => "ok",
        (false, Matter::Needed) => "NO",
        (false, Matter::Optional) => "no",
        (false, Matter::Speed) => "slow",
    }
}

fn found(check: &Check) -> String {
    let said = tare::error::Quoted(&check.found);
    match &check.cure {
        Some(cure) => format!("{said}; try: {}", tare::error::Quoted(cure)),
        None => said.to_string(),
    }
}
