// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory without an allocator: mappings, and tables in them.
//!
//! The helper exists once per host process and once per sandbox, so each page
//! counts. Three rules keep the number low:
//!
//! - Memory is mapped once, at a size that is enough, and never grows. The
//!   kernel gives a page at the first write, so a table of 16,384 rows costs as
//!   many pages as rows are in use.
//! - A page is written before it is read. Reading first would map the zero
//!   page, and the write would fault a second time.
//! - Memory that lasts lies in a row behind the program ([`Mapping::lasting`]).
//!   A mapping elsewhere needs page tables of its own: one for each of the
//!   lower levels, 4 KiB each. Every sandbox would pay for four of them.
//!
//! A fork(2) copies page tables, so memory that children do not need is left
//! out ([`Mapping::for_children`]). After the operations of a start, the init
//! gives the pages of its stack back ([`release_stack`]): a start uses buffers
//! for paths in nested calls, serving does not.

use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::sys::{self, MADV_DOFORK, MADV_DONTFORK, MADV_DONTNEED, Result};

/// Memory that is unmapped when the value goes out of scope.
pub(crate) struct Mapping {
    at: *mut u8,
    len: usize,
}

impl Mapping {
    pub(crate) fn anonymous(len: usize) -> Result<Self> {
        let len = len.max(1);
        sys::map_anonymous(None, len).map(|at| Self { at, len })
    }

    /// Maps memory that stays until the process ends: in a row behind the
    /// program.
    ///
    /// mmap(2) without an address places a mapping near the stack, far from the
    /// program. A far mapping needs page tables of its own: one for each lower
    /// level, 4 KiB each. Every sandbox would pay for them again, because every
    /// init has an address space of its own. Memory right behind the program
    /// shares the tables of the program, which exist in any case. A lowest
    /// table covers 2 MiB, so the row needs another table only where it crosses
    /// a multiple of 2 MiB.
    ///
    /// The linker tells the end of the program, `_end`. `TAKEN` counts from
    /// there and only grows, because memory that lasts is never unmapped: the
    /// row has no gaps to fill. After fork(2) the child continues its own copy
    /// of the count, beside its copy of the memory.
    ///
    /// A hint alone would not do, because the kernel may place the mapping
    /// elsewhere; MAP_FIXED would replace a mapping that is there. With
    /// MAP_FIXED_NOREPLACE an occupied address is an error, and the mapping
    /// then goes to any place: only the page tables cost more.
    pub(crate) fn lasting(len: usize) -> Result<Self> {
        const PAGE: usize = 4096;
        /// Bytes behind the end of the program that are taken.
        static TAKEN: AtomicUsize = AtomicUsize::new(0);
        unsafe extern "C" {
            /// End of the program, from the linker.
            safe static _end: u8;
        }
        let len = len.max(1);
        let behind = (&raw const _end as usize).next_multiple_of(PAGE);
        let at = behind + TAKEN.fetch_add(len.next_multiple_of(PAGE), Ordering::Relaxed);
        // Another mapping may be there, and stays.
        let mapped = sys::map_anonymous(Some(at), len);
        let mapped = mapped.or_else(|_| sys::map_anonymous(None, len));
        mapped.map(|at| Self { at, len })
    }

    /// Includes the memory in the copies that children get, or leaves it out.
    pub(crate) fn for_children(&self, copied: bool) -> Result<()> {
        let advice = if copied { MADV_DOFORK } else { MADV_DONTFORK };
        // SAFETY: neither advice changes the content of the pages.
        unsafe { sys::advise(self.at, self.len, advice) }
    }

