// SPDX-License-Identifier: MIT OR Apache-2.0
//! The log: a function of the caller receives a line for each action of the
//! library.

use std::ffi::{c_char, c_void};
use std::sync::{PoisonError, RwLock};

use log::{LevelFilter, Log, Metadata, Record};

use crate::error::c_text;
use crate::value::value;

/// Notes of images, and keys of `best_effort` that were left out.
pub const TARE_LOG_WARNING: u32 = 2;
/// Opening, running, resetting, closing, importing.
pub const TARE_LOG_DEBUG: u32 = 4;

/// Receives a line, without a newline at its end, on the thread of the call, or
/// on a thread of the library for tare_sandbox_begin() and
/// tare_store_begin_import(); on several threads at once if several make calls.
/// `level` is one of TARE_LOG_*, or between two of a later version's. `text`
/// lives until the function returns. Must return: no longjmp(3), no C++
/// exception. May use the library.
pub type tare_log_fn =
    Option<unsafe extern "C" fn(data: *mut c_void, level: u32, text: *const c_char)>;

/// The caller's function.
#[derive(Clone, Copy)]
struct Told {
    function: unsafe extern "C" fn(data: *mut c_void, level: u32, text: *const c_char),
    data: *mut c_void,
}

// SAFETY: the caller's word that the function can be called with `data` on any
// thread.
unsafe impl Send for Told {}
// SAFETY: as above.
unsafe impl Sync for Told {}

static TOLD: RwLock<Option<Told>> = RwLock::new(None);

struct ToCaller;

impl Log for ToCaller {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        // Not held while the function runs, because the function may set
        // another.
        let told = *TOLD.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(Told { function, data }) = told {
            let text = c_text(&record.args().to_string());
            // SAFETY: the caller's word (`tare_set_log`); `text` outlives the
            // call.
            unsafe { function(data, record.level() as u32, text.as_ptr()) };
        }
    }

    fn flush(&self) {}
}

/// Registers a function that receives a line for each action of the library in
/// this process. Lines name programs, never arguments or values of an
/// environment. There is a single function; a later call replaces it, and
/// running calls of other threads may still use the earlier function.
///
/// `function_or_null`: NULL for no log. `data`: passed to the function.
/// `level`: the highest level reported, one of TARE_LOG_*; 0 for no lines.
///
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_set_log(
    function_or_null: tare_log_fn,
    data: *mut c_void,
    level: u32,
) {
    value((), || {
        let told = function_or_null.map(|function| Told { function, data });
        let filter = match (told.is_some(), level) {
            (false, _) | (_, 0) => LevelFilter::Off,
            (_, 1) => LevelFilter::Error,
            (_, TARE_LOG_WARNING) => LevelFilter::Warn,
            (_, 3) => LevelFilter::Info,
            _ => LevelFilter::Debug,
        };
        *TOLD.write().unwrap_or_else(PoisonError::into_inner) = told;
        // An error means that the logger is set already.
        let _ = log::set_logger(&ToCaller);
        log::set_max_level(filter);
        Some(())
    });
}
