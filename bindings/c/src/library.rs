// SPDX-License-Identifier: MIT OR Apache-2.0
//! The library itself: version, built-in features, a report on this machine.

use std::ffi::{CString, c_char};
use std::ptr;
use std::sync::OnceLock;

use crate::bytes::tare_bytes;
use crate::error::{c_text, tare_error};
use crate::handle;
use crate::input;
use crate::out::set_json;
use crate::value::value;

/// The version that this header is of.
pub const TARE_VERSION_MAJOR: u32 = 0;
/// The version that this header is of.
pub const TARE_VERSION_MINOR: u32 = 1;
/// The version that this header is of.
pub const TARE_VERSION_PATCH: u32 = 0;

/// The version of the running library, for example `0.1.0`. A program may run
/// with a later version than its header's: it does not miss later additions.
///
/// Returns: text.
/// Ownership: the text is the library's and stays.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_version() -> *const c_char {
    static TEXT: OnceLock<CString> = OnceLock::new();
    let text = || Some(TEXT.get_or_init(|| c_text(tare_core::VERSION)).as_ptr());
    value(ptr::null(), text)
}

/// The library's built-in features, words with spaces between them: back ends,
/// sources of images, compressions.
///
/// Returns: text.
/// Ownership: the text is the library's and stays.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_features() -> *const c_char {
    static TEXT: OnceLock<CString> = OnceLock::new();
    let make = || c_text(&tare_core::FEATURES.join(" "));
    value(ptr::null(), || Some(TEXT.get_or_init(make).as_ptr()))
}

/// Tells whether a word is among tare_features().
///
/// Returns: 1 if the word is there, else 0, also for NULL.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_has_feature(feature: *const c_char) -> i32 {
    value(0, || {
        // SAFETY: the caller's word for `feature`.
        let word = unsafe { input::text(feature, "feature") }.ok()?;
        Some(i32::from(tare_core::FEATURES.contains(&word)))
    })
}

/// Counts the handles that the caller holds: stores, images, sandboxes,
/// processes, outputs, listings, bytes, errors. Freed handles do not count. For
/// tests that look for leaks: a leak checker cannot see handles, because the
/// library itself keeps a table of them.
///
/// Returns: the number.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_handle_count() -> u64 {
    value(0, || Some(handle::live() as u64))
}

/// Examines this machine for the calling user, which takes about 50 ms, and
/// changes nothing. The JSON object has `ok` (whether sandboxes can be opened
/// at all), `kernel`, `uid` and `checks`, a list of `{name, ok, matter, found,
/// cure}`.
///
/// `store_or_null`: the directory of the store; NULL for that of
/// tare_store_open(NULL).
///
/// Returns: NULL for any report.
/// Ownership: `*out` is the caller's, for tare_bytes_free().
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_doctor(
    store_or_null: *const c_char,
    out: *mut *mut tare_bytes,
) -> *mut tare_error {
    // SAFETY: the caller's word for both.
    unsafe {
        set_json(out, || {
            let store = input::optional_path(store_or_null, "store_or_null")?;
            Ok(tare_core::doctor(store))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_version_is_the_librarys() {
        let header = [TARE_VERSION_MAJOR, TARE_VERSION_MINOR, TARE_VERSION_PATCH];
        let header = header.map(|n| n.to_string()).join(".");
        assert_eq!(header, tare_core::VERSION);
    }
}
