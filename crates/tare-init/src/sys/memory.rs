// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory mappings: mmap(2), munmap(2), madvise(2).

use super::{Result, syscall};

const PROT_READ_WRITE: u32 = 1 | 2;
const MAP_PRIVATE: u32 = 0x02;
const MAP_ANONYMOUS: u32 = 0x20;
const MAP_FIXED_NOREPLACE: u32 = 0x10_0000;

/// Leaves the pages out of the copy that a child gets.
pub(crate) const MADV_DONTFORK: u32 = 10;
/// Takes [`MADV_DONTFORK`] back.
pub(crate) const MADV_DOFORK: u32 = 11;
/// Gives the pages back: they read as zero from then on.
pub(crate) const MADV_DONTNEED: u32 = 4;

/// Maps new pages, all zero: at an address if nothing is there, or where the
/// kernel chooses.
pub(crate) fn map_anonymous(at: Option<usize>, len: usize) -> Result<*mut u8> {
    let fixed = if at.is_some() { MAP_FIXED_NOREPLACE } else { 0 };
    map(at.unwrap_or(0), len, MAP_ANONYMOUS | fixed, -1)
}

/// Maps a private copy of a file.
pub(crate) fn map_file(fd: i32, len: usize) -> Result<*mut u8> {
    map(0, len, 0, fd)
}

fn map(at: usize, len: usize, flags: u32, fd: i32) -> Result<*mut u8> {
    // SAFETY: no caller passes MAP_FIXED, so no mapping is replaced.
    let at = unsafe { syscall!(MMAP, at, len, PROT_READ_WRITE, MAP_PRIVATE | flags, fd, 0) };
    at.map(|at| at as *mut u8)
}

/// Unmaps pages.
///
/// # Safety
/// The caller owns the mapping, and no reference leads there any more.
pub(crate) unsafe fn unmap(at: *mut u8, len: usize) {
    // To unmap a whole mapping cannot fail.
    // SAFETY: the caller gives up the pages.
    let _ = unsafe { syscall!(MUNMAP, at, len) };
}

/// Advises the kernel about pages, madvise(2).
///
/// # Safety
/// With [`MADV_DONTNEED`] no code relies on the content of the pages.
pub(crate) unsafe fn advise(at: *mut u8, len: usize, advice: u32) -> Result<()> {
    // SAFETY: the caller vouches for the content of the pages.
    unsafe { syscall!(MADVISE, at, len, advice) }.map(drop)
}
