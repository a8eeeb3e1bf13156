// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tare image`: bringing images into the store, and what is there.
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

/// What `tare image` was told.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Bring an image from an OCI layout or an archive into the store
    Import(import::Import),
    /// Bring the images of an archive into the store, under the names they have there
    Load(import::Load),
    /// Unpack an image into an empty directory, verifying both digests of every layer
    Unpack(import::Unpack),
    /// List the images of the store
    #[command(visible_alias = "ls")]
    List(show::List),
    /// Print what an image says of itself, as JSON
    Inspect(show::Inspect),
    /// Give an image one more name
    Tag(change::Tag),
    /// Take names out of the store, and what no other name needs
    #[command(visible_alias = "rm")]
    Remove(change::Remove),
}

/// Does it.
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
