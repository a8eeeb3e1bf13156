// SPDX-License-Identifier: MIT OR Apache-2.0
//! The library itself: its version, what was built into it, what this machine can do.

use std::ffi::{CString, c_char};
use std::ptr;
use std::sync::OnceLock;

use crate::bytes::{give_json, tare_bytes};
use crate::call::call;
use crate::error::{c_text, tare_error};
use crate::handle;
use crate::input;
use crate::out::Out;
use crate::value::value;

/// The version that this header is of.
pub const TARE_VERSION_MAJOR: u32 = 0;
/// The version that this header is of.
pub const TARE_VERSION_MINOR: u32 = 1;
/// The version that this header is of.
pub const TARE_VERSION_PATCH: u32 = 0;

/// The version of the library that is running, for example `0.1.0`. A program may run with a
/// later one than it was compiled for: what that adds it does not miss.
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

/// What was built into the library, words with spaces between them: back ends, sources of
/// images, compressions.
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

/// Whether a word is one of tare_features().
///
/// Returns: 1 if it is, else 0, also for NULL.
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

/// How many handles the caller holds: stores, images, sandboxes, processes, outputs, listings, bytes,
/// errors. What was freed does not count. For tests that look for leaks: a leak checker cannot
/// see them, because the library itself knows them all.
///
/// Returns: the number.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_handle_count() -> u64 {
    value(0, || Some(handle::live() as u64))
}

/// Looks at what this machine can do for the calling user, which takes about 50 ms, and changes
/// nothing. The JSON object has `ok` (whether sandboxes can be opened at all), `kernel`, `uid`
/// and `checks`, a list of `{name, ok, matter, found, cure}`.
///
/// `store_or_null`: the directory of the store; NULL for the one of tare_store_open(NULL).
///
/// Returns: NULL for a report, whatever it says.
/// Ownership: `*out` is the caller's, for tare_bytes_free().
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_doctor(
    store_or_null: *const c_char,
    out: *mut *mut tare_bytes,
) -> *mut tare_error {
    call(|| {
        // SAFETY: the caller's word for both.
        let (store, out) = unsafe {
            (
                input::optional_path(store_or_null, "store_or_null")?,
                Out::new(out, "out")?,
            )
        };
        give_json(&tare_core::doctor(store), out)
    })
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
