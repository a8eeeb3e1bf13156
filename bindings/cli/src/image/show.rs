// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tare image list` and `inspect`.
#![forbid(unsafe_code)]

use clap::Args;
use indicatif::BinaryBytes;
use tare::error::Quoted;
use tare::image::{Reference, Stored};
use tare::{Result, Store};

use super::progress::Bars;
use crate::text::{print, print_json, table};

/// Flags of `tare image list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Print the list as JSON
    #[arg(long)]
    json: bool,
}

/// Flags of `tare image inspect`.
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Name or digest in the store; an image from elsewhere is imported first
    #[arg(value_name = "REFERENCE")]
    reference: Reference,
}

pub(super) fn list(store: &Store, flags: &List) -> Result<()> {
    let images = store.images().list()?;
    if flags.json {
        return print_json(&images);
    }
    let head = [
        "NAME",
        "DIGEST",
        "ARCHITECTURE",
        "LAYERS",
        "SIZE",
        "CREATED",
    ]
    .map(str::to_owned);
    let rows: Vec<_> = std::iter::once(head)
        .chain(images.iter().map(row))
        .collect();
    print(&table(&rows))
}

fn row(stored: &Stored) -> [String; 6] {
    let shown = |text: Option<&str>| Quoted(text.unwrap_or("-")).to_string();
    let last = match &stored.damage {
        Some(damage) => Quoted(damage).to_string(),
        None => shown(stored.created.as_deref()),
    };
    [
        shown(stored.name.as_deref()),
        stored.digest.hex().chars().take(12).collect(),
        shown(Some(stored.architecture.as_str()).filter(|text| !text.is_empty())),
        stored.layers.to_string(),
        BinaryBytes(stored.size).to_string(),
        last,
    ]
}

pub(super) fn inspect(store: &Store, flags: &Inspect) -> Result<()> {
    let options = tare::image::ImportOptions::default();
    let image = store
        .images()
        .image_with(&flags.reference, &options, &mut Bars::new())?;
    print_json(&image)
}
