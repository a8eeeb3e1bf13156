// SPDX-License-Identifier: MIT OR Apache-2.0
//! Extended attributes by path and by descriptor, xattr(7).

use core::ffi::CStr;

use super::{Result, syscall};

/// Lists the names of a file, each with a NUL; returns their length.
pub(crate) fn listxattr(path: &CStr, into: &mut [u8]) -> Result<usize> {
    // SAFETY: `path` ends with a NUL; the kernel writes at most `into.len()`.
    unsafe { syscall!(LISTXATTR, path.as_ptr(), into.as_mut_ptr(), into.len()) }
}

/// Reads the value of a name; returns its length, also if `into` is empty.
pub(crate) fn getxattr(path: &CStr, name: &CStr, into: &mut [u8]) -> Result<usize> {
    let (path, name, len) = (path.as_ptr(), name.as_ptr(), into.len());
    // SAFETY: both strings end with a NUL; the kernel writes at most `len`.
    unsafe { syscall!(GETXATTR, path, name, into.as_mut_ptr(), len) }
}

/// Sets the value of a name.
pub(crate) fn setxattr(path: &CStr, name: &CStr, value: &[u8]) -> Result<()> {
    let (path, name, len) = (path.as_ptr(), name.as_ptr(), value.len());
    // SAFETY: both strings end with a NUL; the kernel reads `len` bytes.
    unsafe { syscall!(SETXATTR, path, name, value.as_ptr(), len, 0) }.map(drop)
}

/// Lists the names of an open file, as [`listxattr`].
pub(crate) fn flistxattr(fd: i32, into: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes at most `into.len()` bytes.
    unsafe { syscall!(FLISTXATTR, fd, into.as_mut_ptr(), into.len()) }
}

/// Reads the value of a name of an open file, as [`getxattr`].
pub(crate) fn fgetxattr(fd: i32, name: &CStr, into: &mut [u8]) -> Result<usize> {
    let (name, len) = (name.as_ptr(), into.len());
    // SAFETY: `name` ends with a NUL; the kernel writes at most `len` bytes.
    unsafe { syscall!(FGETXATTR, fd, name, into.as_mut_ptr(), len) }
}

/// Sets the value of a name of an open file.
pub(crate) fn fsetxattr(fd: i32, name: &CStr, value: &[u8]) -> Result<()> {
    let (name, len) = (name.as_ptr(), value.len());
    // SAFETY: `name` ends with a NUL; the kernel reads `len` bytes.
    unsafe { syscall!(FSETXATTR, fd, name, value.as_ptr(), len, 0) }.map(drop)
}
