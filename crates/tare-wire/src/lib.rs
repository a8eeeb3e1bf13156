// SPDX-License-Identifier: MIT OR Apache-2.0
//! Records that host, spawner and init exchange: flat, no allocation to read
//! them.
//!
//! An implementation detail of libtare, without any promise. Compiled twice:
//! into the library, which writes requests (`std`), and into the helper
//! program, which has neither a standard library nor an allocator. Strings are
//! sent with their NUL, so that the reader hands them to the kernel where they
//! lie. See `docs/design.md`, "What goes over the wire?".
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "std")]
extern crate std;

use core::ffi::CStr;
#[cfg(feature = "std")]
use std::vec::Vec;

mod escape;
mod files;
mod message;
mod op;
#[cfg(all(test, feature = "std"))]
mod tests;

pub use escape::*;
pub use files::*;
pub use message::*;
pub use op::*;

/// Directory of this crate's sources, for the build script that compiles the
/// helper.
#[doc(hidden)]
pub const MANIFEST_DIR: &str = env!("CARGO_MANIFEST_DIR");

/// First word of every message; changes whenever a record does.
pub const MAGIC: u32 = 0x7a5e_0005;

/// Bodies up to this size travel in the message, larger ones in a memfd.
pub const INLINE: usize = 64 << 10;

/// Most file descriptors in one message, SCM_RIGHTS' own bound (`SCM_MAX_FD`).
pub const MAX_FDS: usize = 253;

/// Slots for file descriptors in a list of operations.
pub const SLOTS: usize = 320;

/// Reads records from a message body.
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads from the beginning of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Returns whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes that were not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n)?;
        self.0 = tail;
        Some(head)
    }
}

/// Takes the bytes of records.
pub trait Sink {
    /// Appends bytes.
    fn add(&mut self, bytes: &[u8]);
}

#[cfg(feature = "std")]
impl Sink for Vec<u8> {
    fn add(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Memory that is long enough; afterwards the rest of it.
impl Sink for &mut [u8] {
    fn add(&mut self, bytes: &[u8]) {
        let (place, rest) = core::mem::take(self).split_at_mut(bytes.len());
        place.copy_from_slice(bytes);
        *self = rest;
    }
}

/// A value that can be sent.
pub trait Field<'a>: Sized {
    /// Reads a value, or `None` if the bytes end early or make no sense.
    fn get(from: &mut Reader<'a>) -> Option<Self>;

    /// Appends the value.
    fn put(&self, to: &mut impl Sink);
}

macro_rules! number {
    ($($ty:ty),*) => {$(
        impl<'a> Field<'a> for $ty {
            fn get(from: &mut Reader<'a>) -> Option<Self> {
                let bytes = from.take(size_of::<$ty>())?;
                Some(<$ty>::from_ne_bytes(bytes.try_into().ok()?))
            }
            fn put(&self, to: &mut impl Sink) {
                to.add(&self.to_ne_bytes());
            }
        }
    )*};
}
number!(u32, i32, u64);

impl<'a> Field<'a> for &'a [u8] {
    fn get(from: &mut Reader<'a>) -> Option<Self> {
        let len = u32::get(from)?;
        from.take(len as usize)
    }

    fn put(&self, to: &mut impl Sink) {
        let len = u32::try_from(self.len()).expect("a message body is far below 4 GiB");
        len.put(to);
        to.add(self);
    }
}

impl<'a> Field<'a> for &'a CStr {
    fn get(from: &mut Reader<'a>) -> Option<Self> {
        CStr::from_bytes_with_nul(<&[u8]>::get(from)?).ok()
    }

    fn put(&self, to: &mut impl Sink) {
        self.to_bytes_with_nul().put(to);
    }
}

/// Any number of strings in a row, each with a NUL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct List<'a>(&'a [u8]);

impl<'a> List<'a> {
    /// The strings in order.
    pub fn iter(&self) -> impl Iterator<Item = &'a CStr> + use<'a> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let string = CStr::from_bytes_until_nul(rest).ok()?;
            rest = &rest[string.count_bytes() + 1..];
            Some(string)
        })
    }

    /// Returns whether there are no strings.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The strings as they are sent, without the length before them.
    pub fn bytes(&self) -> &'a [u8] {
        self.0
    }
}

impl<'a> Field<'a> for List<'a> {
    fn get(from: &mut Reader<'a>) -> Option<Self> {
        let bytes = <&[u8]>::get(from)?;
        matches!(bytes.last(), None | Some(0)).then_some(Self(bytes))
    }

    fn put(&self, to: &mut impl Sink) {
        self.0.put(to);
    }
}

/// The bytes behind a [`List`], to be built up.
#[cfg(feature = "std")]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListBuf(Vec<u8>);

#[cfg(feature = "std")]
impl ListBuf {
    /// Appends a string.
    pub fn push(&mut self, string: &CStr) {
        self.0.extend_from_slice(string.to_bytes_with_nul());
    }

    /// The list so far.
    pub fn as_list(&self) -> List<'_> {
        List(&self.0)
    }
}

#[cfg(feature = "std")]
impl<S: AsRef<CStr>> FromIterator<S> for ListBuf {
    fn from_iter<T: IntoIterator<Item = S>>(strings: T) -> Self {
        let mut list = Self::default();
        for string in strings {
            list.push(string.as_ref());
        }
        list
    }
}
