// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bytes that a call returns: JSON text, output of commands, contents of files.

use std::ffi::c_char;
use std::ptr;

use serde::Serialize;
use tare_core::{Error, Kind, Result};

use crate::handle::{self, Noun};
use crate::value::value;

/// Bytes that a call returned, most often JSON text. Owned by the caller, freed
/// with tare_bytes_free().
pub struct tare_bytes {
    _opaque: [u8; 0],
}

/// The bytes with a NUL behind them.
pub(crate) struct Bytes(Vec<u8>);

impl Noun for Bytes {
    type Handle = tare_bytes;
    const KIND: u8 = b'B';
}

impl Bytes {
    pub(crate) fn new(mut bytes: Vec<u8>) -> Self {
        bytes.push(0);
        Self(bytes)
    }

    pub(crate) fn as_ptr(&self) -> *const c_char {
        self.0.as_ptr().cast()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len() - 1
    }
}

/// Hands JSON text over to the caller.
pub(crate) fn json(value: &impl Serialize) -> Result<*mut tare_bytes> {
    let wrong = |e| Error::new(Kind::Internal, "write JSON", e);
    handle::give(Bytes::new(serde_json::to_vec(value).map_err(wrong)?))
}

/// The bytes themselves, with a NUL behind the last, so that JSON can be read
/// as a string.
///
/// Returns: a pointer to tare_bytes_len() bytes; NULL for NULL or a handle that
/// is no bytes.
/// Ownership: the memory lives as long as `bytes`.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_bytes_data(bytes: *const tare_bytes) -> *const c_char {
    value(ptr::null(), || {
        let bytes = handle::get::<Bytes>(bytes, "bytes").ok()?;
        Some(bytes.as_ptr())
    })
}

/// Returns the number of bytes, without the NUL behind them.
///
/// Returns: the number; 0 for NULL or a handle that is no bytes.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_bytes_len(bytes: *const tare_bytes) -> usize {
    value(0, || {
        let bytes = handle::get::<Bytes>(bytes, "bytes").ok()?;
        Some(bytes.len())
    })
}

/// Frees bytes. NULL and freed handles are ignored.
///
/// Ownership: takes `bytes`; pointers into `bytes` end.
/// Threads: any, if no thread uses those pointers any more.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_bytes_free(bytes: *mut tare_bytes) {
    handle::free::<Bytes>(bytes);
}
