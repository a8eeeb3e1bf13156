// SPDX-License-Identifier: MIT OR Apache-2.0
//! Listing a directory of a sandbox, entry by entry.

use std::ffi::{CString, c_char};
use std::os::unix::ffi::OsStrExt as _;
use std::ptr;
use std::sync::{Mutex, PoisonError};

use tare_core::files::ReadDir;

use crate::call::call;
use crate::error::tare_error;
use crate::handle::{self, Noun};
use crate::input;
use crate::out::{Out, OutStruct, set_handle};
use crate::sandbox::tare_sandbox;
use crate::stat::tare_stat;
use crate::user::reach;

/// A directory of a sandbox that is being listed. Freed with tare_dir_free().
pub struct tare_dir {
    _opaque: [u8; 0],
}

struct Listing {
    entries: ReadDir,
    /// The name returned last: the caller may still read the text.
    name: CString,
}

struct Directory(Mutex<Listing>);

impl Noun for Directory {
    type Handle = tare_dir;
    const KIND: u8 = b'D';
}

/// Begins to list a directory of the sandbox.
///
/// Returns: NULL, or an error: those of open(2).
/// Ownership: `*out` is the caller's, for tare_dir_free().
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_dir_open(
    sandbox: *const tare_sandbox,
    path: *const c_char,
    out: *mut *mut tare_dir,
) -> *mut tare_error {
    // SAFETY: the caller's word for both.
    unsafe {
        set_handle(out, || {
            let path = input::path(path, "path")?;
            let entries = reach(sandbox)?.files().read_dir(path)?;
            let name = CString::default();
            Ok(Directory(Mutex::new(Listing { entries, name })))
        })
    }
}

/// Reads the next entry, without `.` and `..`, in no order. A file made or
/// removed meanwhile may or may not be listed.
///
/// `stat_or_null`: gets the entry's metadata, of a link itself. `name`: gets
/// the entry's name, any bytes but `/`; NULL after the last entry.
///
/// Returns: NULL, or an error: those of getdents(2).
/// Ownership: the name belongs to the directory's handle, until the next call
/// for the handle or its end.
/// Threads: any, one at a time for each directory.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_dir_next(
    dir: *mut tare_dir,
    stat_or_null: *mut tare_stat,
    name: *mut *const c_char,
) -> *mut tare_error {
    call(|| {
        // SAFETY: the caller's word for both.
        let (stat, out) = unsafe { (OutStruct::optional(stat_or_null)?, Out::new(name, "name")?) };
        let dir = handle::get::<Directory>(dir, "dir")?;
        let mut listing = dir.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = listing.entries.next().transpose()? else {
            out.set(ptr::null());
            return Ok(());
        };
        // A name came out of a list that ends each with a NUL.
        listing.name = CString::new(entry.file_name().as_bytes()).unwrap_or_default();
        if let Some(stat) = stat {
            stat.set(&entry.metadata().into());
        }
        out.set(listing.name.as_ptr());
        Ok(())
    })
}

/// Ends a listing. NULL and freed handles are ignored.
///
/// Ownership: takes `dir`; its last name ends.
/// Threads: any, if no thread uses that name any more.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_dir_free(dir: *mut tare_dir) {
    handle::free::<Directory>(dir);
}
