// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line's one definition: flags, help, completions and manual pages come from it.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use tare::{Result, Store};

use crate::run;

/// Containers as a library: an image in, an isolated throwaway command out, no daemon
#[derive(Debug, Parser)]
#[command(
    name = "tare",
    version,
    max_term_width = 100,
    infer_long_args = false,
    disable_help_subcommand = true
)]
pub(crate) struct CommandLine {
    /// Directory of images and scratch space [default: $TARE_STORE, else /var/lib/tare for
    /// root and $XDG_DATA_HOME/tare for others]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) action: Action,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Run a command in a fresh sandbox, which is gone when the command ends
    Run(Box<run::Flags>),
}

impl CommandLine {
    /// The store that is meant.
    pub(crate) fn store(&self) -> Result<Store> {
        match &self.store {
            Some(dir) => Store::open(dir),
            None => Store::open_default(),
        }
    }
}
