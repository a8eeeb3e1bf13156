// SPDX-License-Identifier: MIT OR Apache-2.0
//! Output to the caller: checked before the work, written afterwards, and only
//! on success.

use std::marker::PhantomData;
use std::mem::size_of;
use std::ptr::NonNull;

use tare_core::Result;

use crate::input::{Input, check, checked_size};

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
