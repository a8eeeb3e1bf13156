// SPDX-License-Identifier: MIT OR Apache-2.0
//! Input from the caller: texts, lists, bytes, descriptors, size-tagged
//! structs; all checked before any work. The targets of pointers cannot be
//! checked: the rules of the header apply.

use std::ffi::{CStr, OsStr, c_char};
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::slice;

use tare_core::{Error, Kind, Result};

use crate::handle::wrong;

/// No struct of this or any later version is larger: a larger size was never
/// set.
const STRUCT_MAX: u64 = 4096;

/// A struct that the caller fills.
///
/// # Safety
/// `repr(C)`, begins with its size as a `u64`, and every bit pattern, all zeros
/// among them, is a value.
pub(crate) unsafe trait Input: Copy {
    /// The name of the struct in C.
    const NAME: &'static str;
}

/// Reads a struct of the size in its first field: missing fields are zero, and
/// fields unknown to this version must be zero.
///
/// # Safety
/// `at` is NULL or points to a struct whose first eight bytes are its size in
/// bytes.
pub(crate) unsafe fn read<T: Input>(at: *const T) -> Result<T> {
    // SAFETY: as this function's own.
    let size = unsafe { checked_size(at.cast(), T::NAME)? };
    let known = size.min(size_of::<T>());
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: the caller's struct has `size` bytes, ours at least `known`; any
    // bits are a value.
    let (value, tail) = unsafe {
        let from = at.cast::<u8>();
        from.copy_to_nonoverlapping(value.as_mut_ptr().cast(), known);
        (
            value.assume_init(),
            slice::from_raw_parts(from.add(known), size - known),
        )
    };
    match tail.iter().position(|byte| *byte != 0) {
        None => Ok(value),
        Some(at) => {
            let (name, at) = (T::NAME, at + known);
            let why = format_args!("{name}: byte {at} is set, which this version does not know");
            Err(Error::new(Kind::Unsupported, "check arguments", why).with_cure("a newer libtare"))
        }
    }
}

/// The same, and a struct of zeros for NULL.
///
/// # Safety
/// As [`read`].
pub(crate) unsafe fn read_or_zero<T: Input>(at: *const T) -> Result<T> {
    if at.is_null() {
        // SAFETY: all zeros are a value of every `Input`.
        return Ok(unsafe { MaybeUninit::zeroed().assume_init() });
    }
    // SAFETY: as this function's own.
    unsafe { read(at) }
}

/// Returns the size that a struct declares.
///
/// # Safety
/// As [`read`].
pub(crate) unsafe fn checked_size(at: *const u64, name: &str) -> Result<usize> {
    check(at, name)?;
    // SAFETY: not NULL and aligned; the caller vouches that it begins with the
    // size.
    let size = unsafe { at.read() };
    if !(size_of::<u64>() as u64..=STRUCT_MAX).contains(&size) {
        let why = format!("has the size {size}");
        return Err(wrong(name, &why).with_cure(format!("size = sizeof({name})")));
    }
    Ok(size as usize)
}

/// Neither NULL nor misaligned.
pub(crate) fn check<T>(at: *const T, name: &str) -> Result<()> {
    match (at.is_null(), at.is_aligned()) {
        (false, true) => Ok(()),
        (true, _) => Err(wrong(name, "is NULL")),
        (_, false) => Err(wrong(name, "is misaligned")),
    }
}

/// Text in UTF-8.
///
/// # Safety
/// `at` is NULL or points to text that ends with a NUL and outlives the call
/// that uses the text.
pub(crate) unsafe fn text<'a>(at: *const c_char, name: &str) -> Result<&'a str> {
    // SAFETY: as this function's own.
    let bytes = unsafe { words(at, name)? }.as_bytes();
    std::str::from_utf8(bytes).map_err(|_| wrong(name, "is not UTF-8"))
}

/// The same; `None` for NULL.
///
/// # Safety
/// As [`text`].
pub(crate) unsafe fn optional_text<'a>(at: *const c_char, name: &str) -> Result<Option<&'a str>> {
    match at.is_null() {
        true => Ok(None),
        // SAFETY: as this function's own.
        false => unsafe { text(at, name) }.map(Some),
    }
}

