// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tare image import`, `load` and `unpack`.
#![forbid(unsafe_code)]

use std::io::IsTerminal as _;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use clap::Args;
use tare::error::Quoted;
use tare::image::{Image, ImportOptions, Platform, Reference};
use tare::{Error, Kind, Result, Store};

use super::progress::Bars;
use crate::failure::say;
use crate::text::print;

/// Flags of `tare image import`.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// `oci:PATH[:TAG]` or `archive:FILE`
    #[arg(value_name = "REFERENCE")]
    reference: Reference,
    /// Name for the image, `NAME[:TAG]`; another image with the name loses it
    #[arg(value_name = "NAME")]
    names: Vec<Reference>,
    /// Further name, as a flag
    #[arg(long = "name", value_name = "NAME")]
    more_names: Vec<Reference>,
    /// Image of an archive with several, by its name there
    #[arg(long, value_name = "NAME")]
    select: Option<String>,
    #[command(flatten)]
    layers: Layers,
}

/// Flags of `tare image load`.
#[derive(Debug, Args)]
pub(crate) struct Load {
    /// File of docker-save(1) or skopeo(1) [default: standard input]
    file: Option<PathBuf>,
    /// FILE as a flag, as in docker-load(1)
    #[arg(short, long, value_name = "FILE", conflicts_with = "file")]
    input: Option<PathBuf>,
    /// Only the image of this name there [default: every image]
    #[arg(long, value_name = "NAME")]
    select: Option<String>,
    #[command(flatten)]
    layers: Layers,
}

/// Flags of `tare image unpack`.
#[derive(Debug, Args)]
pub(crate) struct Unpack {
    /// `oci:PATH[:TAG]`, `archive:FILE`, or a name in the store
    #[arg(value_name = "REFERENCE")]
    reference: Reference,
    /// Directory to unpack into; made if missing, else empty
    dir: PathBuf,
    /// Image of an archive with several, by its name there
    #[arg(long, value_name = "NAME")]
    select: Option<String>,
    #[command(flatten)]
    layers: Layers,
}

/// Flags for the layers that are read.
#[derive(Debug, Args)]
struct Layers {
    /// OS/ARCHITECTURE[/VARIANT] of an index [default: this machine's]
    #[arg(long)]
    platform: Option<Platform>,
    /// Return before the files are on the disk: a power cut may leave them
    /// damaged or absent
    #[arg(long)]
    no_sync: bool,
}

impl Layers {
    /// Returns the options to read the image `select` of an archive.
    fn options(&self, select: &Option<String>) -> ImportOptions {
        ImportOptions {
            select: select.clone(),
            platform: self.platform.clone(),
            sync: !self.no_sync,
            ..ImportOptions::default()
        }
    }
}

pub(super) fn import(store: &Store, flags: &Import) -> Result<()> {
    let what = &flags.reference;
    if let Reference::Host | Reference::Dir(_) = what {
        let why = format!("{what} is used in place: there is nothing to import");
        let error = Error::new(Kind::Invalid, "import image", why);
        return Err(error.with_cure(format!("tare run {what}")));
    }
    let names: Vec<Reference> = [&flags.names, &flags.more_names]
        .into_iter()
        .flatten()
        .cloned()
        .collect();
    let mut options = flags.layers.options(&flags.select);
    options.names.clone_from(&names);
    let image = store.images().import(what, &options, &mut Bars::new())?;
    let names: Vec<String> = names.iter().filter_map(Reference::stored_name).collect();
    told(&image, &names)
}

pub(super) fn load(store: &Store, flags: &Load) -> Result<()> {
    let file = flags.file.iter().chain(&flags.input).next();
    let options = flags.layers.options(&flags.select);
    let images = match file.filter(|file| *file != Path::new("-")) {
        Some(file) => {
            let reference = Reference::Archive(file.clone());
            store.images().load(&reference, &options, &mut Bars::new())
        }
        None => from_input(store, &options),
    }?;
    let all = store.images().list()?;
    images.iter().try_for_each(|image| {
        let stored = all.iter().filter(|s| Some(&s.digest) == image.digest());
        let names: Vec<String> = stored.filter_map(|s| s.name.clone()).collect();
        told(image, &names)
    })
}

fn from_input(store: &Store, options: &ImportOptions) -> Result<Vec<Image>> {
    let input = std::io::stdin();
    if input.is_terminal() {
        let why = "standard input is a terminal";
        let cure = "tare image load FILE, or: docker save NAME | tare image load";
        return Err(Error::new(Kind::Invalid, "load image", why).with_cure(cure));
    }
    store
        .images()
        .load_from(input.as_fd(), options, &mut Bars::new())
}

/// Prints the digest, which names the image for good, and the names; prints
/// notes on standard error.
fn told(image: &Image, names: &[String]) -> Result<()> {
    noted(image.notes());
    let digest = image.digest().map(ToString::to_string).unwrap_or_default();
    let mut words = vec![digest];
    words.extend_from_slice(names);
    print(&format!("{}\n", words.join(" ")))
}

pub(super) fn unpack(store: &Store, flags: &Unpack) -> Result<()> {
    let options = flags.layers.options(&flags.select);
    store
        .unpack(&flags.reference, &flags.dir, &options, &mut Bars::new())
        .map(|config| noted(&config.notes))
}

fn noted(notes: &[String]) {
    for note in notes {
        say(format_args!("note: {}", Quoted(note)));
    }
}
