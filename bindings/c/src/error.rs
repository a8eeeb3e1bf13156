// SPDX-License-Identifier: MIT OR Apache-2.0
//! Errors as C holds them: owned values with the kind, the errno and every text
//! ready to read.

use std::ffi::{CString, c_char};
use std::ptr;
use std::sync::{Arc, OnceLock};

use tare_core::{Error, Kind};

use crate::handle::{self, Noun};
use crate::table::Name;
use crate::value::value;

/// The caller's own words are wrong: a spec, a reference, an argument, a
/// handle.
pub const TARE_KIND_INVALID: u32 = 1;
/// The named image, file or program is not there.
pub const TARE_KIND_NOT_FOUND: u32 = 2;
/// Something is already where a new thing was to be made.
pub const TARE_KIND_EXISTS: u32 = 3;
/// The kernel or a file's mode says no.
pub const TARE_KIND_PERMISSION: u32 = 4;
/// This machine lacks a feature; the cure names the necessary change.
pub const TARE_KIND_UNSUPPORTED: u32 = 5;
/// Bytes from outside do not hold together: a wrong digest, a hostile archive.
pub const TARE_KIND_CORRUPT: u32 = 6;
/// No space, no memory, no descriptors, no handles left.
pub const TARE_KIND_EXHAUSTED: u32 = 7;
/// Another process holds the object.
pub const TARE_KIND_BUSY: u32 = 8;
/// The program was found but cannot be executed.
pub const TARE_KIND_NOT_EXECUTABLE: u32 = 9;
/// The sandbox, or the helper process, went away.
pub const TARE_KIND_BROKEN: u32 = 10;
/// Any other error of the operating system; see tare_error_errno().
pub const TARE_KIND_OS: u32 = 11;
/// A bug of the library: a panic, which ended this call alone.
pub const TARE_KIND_INTERNAL: u32 = 12;

/// The reason of a failed call. Owned by the caller, readable from any thread,
/// freed with tare_error_free().
pub struct tare_error {
    _opaque: [u8; 0],
}

/// The texts are made with the error, so that reading them cannot fail.
pub(crate) struct ErrorText {
    kind: u32,
    kind_name: CString,
    errno: i32,
    message: CString,
    step: CString,
    subject: CString,
    cure: Option<CString>,
}

impl Noun for ErrorText {
    type Handle = tare_error;
    const KIND: u8 = b'E';
}

impl ErrorText {
    fn new(error: &Error) -> Self {
        Self {
            kind: number(error.kind()),
            kind_name: c_text(error.kind().as_str()),
            errno: error.errno().unwrap_or(0),
            message: c_text(&error.to_string()),
            step: c_text(error.step()),
            subject: c_text(error.subject()),
            cure: error.cure().map(c_text),
        }
    }
}

/// Text that C can hold: a NUL inside is shown as `\0`.
pub(crate) fn c_text(text: &str) -> CString {
    CString::new(text.replace('\0', "\\0")).unwrap_or_default()
}

fn number(kind: Kind) -> u32 {
    match kind {
        Kind::Invalid => TARE_KIND_INVALID,
        Kind::NotFound => TARE_KIND_NOT_FOUND,
        Kind::Exists => TARE_KIND_EXISTS,
        Kind::Permission => TARE_KIND_PERMISSION,
        Kind::Unsupported => TARE_KIND_UNSUPPORTED,
        Kind::Corrupt => TARE_KIND_CORRUPT,
        Kind::Exhausted => TARE_KIND_EXHAUSTED,
        Kind::Busy => TARE_KIND_BUSY,
        Kind::NotExecutable => TARE_KIND_NOT_EXECUTABLE,
        Kind::Broken => TARE_KIND_BROKEN,
        Kind::Os => TARE_KIND_OS,
        // A kind that this face does not know is a bug of the library's own.
        _ => TARE_KIND_INTERNAL,
    }
}

/// The handle of the error for when there is no handle left: the same for
/// everybody, never freed.
const LAST_RESORT: Name = Name::reserved(ErrorText::KIND);

/// Hands an error over to the caller.
pub(crate) fn give(error: &Error) -> *mut tare_error {
    handle::try_give(Arc::new(ErrorText::new(error)))
        .unwrap_or_else(|| ptr::without_provenance_mut(LAST_RESORT.bits() as usize))
}

fn last_resort() -> &'static ErrorText {
    static TEXT: OnceLock<ErrorText> = OnceLock::new();
    TEXT.get_or_init(|| ErrorText::new(&handle::exhausted()))
}

/// A field of an error. Pointers into the error stay valid until
/// tare_error_free(): an error never moves.
fn field<T: Copy>(error: *const tare_error, none: T, read: impl FnOnce(&ErrorText) -> T) -> T {
    value(none, || {
        if error.addr() as u64 == LAST_RESORT.bits() {
            return Some(read(last_resort()));
        }
        let error = handle::get::<ErrorText>(error, "error").ok()?;
        Some(read(&error))
    })
}

/// The kind of error, coarse enough to branch on.
///
/// Returns: one of TARE_KIND_*; 0 for NULL or a handle that is no error.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_error_kind(error: *const tare_error) -> u32 {
    field(error, 0, |e| e.kind)
}

/// The kind as a word, for example `not_found`: the same word in every face.
///
/// Returns: text; NULL for NULL or a handle that is no error.
/// Ownership: the text lives as long as the error.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_error_kind_name(error: *const tare_error) -> *const c_char {
    field(error, ptr::null(), |e| e.kind_name.as_ptr())
}

/// The errno(3) of the system call that failed.
///
/// Returns: the errno; 0 if no system call failed, for NULL or a handle that is
/// no error.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_error_errno(error: *const tare_error) -> i32 {
    field(error, 0, |e| e.errno)
}

/// The whole error as a line: `step: subject: ERRNO (its text); try: cure`.
/// Control characters are escaped, so a name from an image cannot drive a
/// terminal.
///
/// Returns: text; NULL for NULL or a handle that is no error.
/// Ownership: the text lives as long as the error.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_error_message(error: *const tare_error) -> *const c_char {
    field(error, ptr::null(), |e| e.message.as_ptr())
}

/// The failed step, for example `mount overlay on /`. Not escaped: use the
/// message for terminals.
///
/// Returns: text; NULL for NULL or a handle that is no error.
/// Ownership: the text lives as long as the error.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_error_step(error: *const tare_error) -> *const c_char {
    field(error, ptr::null(), |e| e.step.as_ptr())
}

/// The subject of the step, for example `lowerdir "/x"`; may be empty. Not
/// escaped.
///
/// Returns: text; NULL for NULL or a handle that is no error.
/// Ownership: the text lives as long as the error.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_error_subject(error: *const tare_error) -> *const c_char {
    field(error, ptr::null(), |e| e.subject.as_ptr())
}

/// The setting, package or command that would cure the error. Not escaped.
///
/// Returns: text; NULL if no cure is known, for NULL or a handle that is no
/// error.
/// Ownership: the text lives as long as the error.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_error_cure(error: *const tare_error) -> *const c_char {
    field(error, ptr::null(), |e| {
        e.cure.as_ref().map_or(ptr::null(), |cure| cure.as_ptr())
    })
}

/// Frees an error. NULL and freed handles are ignored.
///
/// Ownership: takes `error`; its texts end.
/// Threads: any, if no thread uses those texts any more.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_error_free(error: *mut tare_error) {
    handle::free::<ErrorText>(error);
}
