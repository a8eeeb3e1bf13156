// SPDX-License-Identifier: MIT OR Apache-2.0
//! The store: opening, listing, cleaning.

use std::ffi::{CString, c_char};
use std::os::unix::ffi::OsStrExt as _;
use std::ptr;
use std::sync::Arc;

use tare_core::Store;
use tare_core::image::{Collected, Reference};

use crate::bytes::tare_bytes;
use crate::call::call;
use crate::error::tare_error;
use crate::handle::{self, Noun};
use crate::input::{self, Input};
use crate::out::{Out, set_handle, set_json, set_struct_or_null};
use crate::value::value;

/// Images on disk, and the helper process that makes sandboxes from them. Freed
/// with tare_store_free(); sandboxes and images of the store may outlive the
/// handle.
pub struct tare_store {
    _opaque: [u8; 0],
}

pub(crate) struct StoreObject {
    pub(crate) store: Store,
    path: CString,
}

impl Noun for StoreObject {
    type Handle = tare_store;
    const KIND: u8 = b'S';
}

/// The result of tare_store_recover().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tare_recovered {
    /// sizeof(tare_recovered), set by the caller.
    pub size: u64,
    /// Directories of work in progress that were removed.
    pub scratch: u64,
    /// Cgroups that were removed.
    pub cgroups: u64,
    /// Number of leftovers that could not be removed.
    pub left: u64,
}

// SAFETY: `repr(C)`, begins with the size, numbers only.
unsafe impl Input for tare_recovered {
    const NAME: &'static str = "tare_recovered";
}

/// The result of tare_store_remove() and tare_store_gc().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tare_collected {
    /// sizeof(tare_collected), set by the caller.
    pub size: u64,
    /// Blobs removed.
    pub blobs: u64,
    /// Bytes of these blobs.
    pub bytes: u64,
    /// Unpacked layers removed.
    pub layers: u64,
    /// Unpacked layers that no image needs but that are in use; a later
    /// collection takes them.
    pub in_use: u64,
}

// SAFETY: `repr(C)`, begins with the size, numbers only.
unsafe impl Input for tare_collected {
    const NAME: &'static str = "tare_collected";
}

impl From<Collected> for tare_collected {
    fn from(collected: Collected) -> Self {
        Self {
            size: 0,
            blobs: collected.blobs as u64,
            bytes: collected.bytes,
            layers: collected.layers as u64,
            in_use: collected.in_use as u64,
        }
    }
}

/// The store behind a handle.
pub(crate) fn get(store: *const tare_store) -> tare_core::Result<Arc<StoreObject>> {
    handle::get(store, "store")
}

/// Opens a store; makes a missing one, and removes leftovers of killed
/// processes.
///
/// `path_or_null`: the directory; NULL for `$TARE_STORE`, else `/var/lib/tare`
/// for root, else `$XDG_DATA_HOME/tare`. In a set-user-id program the
/// environment does not count: users other than root must give a path.
///
/// Returns: NULL, or an error: TARE_KIND_PERMISSION, TARE_KIND_EXHAUSTED, or
/// that of open(2).
/// Ownership: `*out` is the caller's, for tare_store_free().
/// Threads: any, at once; a store may be open any number of times, in any
/// number of processes.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_store_open(
    path_or_null: *const c_char,
    out: *mut *mut tare_store,
) -> *mut tare_error {
    // SAFETY: the caller's word for both.
    unsafe {
        set_handle(out, || {
            let store = match input::optional_path(path_or_null, "path_or_null")? {
                Some(path) => Store::open(path)?,
                None => Store::open_default()?,
            };
            let bytes = store.images().path().as_os_str().as_bytes();
            let path = CString::new(bytes).map_err(|_| handle::wrong("path", "holds a NUL"))?;
            Ok(StoreObject { store, path })
        })
    }
}

/// Frees the handle of a store. The helper process ends with the store's last
/// handle, sandbox and process. NULL and freed handles are ignored.
///
/// Ownership: takes `store`.
/// Threads: any; running calls in other threads continue.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_store_free(store: *mut tare_store) {
    handle::free::<StoreObject>(store);
}

/// The store's directory, absolute.
///
/// Returns: text; NULL for NULL or a handle that is no store.
/// Ownership: the text lives as long as the store's handle.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_store_path(store: *const tare_store) -> *const c_char {
    value(ptr::null(), || Some(get(store).ok()?.path.as_ptr()))
}

