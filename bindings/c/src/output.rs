// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finished commands: their end and their output.

use std::ffi::c_char;
use std::ptr;
use std::sync::Arc;

use tare_core::{Output, Result};

use crate::bytes::Bytes;
use crate::error::tare_error;
use crate::handle::{self, Noun};
use crate::out::{Out, set_struct};
use crate::status::tare_status;
use crate::value::value;

/// A finished command: its end and its output. Freed with tare_output_free().
pub struct tare_output {
    _opaque: [u8; 0],
}

pub(crate) struct OutputObject {
    status: tare_status,
    stdout: Bytes,
    stderr: Bytes,
}

impl Noun for OutputObject {
    type Handle = tare_output;
    const KIND: u8 = b'O';
}

impl OutputObject {
    pub(crate) fn new(output: Output) -> Self {
        Self {
            status: Some(output.status).into(),
            stdout: Bytes::new(output.stdout),
            stderr: Bytes::new(output.stderr),
        }
    }
}

fn get(output: *const tare_output) -> Result<Arc<OutputObject>> {
    handle::get(output, "output")
}

/// # Safety
/// `len_or_null` is NULL or can be written to.
unsafe fn bytes(
    output: *const tare_output,
    len_or_null: *mut usize,
    stream: fn(&OutputObject) -> &Bytes,
) -> *const c_char {
    value(ptr::null(), || {
        // SAFETY: the caller's word for `len_or_null`.
        let len = unsafe { Out::optional(len_or_null, "len_or_null") }.ok()?;
        let output = get(output).ok()?;
        let bytes = stream(&output);
        if let Some(len) = len {
            len.set(bytes.len());
        }
        Some(bytes.as_ptr())
    })
}

/// The end of the command.
///
/// Returns: NULL, or an error for a handle that is no output.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_output_status(
    output: *const tare_output,
    out: *mut tare_status,
) -> *mut tare_error {
    // SAFETY: the caller's word for `out`.
    unsafe { set_struct(out, || Ok(get(output)?.status)) }
}

/// Standard output of the command, or output to its terminal, with a NUL behind
/// the last byte.
///
/// `len_or_null`: gets the number of bytes, without that NUL.
///
/// Returns: the bytes; NULL for NULL or a handle that is no output.
/// Ownership: the bytes live as long as the output.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_output_stdout(
    output: *const tare_output,
    len_or_null: *mut usize,
) -> *const c_char {
    // SAFETY: the caller's word for `len_or_null`.
    unsafe { bytes(output, len_or_null, |output| &output.stdout) }
}

/// Standard error of the command, with a NUL behind the last byte.
///
/// `len_or_null`: gets the number of bytes, without that NUL.
///
/// Returns: the bytes; NULL for NULL or a handle that is no output.
/// Ownership: the bytes live as long as the output.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_output_stderr(
    output: *const tare_output,
    len_or_null: *mut usize,
) -> *const c_char {
    // SAFETY: the caller's word for `len_or_null`.
    unsafe { bytes(output, len_or_null, |output| &output.stderr) }
}

/// Frees an output. NULL and freed handles are ignored.
///
/// Ownership: takes `output`; its bytes end.
/// Threads: any, if no thread uses those bytes any more.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_output_free(output: *mut tare_output) {
    handle::free::<OutputObject>(output);
}
