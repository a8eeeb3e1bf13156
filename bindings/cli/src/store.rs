// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tare store`: checks, repairs and cleans a store.
#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use indicatif::BinaryBytes;
use tare::error::Quoted;
use tare::image::Repaired;
use tare::{Result, Store};

use crate::image::freed;
use crate::store_flag::StoreFlag;
use crate::text::{print, print_json};

/// Subcommands of `tare store`.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Compare every blob with its digest, and look for all parts of every
    /// image
    #[command(after_help = "Exit status: 0 for a sound store, 1 if something is wrong with it.")]
    Check(Check),
    /// Remove the work of killed processes
    Recover,
    /// Remove files that no image of the store needs and no process uses
    Gc,
}

/// Flags of `tare store check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Remove damaged files, so that the next import restores them; restore a
    /// lost index from the images
    #[arg(long)]
    repair: bool,
    /// Print the report as a JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
pub(crate) fn store(store: &StoreFlag, action: &Action) -> Result<ExitCode> {
    let store = store.open()?;
    match action {
        Action::Check(flags) => check(&store, flags),
        Action::Recover => {
            let found = store.recover()?;
            print(&format!(
                "removed {} scratch directories and {} cgroups; {} could not be removed\n",
                found.scratch, found.cgroups, found.left
            ))?;
            Ok(ExitCode::SUCCESS)
        }
        Action::Gc => {
            print(&format!("{}\n", freed(&store.images().gc()?)))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn told(repaired: &Repaired) -> String {
    let removed = repaired.removed;
    let mut text = format!("removed {removed} damaged blobs and layers\n");
    if let Some(images) = repaired.indexed {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "made a new index of {images} images without names; try: tare image list, tare image tag DIGEST NAME"
        );
    }
    text
}

fn check(store: &Store, flags: &Check) -> Result<ExitCode> {
    let report = store.images().check()?;
    if flags.json {
        print_json(&report)?;
    } else {
        let mut text = String::new();
        for problem in &report.problems {
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{}: {}",
                Quoted(&problem.subject),
                Quoted(&problem.why)
            );
        }
        let _ = writeln!(
            text,
            "{} images, {} blobs ({}), {} unpacked layers, {} problems",
            report.images,
            report.blobs,
            BinaryBytes(report.bytes),
            report.layers,
            report.problems.len()
        );
        print(&text)?;
    }
    if flags.repair && !report.problems.is_empty() {
        let repaired = store.images().repair(&report)?;
        if !flags.json {
            print(&told(&repaired))?;
        }
    }
    Ok(match report.problems.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
