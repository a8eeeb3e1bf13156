// SPDX-License-Identifier: MIT OR Apache-2.0
//! Output to the caller: checked before the work, written afterwards, and only
//! on success.

use std::marker::PhantomData;
use std::mem::size_of;
use std::ptr::NonNull;

use serde::Serialize;
use tare_core::Result;

use crate::bytes::{json, tare_bytes};
use crate::call::call;
use crate::error::tare_error;
use crate::handle::{self, Noun};
use crate::input::{Input, check, checked_size};

/// Makes a call that gives the caller a value at `out`.
///
/// # Safety
/// As [`Out::new`].
pub(crate) unsafe fn set<T>(out: *mut T, body: impl FnOnce() -> Result<T>) -> *mut tare_error {
    call(|| {
        // SAFETY: this function's own.
        let out = unsafe { Out::new(out, "out")? };
        out.set(body()?);
        Ok(())
    })
}

/// The same with a handle of an object.
///
/// # Safety
/// As [`Out::new`].
pub(crate) unsafe fn set_handle<T: Noun>(
    out: *mut *mut T::Handle,
    body: impl FnOnce() -> Result<T>,
) -> *mut tare_error {
    // SAFETY: this function's own.
    unsafe { set(out, || handle::give(body()?)) }
}

/// The same with JSON text.
///
/// # Safety
/// As [`Out::new`].
pub(crate) unsafe fn set_json<T: Serialize>(
    out: *mut *mut tare_bytes,
    body: impl FnOnce() -> Result<T>,
) -> *mut tare_error {
    // SAFETY: this function's own.
    unsafe { set(out, || json(&body()?)) }
}

/// The same with JSON text that the caller may leave out.
///
/// # Safety
/// As [`Out::optional`].
pub(crate) unsafe fn set_json_or_null<T: Serialize>(
    out_or_null: *mut *mut tare_bytes,
    name: &str,
    body: impl FnOnce() -> Result<T>,
) -> *mut tare_error {
    call(|| {
        // SAFETY: this function's own.
        let out = unsafe { Out::optional(out_or_null, name)? };
        let value = body()?;
        if let Some(out) = out {
            out.set(json(&value)?);
        }
        Ok(())
    })
}

/// The same with a struct.
///
/// # Safety
/// As [`OutStruct::new`].
pub(crate) unsafe fn set_struct<T: Input>(
    out: *mut T,
    body: impl FnOnce() -> Result<T>,
) -> *mut tare_error {
    call(|| {
        // SAFETY: this function's own.
        let out = unsafe { OutStruct::new(out)? };
        out.set(&body()?);
        Ok(())
    })
}

/// The same with a struct that the caller may leave out.
///
/// # Safety
/// As [`OutStruct::optional`].
pub(crate) unsafe fn set_struct_or_null<T: Input>(
    out_or_null: *mut T,
    body: impl FnOnce() -> Result<T>,
) -> *mut tare_error {
    match out_or_null.is_null() {
        true => call(|| body().map(drop)),
        // SAFETY: this function's own.
        false => unsafe { set_struct(out_or_null, body) },
    }
}

/// The place of an output value.
pub(crate) struct Out<T>(NonNull<T>);

impl<T> Out<T> {
    /// # Safety
    /// `at` is NULL or can be written to until the call returns.
    pub(crate) unsafe fn new(at: *mut T, name: &str) -> Result<Self> {
        check(at, name)?;
        // SAFETY: `check` refuses NULL.
        Ok(Self(unsafe { NonNull::new_unchecked(at) }))
    }

    /// The same for an optional value, where NULL leaves it out.
    ///
    /// # Safety
    /// As [`Out::new`].
    pub(crate) unsafe fn optional(at: *mut T, name: &str) -> Result<Option<Self>> {
        match at.is_null() {
            true => Ok(None),
            // SAFETY: as this function's own.
            false => unsafe { Self::new(at, name) }.map(Some),
        }
    }

    pub(crate) fn set(self, value: T) {
        // SAFETY: not NULL and aligned (`new`); the caller vouches that the
        // memory is writable.
        unsafe { self.0.write(value) };
    }
}

/// The place of an output struct, of the size that the caller knows.
pub(crate) struct OutStruct<T> {
    at: NonNull<u8>,
    size: usize,
    _what: PhantomData<T>,
}

impl<T: Input> OutStruct<T> {
    /// # Safety
    /// `at` is NULL or points to a struct whose first eight bytes are the size
    /// in bytes, all writable until the call returns.
    pub(crate) unsafe fn new(at: *mut T) -> Result<Self> {
        // SAFETY: as this function's own; NULL is refused.
        unsafe {
            let size = checked_size(at.cast(), T::NAME)?;
            Ok(Self {
                at: NonNull::new_unchecked(at).cast(),
                size,
                _what: PhantomData,
            })
        }
    }

    /// The same for an optional struct, where NULL leaves it out.
    ///
    /// # Safety
    /// As [`OutStruct::new`].
    pub(crate) unsafe fn optional(at: *mut T) -> Result<Option<Self>> {
        match at.is_null() {
            true => Ok(None),
            // SAFETY: as this function's own.
            false => unsafe { Self::new(at) }.map(Some),
        }
    }

    /// Writes as many bytes as the caller has room for, but keeps the caller's
    /// size; the rest becomes zero.
    pub(crate) fn set(self, value: &T) {
        const TAG: usize = size_of::<u64>();
        let known = self.size.min(size_of::<T>());
        // SAFETY: `known` bytes are there on both sides, `size` on the caller's
        // (`new`); an `Input` has no padding and no reference into the caller's
        // memory.
        unsafe {
            let from = (&raw const *value).cast::<u8>().add(TAG);
            let at = self.at.add(TAG);
            from.copy_to_nonoverlapping(at.as_ptr(), known - TAG);
            self.at.add(known).write_bytes(0, self.size - known);
        }
    }
}
