// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the host, the spawner and the init say to each other: flat records, no allocation to read them.
//!
//! This file is compiled twice: into the library, and into the helper program
//! (`cfg(tare_init)`), which has no standard library and no allocator. Strings
//! are sent with their NUL, so that the reader hands them to the kernel where they lie.
//! See `docs/design.md`, "What goes over the wire?".

use core::ffi::CStr;

mod files;
#[cfg(any(test, feature = "bench"))]
pub(crate) mod fuzz;
mod message;
mod op;

pub(crate) use files::*;
pub(crate) use message::*;
pub(crate) use op::*;

/// First word of every message; changes whenever a record does.
pub(crate) const MAGIC: u32 = 0x7a5e_0005;

/// Bodies up to this size travel in the message, larger ones in a memfd.
pub(crate) const INLINE: usize = 64 << 10;

/// Most file descriptors in one message, SCM_RIGHTS' own bound (`SCM_MAX_FD`).
pub(crate) const MAX_FDS: usize = 253;

/// How many slots a list of operations has for file descriptors.
pub(crate) const SLOTS: usize = 320;

/// Reads records from a message body.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads from the beginning of `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether everything was read.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n)?;
        self.0 = tail;
        Some(head)
    }
}

/// A value that can be sent.
pub(crate) trait Field<'a>: Sized {
    /// Reads one, or `None` if the bytes end early or make no sense.
    fn get(from: &mut Reader<'a>) -> Option<Self>;

    /// Appends it.
    #[cfg(not(tare_init))]
    fn put(&self, to: &mut Vec<u8>);
}

macro_rules! number {
    ($($ty:ty),*) => {$(
        impl<'a> Field<'a> for $ty {
            fn get(from: &mut Reader<'a>) -> Option<Self> {
                let bytes = from.take(size_of::<$ty>())?;
                Some(<$ty>::from_ne_bytes(bytes.try_into().ok()?))
            }
            #[cfg(not(tare_init))]
            fn put(&self, to: &mut Vec<u8>) {
                to.extend_from_slice(&self.to_ne_bytes());
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

    #[cfg(not(tare_init))]
    fn put(&self, to: &mut Vec<u8>) {
        let len = u32::try_from(self.len()).expect("a message body is far below 4 GiB");
        len.put(to);
        to.extend_from_slice(self);
    }
}

impl<'a> Field<'a> for &'a CStr {
    fn get(from: &mut Reader<'a>) -> Option<Self> {
        CStr::from_bytes_with_nul(<&[u8]>::get(from)?).ok()
    }

    #[cfg(not(tare_init))]
    fn put(&self, to: &mut Vec<u8>) {
        self.to_bytes_with_nul().put(to);
    }
}

/// Any number of strings, one behind the other, each with its NUL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct List<'a>(&'a [u8]);

impl<'a> List<'a> {
    /// The strings in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a CStr> + use<'a> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let string = CStr::from_bytes_until_nul(rest).ok()?;
            rest = &rest[string.count_bytes() + 1..];
            Some(string)
        })
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The strings as they are sent, without the length before them.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.0
    }
}

impl<'a> Field<'a> for List<'a> {
    fn get(from: &mut Reader<'a>) -> Option<Self> {
        let bytes = <&[u8]>::get(from)?;
        matches!(bytes.last(), None | Some(0)).then_some(Self(bytes))
    }

    #[cfg(not(tare_init))]
    fn put(&self, to: &mut Vec<u8>) {
        self.0.put(to);
    }
}

/// The bytes behind a [`List`], to be built up.
#[cfg(not(tare_init))]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ListBuf(Vec<u8>);

#[cfg(not(tare_init))]
impl ListBuf {
    /// Appends one string.
    pub(crate) fn push(&mut self, string: &CStr) {
        self.0.extend_from_slice(string.to_bytes_with_nul());
    }

    /// The list so far.
    pub(crate) fn as_list(&self) -> List<'_> {
        List(&self.0)
    }
}

#[cfg(not(tare_init))]
impl<S: AsRef<CStr>> FromIterator<S> for ListBuf {
    fn from_iter<T: IntoIterator<Item = S>>(strings: T) -> Self {
        let mut list = Self::default();
        for string in strings {
            list.push(string.as_ref());
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_op_is_read_as_it_was_put() {
        let lowers: ListBuf = [c"/a", c"/b,c:d"].into_iter().collect();
        let none = ListBuf::default();
        let op = Op::NewOverlay {
            into: 3,
            stage: 1,
            lowers: lowers.as_list(),
            upper: c"u",
            work: c"w",
            options: none.as_list(),
            attrs: 7,
            flags: USERXATTR,
        };
        let mut bytes = Vec::new();
        op.put(&mut bytes);
        Op::MakePrivate {}.put(&mut bytes);
        let mut reader = Reader::new(&bytes);
        assert_eq!(Op::get(&mut reader), Some(op));
        assert_eq!(Op::get(&mut reader), Some(Op::MakePrivate {}));
        assert!(reader.is_empty());
        assert_eq!(lowers.as_list().iter().count(), 2);
    }

    #[test]
    fn wire_cut_bytes_are_refused_everywhere() {
        let mut bytes = Vec::new();
        Op::MakeLink {
            root: 1,
            path: c"a",
            target: c"b",
        }
        .put(&mut bytes);
        for cut in 0..bytes.len() {
            assert_eq!(Op::get(&mut Reader::new(&bytes[..cut])), None, "{cut}");
        }
    }

    #[test]
    fn wire_sizes_are_as_declared() {
        let mut bytes = Vec::new();
        Reply::new(READY, 0, 0, 0).put(&mut bytes);
        assert_eq!(bytes, Reply::new(READY, 0, 0, 0).to_bytes());
        bytes.clear();
        Header {
            magic: MAGIC,
            kind: 1,
            len: 0,
            in_memfd: 0,
        }
        .put(&mut bytes);
        assert_eq!(bytes.len(), HEADER);
    }
}
