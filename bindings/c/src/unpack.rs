// SPDX-License-Identifier: MIT OR Apache-2.0
//! The first primitive: images and layers into plain directories, without a
//! store or a sandbox.

use std::ffi::c_char;
use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;

use serde_json::{Value, json};
use tare_core::image::layer::{self, OverlayXattr, Whiteouts};
use tare_core::image::{ImageConfig, Reference, UnpackOptions, unpack};
use tare_core::{Error, Result};

use crate::bytes::tare_bytes;
use crate::error::tare_error;
use crate::handle::wrong;
use crate::image::tare_import_options;
use crate::input;
use crate::out::{set_json, set_json_or_null};
use crate::store::{self, tare_store};

/// Turns whiteouts into those of overlayfs, so that the directory holds this
/// layer alone; without, they delete existing files of the directory.
pub const TARE_LAYER_OVERLAY: u64 = 1;
/// With TARE_LAYER_OVERLAY: opaque directories as overlays mounted with
/// `userxattr` have them.
pub const TARE_LAYER_USER_XATTR: u64 = 2;

/// Unpacks all layers of an image into a directory and verifies both digests of
/// each: the first primitive. After an error the directory is unchanged.
///
/// `store_or_null`: resolves names; with a store, an ordinary user's files
/// belong to subordinate ids. NULL needs no store, and knows `oci:` and
/// `archive:` only. `dir`: made, or empty. `options_or_null`: of these,
/// `select`, `platform`, `progress` and TARE_IMPORT_NO_SYNC matter; NULL for
/// the defaults. `config_or_null`: gets the image's configuration, the JSON
/// object that tare_image_inspect() has under `config`, with `notes`.
///
/// Returns: NULL, or an error: those of tare_store_import(), and
/// TARE_KIND_EXISTS if there is something in `dir`.
/// Ownership: `*config_or_null` is the caller's, for tare_bytes_free().
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_unpack(
    store_or_null: *const tare_store,
    reference: *const c_char,
    dir: *const c_char,
    options_or_null: *const tare_import_options,
    config_or_null: *mut *mut tare_bytes,
) -> *mut tare_error {
    // SAFETY: the caller's word for all of them.
    unsafe {
        set_json_or_null(config_or_null, "config_or_null", || {
            let reference: Reference = input::text(reference, "reference")?.parse()?;
            let dir = input::path(dir, "dir")?;
            let (options, mut progress) = input::read_or_zero(options_or_null)?.read()?;
            if !store_or_null.is_null() {
                let store = &store::get(store_or_null)?.store;
                return Ok(noted(&store.unpack(
                    &reference,
                    dir,
                    &options,
                    &mut progress,
                )?));
            }
            let options = UnpackOptions {
                select: options.select,
                platform: options.platform,
                sync: options.sync,
                ..UnpackOptions::default()
            };
            Ok(noted(&unpack(&reference, dir, options, &mut progress)?))
        })
    }
}

/// A configuration as JSON, with its notes.
fn noted(config: &ImageConfig) -> Value {
    let mut value = json!(config);
    value["notes"] = json!(config.notes);
    value
}

/// Unpacks a layer, a tar archive compressed by gzip, zstd or not at all, into
/// a directory without other writers. No file is made outside of the directory.
/// After an error the directory holds a part of the layer, to be thrown away.
///
/// `blob_fd`: read from its offset to its end; stays the caller's. `dir`: must
/// exist. `flags`: some of TARE_LAYER_*; 0 for a separate tree. `out`: gets a
/// JSON object with `blob_digest`, `blob_bytes`, `diff_id`, `diff_bytes`,
/// `entries`, `opaque_root` and `notes`. Compare both digests with the image's
/// before the files are used.
///
/// Returns: NULL, or an error: TARE_KIND_CORRUPT names the entry and its offset
/// in the archive.
/// Ownership: `*out` is the caller's, for tare_bytes_free().
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_unpack_layer(
    blob_fd: i32,
    dir: *const c_char,
    flags: u64,
    out: *mut *mut tare_bytes,
) -> *mut tare_error {
    // SAFETY: the caller's word for both.
    unsafe {
        set_json(out, || {
            let dir = input::path(dir, "dir")?;
            let blob = File::from(input::descriptor(blob_fd, "blob_fd")?);
            let (dir, options) = (directory(dir)?, layer_options(flags)?);
            layer::unpack(blob, dir.as_fd(), &options, &mut |_| {})
        })
    }
}

fn layer_options(flags: u64) -> Result<layer::Options> {
    let mut options = layer::Options::default();
    match flags {
        0 => {}
        TARE_LAYER_OVERLAY => options.whiteouts = Whiteouts::Convert,
        both if both == TARE_LAYER_OVERLAY | TARE_LAYER_USER_XATTR => {
            options.whiteouts = Whiteouts::Convert;
            options.overlay_xattr = OverlayXattr::User;
        }
        _ => return Err(wrong("flags", "is no sum of TARE_LAYER_*")),
    }
    Ok(options)
}

fn directory(dir: &Path) -> Result<File> {
    File::open(dir).map_err(|e| Error::io("unpack layer", format_args!("{dir:?}"), e))
}
