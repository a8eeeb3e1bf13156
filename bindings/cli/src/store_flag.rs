// SPDX-License-Identifier: MIT OR Apache-2.0
//! The flag for the store, which every subcommand has.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use clap::Args;
use tare::{Result, Store};

#[derive(Debug, Args)]
pub(crate) struct StoreFlag {
    /// Directory of images and scratch space [default: $TARE_STORE, else
    /// /var/lib/tare for root and $XDG_DATA_HOME/tare for others]
    #[arg(long, global = true, value_name = "DIR")]
    store: Option<PathBuf>,
}

impl StoreFlag {
    /// Returns the directory, if given.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.store.as_deref()
    }

    /// Opens the store of the flag, or the default store.
    pub(crate) fn open(&self) -> Result<Store> {
        match &self.store {
            Some(dir) => Store::open(dir),
            None => Store::open_default(),
        }
    }
}