    /// Maps the content of a sealed memfd, privately and writable.
    pub(crate) fn file(fd: i32, len: usize) -> Result<Self> {
        let len = len.max(1);
        sys::map_file(fd, len).map(|at| Self { at, len })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping has `len` readable bytes and lives as long as
        // `self`.
        unsafe { core::slice::from_raw_parts(self.at, self.len) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and writable; `&mut self` makes the access
        // exclusive.
        unsafe { core::slice::from_raw_parts_mut(self.at, self.len) }
    }

    /// Gives up ownership: address and length, for [`Mapping::from_raw`].
    pub(crate) fn into_raw(self) -> (usize, usize) {
        let this = ManuallyDrop::new(self);
        (this.at as usize, this.len)
    }

    /// Takes back a mapping from [`Mapping::into_raw`]; zeros make an empty
    /// one.
    ///
    /// # Safety
    /// The pair comes from `into_raw`, in this process or in its parent before
    /// fork(2), and is taken back once.
    pub(crate) unsafe fn from_raw((at, len): (usize, usize)) -> Self {
        match at {
            0 => Self::default(),
            at => Self {
                at: at as *mut u8,
                len,
            },
        }
    }

    /// Returns the memory as machine words.
    pub(crate) fn words_mut(&mut self) -> &mut [usize] {
        // SAFETY: as above. A mapping begins at a page, and any bits are a
        // usize.
        unsafe { core::slice::from_raw_parts_mut(self.at.cast(), self.len / size_of::<usize>()) }
    }
}

impl Default for Mapping {
    /// Makes an empty mapping.
    fn default() -> Self {
        Self {
            at: core::ptr::NonNull::dangling().as_ptr(),
            len: 0,
        }
    }
}

/// Bytes in the memory of another, or in a mapping, of which the first count.
pub(crate) enum Bytes<'a> {
    Given(&'a [u8]),
    Own(Mapping, usize),
}

impl Bytes<'_> {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Given(bytes) => bytes,
            Self::Own(mapping, len) => &mapping.bytes()[..*len],
        }
    }
}

/// Types for which all-zero bytes are a value.
///
/// # Safety
/// Every field is an integer, or a type for which zero bytes are a value.
pub(crate) unsafe trait Zeroable {}

/// A table in a mapping: untouched rows cost no memory.
pub(crate) struct Table<T> {
    rows: Mapping,
    _kind: core::marker::PhantomData<T>,
}

impl<T: Zeroable> Table<T> {
    pub(crate) fn new(rows: usize) -> Result<Self> {
        Mapping::anonymous(rows * size_of::<T>()).map(Self::within)
    }

    /// Makes a table as [`Mapping::lasting`].
    pub(crate) fn lasting(rows: usize) -> Result<Self> {
        Mapping::lasting(rows * size_of::<T>()).map(Self::within)
    }

    /// Makes a table that children get no copy of.
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
        // SAFETY: the memory begins at a page, belongs to `self`, and is zero
        // or written through this slice. `Zeroable` says that zero is a value.
        unsafe { core::slice::from_raw_parts_mut(self.rows.at.cast(), n) }
    }

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
            // SAFETY: `self` owns the pages and goes away.
            unsafe { sys::unmap(self.at, self.len) }
        }
    }
}

/// Gives the pages of the stack below the caller's frame back to the kernel.
///
/// A start calls deep: operations nest, with buffers for paths on the stack. An
/// init that serves uses less of the stack. The init starts once, and serves
/// for as long as the sandbox lives. The pages that only the start wrote would
/// stay for that long, in every sandbox. A host with many waiting sandboxes
/// would pay most, because these do nothing but hold memory.
///
/// The frames there belong to functions that have returned, so their content is
/// dead. The pages would stay with the process all the same, because the kernel
/// does not know where a stack ends. MADV_DONTNEED frees them; the next deeper
/// call gets zero pages.
///
/// Two pages below this frame are kept for the calls that follow. Of the rest
/// 64 KiB are given back, which is more than any start uses. The stack of a
/// host with a small RLIMIT_STACK may be smaller. The call then passes over
/// unmapped pages and returns ENOMEM.
pub(crate) fn release_stack() {
    const PAGE: usize = 4096;
    /// More than any start uses.
    const DEEPEST: usize = 64 << 10;
    let here = 0u8;
    // Rounded down, and two pages for calls from here.
    let top = (&raw const here as usize & !(PAGE - 1)) - 2 * PAGE;
    // SAFETY: all frames in use lie above `top`, and no pointer leads into
    // frames of functions that have returned.
    let _ = unsafe { sys::advise((top - DEEPEST) as *mut u8, DEEPEST, MADV_DONTNEED) };
}