/// Removes leftovers of killed processes: work in progress, cgroups. Opening a
/// store does the same. Ends the prestarted sandbox of this store, which
/// otherwise waits for five seconds.
///
/// Returns: NULL, or an error of reading the store; leftovers that cannot be
/// removed are only counted.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_store_recover(
    store: *const tare_store,
    out_or_null: *mut tare_recovered,
) -> *mut tare_error {
    // SAFETY: the caller's word for `out_or_null`.
    unsafe {
        set_struct_or_null(out_or_null, || {
            let recovered = get(store)?.store.recover()?;
            Ok(tare_recovered {
                size: 0,
                scratch: recovered.scratch as u64,
                cgroups: recovered.cgroups as u64,
                left: recovered.left as u64,
            })
        })
    }
}

/// Lists the images of the store: a JSON list of `{name, digest, size, created,
/// architecture, layers, damage}`, one entry for each name.
///
/// Returns: NULL, or an error of reading the index; an unreadable image is
/// listed with its damage.
/// Ownership: `*out` is the caller's, for tare_bytes_free().
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_store_list(
    store: *const tare_store,
    out: *mut *mut tare_bytes,
) -> *mut tare_error {
    // SAFETY: the caller's word for `out`.
    unsafe { set_json(out, || get(store)?.store.images().list()) }
}

/// Files an image of the store under an additional name; another image with
/// this name loses it.
///
/// `reference`: a name or a digest in the store. `name`: `NAME[:TAG]`.
///
/// Returns: NULL, or an error: TARE_KIND_NOT_FOUND, TARE_KIND_INVALID for an
/// invalid name.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_store_tag(
    store: *const tare_store,
    reference: *const c_char,
    name: *const c_char,
) -> *mut tare_error {
    call(|| {
        // SAFETY: the caller's word for both.
        let (reference, name) = unsafe {
            (
                input::text(reference, "reference")?,
                input::text(name, "name")?,
            )
        };
        let images = get(store)?.store.images().clone();
        images.tag(&reference.parse::<Reference>()?, &name.parse()?)
    })
}

/// Takes a name, or with a digest the whole image, out of the store, and
/// removes unneeded blobs and layers. Layers in use stay until a later
/// collection.
///
/// Returns: NULL, or an error: TARE_KIND_NOT_FOUND.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_store_remove(
    store: *const tare_store,
    reference: *const c_char,
    out_or_null: *mut tare_collected,
) -> *mut tare_error {
    // SAFETY: the caller's word for both.
    unsafe {
        set_struct_or_null(out_or_null, || {
            let reference = input::text(reference, "reference")?.parse()?;
            Ok(get(store)?.store.images().remove(&reference)?.into())
        })
    }
}

/// Removes blobs and layers that no image of the store needs and no process
/// uses.
///
/// Returns: NULL, or an error: TARE_KIND_CORRUPT if the needed blobs cannot be
/// determined; then nothing is removed.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_store_gc(
    store: *const tare_store,
    out_or_null: *mut tare_collected,
) -> *mut tare_error {
    // SAFETY: the caller's word for `out_or_null`.
    unsafe { set_struct_or_null(out_or_null, || Ok(get(store)?.store.images().gc()?.into())) }
}

/// Reads every blob and compares the digest; checks that every image has its
/// parts. Changes nothing. The JSON object has `images`, `blobs`, `bytes`,
/// `layers` and `problems`, a list of `{subject, why}`, empty for a sound
/// store.
///
/// Returns: NULL for any report, or an error of reading the directories.
/// Ownership: `*out` is the caller's, for tare_bytes_free().
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_store_check(
    store: *const tare_store,
    out: *mut *mut tare_bytes,
) -> *mut tare_error {
    // SAFETY: the caller's word for `out`.
    unsafe { set_json(out, || get(store)?.store.images().check()) }
}

/// Checks the store as tare_store_check() does and removes damaged parts, so
/// that the next import brings them again. Replaces a lost or unreadable index
/// by one of the manifests among the blobs: names are lost, and the old file is
/// kept as `index.json.damaged`.
///
/// `removed_or_null`: gets the number of blobs and layers that were removed.
///
/// Returns: NULL, or an error of reading or changing the store.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_store_repair(
    store: *const tare_store,
    removed_or_null: *mut u64,
) -> *mut tare_error {
    call(|| {
        // SAFETY: the caller's word for `removed_or_null`.
        let out = unsafe { Out::optional(removed_or_null, "removed_or_null")? };
        let images = get(store)?.store.images().clone();
        let repaired = images.repair(&images.check()?)?;
        if let Some(out) = out {
            out.set(repaired.removed as u64);
        }
        Ok(())
    })
}
