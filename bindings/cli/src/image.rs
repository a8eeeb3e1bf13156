// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tare image`: images of the store.
#![forbid(unsafe_code)]

mod change;
mod import;
mod progress;
mod show;

use std::process::ExitCode;

use clap::Subcommand;
use tare::Result;

use crate::store_flag::StoreFlag;

pub(crate) use change::freed;
pub(crate) use progress::Bars;

/// Subcommands of `tare image`.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Bring an image from an OCI layout or an archive into the store
    Import(import::Import),
    /// Bring the images of an archive into the store, under the names they have
    /// there
    Load(import::Load),
    /// Unpack an image into an empty directory, verifying both digests of every
    /// layer
    Unpack(import::Unpack),
    /// List the images of the store
    #[command(visible_alias = "ls")]
    List(show::List),
    /// Print the description of an image as JSON
    Inspect(show::Inspect),
    /// Give an image a further name
    Tag(change::Tag),
    /// Remove names from the store, and then all files that no other name needs
    #[command(visible_alias = "rm")]
    Remove(change::Remove),
}

/// Runs the subcommand.
pub(crate) fn image(store: &StoreFlag, action: &Action) -> Result<ExitCode> {
    let store = store.open()?;
    match action {
        Action::Import(flags) => import::import(&store, flags),
        Action::Load(flags) => import::load(&store, flags),
        Action::Unpack(flags) => import::unpack(&store, flags),
        Action::List(flags) => show::list(&store, flags),
        Action::Inspect(flags) => show::inspect(&store, flags),
        Action::Tag(flags) => change::tag(&store, flags),
        Action::Remove(flags) => change::remove(&store, flags),
    }?;
    Ok(ExitCode::SUCCESS)
}
