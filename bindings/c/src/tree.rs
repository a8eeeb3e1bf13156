// SPDX-License-Identifier: MIT OR Apache-2.0
//! Trees: a copy-on-write view of an image on a directory, without a sandbox.

use std::ffi::c_char;

use tare_core::mount::{self, Options};

use crate::call::call;
use crate::error::tare_error;
use crate::handle::wrong;
use crate::input;
use crate::store::{self, tare_store};

/// Out of sight at once, even in use; removed when the last user has ended.
pub const TARE_UNMOUNT_LAZY: u64 = 1;

/// Mounts a copy-on-write view of an image on a directory: the second
/// primitive. For root. The mount outlives this process, until
/// tare_tree_unmount() or the next boot.
///
/// `reference`: as for tare_store_image(). `dir`: is there. `options_json`,
/// `options_len`: a JSON object with `write` (`memory`, `disk`, `none`),
/// `storage` (`auto`, `overlay`, `copy`) and `size` (of the writable layer in
/// memory), each with the default that the spec has; NULL and 0 for the
/// defaults.
///
/// Returns: NULL, or an error: TARE_KIND_PERMISSION for ordinary users,
/// TARE_KIND_NOT_FOUND for a missing image or directory. Nothing is left behind
/// then.
/// Threads: any, at once. The mount is made in the mount namespace of the
/// calling process.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_tree_mount(
    store: *const tare_store,
    reference: *const c_char,
    dir: *const c_char,
    options_json: *const c_char,
    options_len: usize,
) -> *mut tare_error {
    call(|| {
        // SAFETY: the caller's word for all of them.
        let (reference, dir, json) = unsafe {
            (
                input::text(reference, "reference")?,
                input::path(dir, "dir")?,
                input::json(options_json, options_len, "options_json")?,
            )
        };
        let options = Options::from_json(json)?;
        mount::mount(&store::get(store)?.store, reference, dir, &options)
    })
}

/// Undoes tare_tree_mount(), and removes the writes from the disk.
///
/// `flags`: 0 or TARE_UNMOUNT_LAZY.
///
/// Returns: NULL, or an error: TARE_KIND_NOT_FOUND if no view of this store is
/// mounted there, TARE_KIND_BUSY if the view is in use, or covered by another
/// mount.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_tree_unmount(
    store: *const tare_store,
    dir: *const c_char,
    flags: u64,
) -> *mut tare_error {
    call(|| {
        // SAFETY: the caller's word for `dir`.
        let dir = unsafe { input::path(dir, "dir")? };
        let lazy = match flags {
            0 => false,
            TARE_UNMOUNT_LAZY => true,
            _ => return Err(wrong("flags", "is neither 0 nor TARE_UNMOUNT_LAZY")),
        };
        mount::umount(&store::get(store)?.store, dir, lazy)
    })
}