/// A path, of any bytes.
///
/// # Safety
/// As [`text`].
pub(crate) unsafe fn path<'a>(at: *const c_char, name: &str) -> Result<&'a Path> {
    // SAFETY: as this function's own.
    unsafe { words(at, name) }.map(Path::new)
}

/// A path; `None` for NULL.
///
/// # Safety
/// As [`text`].
pub(crate) unsafe fn optional_path<'a>(at: *const c_char, name: &str) -> Result<Option<&'a Path>> {
    match at.is_null() {
        true => Ok(None),
        // SAFETY: as this function's own.
        false => unsafe { path(at, name) }.map(Some),
    }
}

/// Text of any bytes.
///
/// # Safety
/// As [`text`].
unsafe fn words<'a>(at: *const c_char, name: &str) -> Result<&'a OsStr> {
    check(at, name)?;
    // SAFETY: not NULL; the caller vouches that the text ends with a NUL and
    // lives.
    let text = unsafe { CStr::from_ptr(at) };
    Ok(OsStr::from_bytes(text.to_bytes()))
}

/// A list of texts that ends with NULL; empty for NULL.
///
/// # Safety
/// `at` is NULL or points to pointers, the last of them NULL and each other as
/// for [`text`].
pub(crate) unsafe fn list<'a>(at: *const *const c_char, name: &str) -> Result<Vec<&'a OsStr>> {
    let mut found = Vec::new();
    if at.is_null() {
        return Ok(found);
    }
    check(at, name)?;
    let mut next = at;
    loop {
        // SAFETY: not past the NULL at the list's end, for which the caller
        // vouches.
        let word = unsafe { next.read() };
        if word.is_null() {
            return Ok(found);
        }
        // SAFETY: the caller's word for every text of the list; the end was not
        // reached.
        unsafe {
            found.push(words(word, name)?);
            next = next.add(1);
        }
    }
}

/// A list of texts in UTF-8 that ends with NULL; empty for NULL.
///
/// # Safety
/// As [`list`].
pub(crate) unsafe fn texts<'a>(at: *const *const c_char, name: &str) -> Result<Vec<&'a str>> {
    // SAFETY: as this function's own.
    let words = unsafe { list(at, name)? }.into_iter();
    let text = |word: &'a OsStr| word.to_str().ok_or_else(|| wrong(name, "is not UTF-8"));
    words.map(text).collect()
}

/// A number of values; empty for NULL and 0.
///
/// # Safety
/// `at` points to `len` values, which outlive the call that uses them, or `len`
/// is 0.
pub(crate) unsafe fn values<'a, T>(at: *const T, len: u64, name: &str) -> Result<&'a [T]> {
    if len == 0 {
        return Ok(&[]);
    }
    check(at, name)?;
    let most = isize::MAX as u64 / size_of::<T>() as u64;
    if len > most {
        return Err(wrong(name, &format!("has the length {len}")));
    }
    // SAFETY: not NULL, aligned, no longer than memory can be; the caller's
    // word for the rest.
    Ok(unsafe { slice::from_raw_parts(at, len as usize) })
}

/// Reads JSON text with a length; the empty object for NULL.
///
/// # Safety
/// As [`values`].
pub(crate) unsafe fn json<'a>(at: *const c_char, len: usize, name: &str) -> Result<&'a str> {
    if at.is_null() && len == 0 {
        return Ok("{}");
    }
    // SAFETY: as this function's own.
    let bytes = unsafe { values(at.cast::<u8>(), len as u64, name)? };
    std::str::from_utf8(bytes).map_err(|_| wrong(name, "is not UTF-8"))
}

/// Copies a descriptor, which stays the caller's.
pub(crate) fn descriptor(fd: RawFd, name: &str) -> Result<OwnedFd> {
    let bad = |e| Error::io("check arguments", format_args!("{name} {fd}"), e);
    if fd < 0 {
        return Err(bad(std::io::Error::from_raw_os_error(libc::EBADF)));
    }
    // SAFETY: not -1; used for one call of fcntl(2), which returns EBADF if the
    // descriptor is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    borrowed.try_clone_to_owned().map_err(bad)
}
