// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tare image tag` and `remove`.
#![forbid(unsafe_code)]

use clap::Args;
use indicatif::BinaryBytes;
use tare::image::{Collected, Reference};
use tare::{Result, Store};

use crate::text::print;

/// What `tare image tag` was told.
#[derive(Debug, Args)]
pub(crate) struct Tag {
    /// An image of the store
    #[arg(value_name = "REFERENCE")]
    reference: Reference,
    /// Its further name, NAME[:TAG]; taken from the image that has it
    #[arg(value_name = "NAME")]
    name: Reference,
}

/// What `tare image remove` was told.
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Names to take away; a digest takes all of an image's
    #[arg(value_name = "REFERENCE", required = true)]
    references: Vec<Reference>,
}

pub(super) fn tag(store: &Store, flags: &Tag) -> Result<()> {
    store.images().tag(&flags.reference, &flags.name)
}

pub(super) fn remove(store: &Store, flags: &Remove) -> Result<()> {
    for reference in &flags.references {
        let collected = store.images().remove(reference)?;
        print(&format!("{reference}: {}\n", freed(&collected)))?;
    }
    Ok(())
}

/// What went, in words.
pub(crate) fn freed(collected: &Collected) -> String {
    let mut text = format!(
        "removed {} blobs ({}) and {} unpacked layers",
        collected.blobs,
        BinaryBytes(collected.bytes),
        collected.layers
    );
    if collected.in_use > 0 {
        text.push_str(&format!(
            "; {} in use stay until `tare store gc`",
            collected.in_use
        ));
    }
    text
}
