// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory without an allocator: mappings, and tables in them.

use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::sys::{self, MADV_DOFORK, MADV_DONTFORK, MADV_DONTNEED, Result};

/// Memory of its own, unmapped when it goes out of scope.
pub(crate) struct Mapping {
    at: *mut u8,
    len: usize,
}

impl Mapping {
    pub(crate) fn anonymous(len: usize) -> Result<Self> {
        let len = len.max(1);
        sys::map_anonymous(len).map(|at| Self { at, len })
    }

    /// The same for what is there until the process ends: in a row behind the program, where it takes no page tables of
    /// its own, of which every sandbox would pay four.
    pub(crate) fn lasting(len: usize) -> Result<Self> {
        const PAGE: usize = 4096;
        /// The first address behind the last such mapping, less that of the program's end.
        static TAKEN: AtomicUsize = AtomicUsize::new(0);
        unsafe extern "C" {
            /// Where the program ends; the linker's.
            safe static _end: u8;
        }
        let len = len.max(1);
        let behind = (&raw const _end as usize).next_multiple_of(PAGE);
        let at = behind + TAKEN.fetch_add(len.next_multiple_of(PAGE), Ordering::Relaxed);
        // Where something is, it stays.
        let mapped = sys::map_anonymous_at(at, len).or_else(|_| sys::map_anonymous(len));
        mapped.map(|at| Self { at, len })
    }

    /// Leaves it out of what children get a copy of, or not: MADV_DONTFORK, MADV_DOFORK.
    pub(crate) fn for_children(&self, copied: bool) -> Result<()> {
        let advice = if copied { MADV_DOFORK } else { MADV_DONTFORK };
        // SAFETY: neither changes what the pages hold.
        unsafe { sys::advise(self.at, self.len, advice) }
    }

    /// The content of a sealed memfd; a private mapping, so that it too may be written.
    pub(crate) fn file(fd: i32, len: usize) -> Result<Self> {
        let len = len.max(1);
        sys::map_file(fd, len).map(|at| Self { at, len })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: mmap gave `len` readable bytes, which stay mapped as long as `self`.
        unsafe { core::slice::from_raw_parts(self.at, self.len) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, writable; `&mut self` makes the access exclusive.
        unsafe { core::slice::from_raw_parts_mut(self.at, self.len) }
    }

    /// Gives up ownership: address and length, for [`Mapping::from_raw`].
    pub(crate) fn into_raw(self) -> (usize, usize) {
        let this = ManuallyDrop::new(self);
        (this.at as usize, this.len)
    }

    /// Takes ownership back of what [`Mapping::into_raw`] gave; zeros are nothing.
    ///
    /// # Safety
    /// The pair comes from `into_raw`, in this process or in a parent that had a
    /// copy made for this one, and is taken back once.
    pub(crate) unsafe fn from_raw((at, len): (usize, usize)) -> Self {
        match at {
            0 => Self::default(),
            at => Self {
                at: at as *mut u8,
                len,
            },
        }
    }

    /// The same memory as machine words.
    pub(crate) fn words_mut(&mut self) -> &mut [usize] {
        // SAFETY: as above; mmap aligns to a page, and any bits are a valid usize.
        unsafe { core::slice::from_raw_parts_mut(self.at.cast(), self.len / size_of::<usize>()) }
    }
}

impl Default for Mapping {
    /// Nothing.
    fn default() -> Self {
        Self {
            at: core::ptr::NonNull::dangling().as_ptr(),
            len: 0,
        }
    }
}

/// Types for which all-zero bytes are a value.
///
/// # Safety
/// Every field must be an integer.
pub(crate) unsafe trait Zeroable {}

/// A table in memory of its own: rows that were never touched cost nothing.
pub(crate) struct Table<T> {
    rows: Mapping,
    _kind: core::marker::PhantomData<T>,
}

impl<T: Zeroable> Table<T> {
    pub(crate) fn new(rows: usize) -> Result<Self> {
        Mapping::anonymous(rows * size_of::<T>()).map(Self::within)
    }

    /// The same, as [`Mapping::lasting`].
    pub(crate) fn lasting(rows: usize) -> Result<Self> {
        Mapping::lasting(rows * size_of::<T>()).map(Self::within)
    }

    /// The same, of which no child has a copy.
    pub(crate) fn own(rows: usize) -> Result<Self> {
        let table = Self::new(rows)?;
        table.rows.for_children(false)?;
        Ok(table)
    }

    fn within(rows: Mapping) -> Self {
        Self {
            rows,
            _kind: core::marker::PhantomData,
        }
    }

    pub(crate) fn rows(&mut self) -> &mut [T] {
        let n = self.rows.len / size_of::<T>();
        // SAFETY: the memory is page-aligned, exclusively ours, and zero or written through this slice;
        // `Zeroable` says that zero is a value.
        unsafe { core::slice::from_raw_parts_mut(self.rows.at.cast(), n) }
    }
}

impl<T: Zeroable> Table<T> {
    /// Writes a row without a look at the old one, which owns nothing: an
    /// assignment drops the old row, so reads the page before writing.
    pub(crate) fn fill(&mut self, at: usize, row: T) {
        let place = &raw mut self.rows()[at];
        // SAFETY: the place is a row of the table, borrowed mutably.
        unsafe { place.write(row) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: `self` owns the pages and is gone now.
            unsafe { sys::unmap(self.at, self.len) }
        }
    }
}

/// Gives back the stack that functions which have returned have used; the caller's own frame must be small.
pub(crate) fn release_stack() {
    const PAGE: usize = 4096;
    /// RLIMIT_STACK of a host may be small, and the stack with it: what is not mapped is passed over, as ENOMEM.
    const DEEPEST: usize = 64 << 10;
    let here = 0u8;
    // Two pages for what is called from here.
    let top = (&raw const here as usize & !(PAGE - 1)) - 2 * PAGE;
    // SAFETY: two pages below this frame no frame is in use, and no pointer into frames that have returned is left.
    let _ = unsafe { sys::advise((top - DEEPEST) as *mut u8, DEEPEST, MADV_DONTNEED) };
}
