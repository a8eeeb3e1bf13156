// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tare image tag` and `remove`.
#![forbid(unsafe_code)]

use clap::Args;
use indicatif::BinaryBytes;
use tare::image::{Collected, Reference};
use tare::{Result, Store};

use crate::text::print;

/// Flags of `tare image tag`.
#[derive(Debug, Args)]
pub(crate) struct Tag {
    /// Image of the store
    #[arg(value_name = "REFERENCE")]
    reference: Reference,
    /// Further name, `NAME[:TAG]`; another image with the name loses it
    #[arg(value_name = "NAME")]
    name: Reference,
}

/// Flags of `tare image remove`.
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Names to remove; a digest removes all names of an image
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

/// Returns a sentence about removed files.
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
