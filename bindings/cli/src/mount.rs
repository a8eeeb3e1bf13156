// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tare mount` and `tare umount`: a copy-on-write view of an image on a
//! directory, without a sandbox.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tare::Result;
use tare::mount::Options;
use tare::spec::{ByteSize, Storage, Write};

use crate::store_flag::StoreFlag;
use crate::value;

/// Flags of `tare mount`.
#[derive(Debug, Args)]
pub(crate) struct Mount {
    /// As for `tare run`: `host` (the file system of / alone), `dir:PATH`,
    /// `oci:PATH[:TAG]`, `archive:FILE`, or a name in the store
    image: String,
    /// Directory to mount on
    dir: PathBuf,
    /// Target of writes: memory, disk or none
    #[arg(long, value_name = "WHERE", value_parser = value::word::<Write>)]
    write: Option<Write>,
    /// Back end of the view: auto, overlay or copy
    #[arg(long, value_name = "BACKEND", value_parser = value::word::<Storage>)]
    storage: Option<Storage>,
    /// Size of the writable layer when it is in memory
    #[arg(long, value_name = "SIZE")]
    disk: Option<ByteSize>,
}

/// Flags of `tare umount`.
#[derive(Debug, Args)]
pub(crate) struct Umount {
    /// Directory that `tare mount` mounted on
    dir: PathBuf,
    /// Detach at once, even if a process still uses it
    #[arg(short, long)]
    lazy: bool,
}

/// Mounts an image.
pub(crate) fn mount(store: &StoreFlag, flags: &Mount) -> Result<ExitCode> {
    let mut options = Options::default();
    options.write = flags.write.unwrap_or(options.write);
    options.storage = flags.storage.unwrap_or(options.storage);
    options.size = flags.disk;
    tare::mount::mount(&store.open()?, &flags.image, &flags.dir, &options)?;
    Ok(ExitCode::SUCCESS)
}

/// Unmounts a directory.
pub(crate) fn umount(store: &StoreFlag, flags: &Umount) -> Result<ExitCode> {
    tare::mount::umount(&store.open()?, &flags.dir, flags.lazy)?;
    Ok(ExitCode::SUCCESS)
}
