// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the library does, line by line, told to a function of the caller's.

use std::ffi::{c_char, c_void};
use std::sync::{PoisonError, RwLock};

use log::{LevelFilter, Log, Metadata, Record};

use crate::error::c_text;
use crate::value::value;

/// What an image asks for and does not get: its notes.
pub const TARE_LOG_WARNING: u32 = 2;
/// What is opened, run, reset, closed, imported.
pub const TARE_LOG_DEBUG: u32 = 4;

/// Told one line, without a newline at its end, on the thread whose call it is about, or on the library's own
/// where tare_sandbox_begin() or tare_store_begin_import() has one; on several at once if several make calls. `level` is one of TARE_LOG_*, or between two of a later version's. `text` lives until the function returns. Must return: no longjmp(3), no C++ exception.
/// May use the library.
#[allow(non_camel_case_types, reason = "its name in C")]
pub type tare_log_fn =
    Option<unsafe extern "C" fn(data: *mut c_void, level: u32, text: *const c_char)>;

/// The caller's function.
#[derive(Clone, Copy)]
struct Told {
    function: unsafe extern "C" fn(data: *mut c_void, level: u32, text: *const c_char),
    data: *mut c_void,
}

// SAFETY: the caller's word that the function can be called with `data` on any thread.
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
        // Not held while the function runs: it may set another.
        let told = *TOLD.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(Told { function, data }) = told {
            let text = c_text(&record.args().to_string());
            // SAFETY: the caller's word (`tare_set_log`); `text` outlives the call.
            unsafe { function(data, record.level() as u32, text.as_ptr()) };
        }
    }

    fn flush(&self) {}
}

/// Has a function told what the library does in this process, a line each. Lines name programs, never arguments or
/// values of an environment. There is one function; another takes its place, and calls of other threads that have
/// begun may still tell the one before.
///
/// `function_or_null`: NULL for none. `data`: passed to it.
/// `level`: the highest that is told, one of TARE_LOG_*; 0 for nothing.
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
        // An error says that it is set already.
        let _ = log::set_logger(&ToCaller);
        log::set_max_level(filter);
        Some(())
    });
}
