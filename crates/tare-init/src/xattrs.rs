// SPDX-License-Identifier: MIT OR Apache-2.0
//! Extended attributes of open files: those that the host may know and set.
#![forbid(unsafe_code)]

use core::ffi::CStr;

use crate::answer::Answer;
use crate::sys::{self, Errno, Result};
use crate::wire::{Field as _, Reader};

/// Reads the attributes that any user may set, and file capabilities; others
/// are not for the host.
pub(crate) fn read(fd: i32, tail: &mut Answer<'_>) -> Result<()> {
    let mut list = [0u8; 8192];
    let len = match sys::flistxattr(fd, &mut list) {
        Err(Errno::NOTSUP) => return Ok(()),
        Err(Errno::RANGE) => return Err(Errno::TOOBIG),
        other => other?,
    };
    let mut rest = &list[..len];
    while let Ok(name) = CStr::from_bytes_until_nul(rest) {
        rest = &rest[name.count_bytes() + 1..];
        if !name.to_bytes().starts_with(b"user.") && name != c"security.capability" {
            continue;
        }
        let before = tail.len;
        tail.put_name(name)?;
        match tail.put_sized(|into| sys::fgetxattr(fd, name, into)) {
            // The attribute was removed meanwhile.
            Err(Errno::NODATA) => tail.len = before,
            Err(Errno::RANGE) => return Err(Errno::TOOBIG),
            other => other?,
        }
    }
    Ok(())
}

/// Sets each name to its value.
pub(crate) fn set(fd: i32, xattrs: &[u8]) -> Result<()> {
    let mut reader = Reader::new(xattrs);
    while !reader.is_empty() {
        let name = <&CStr>::get(&mut reader).ok_or(Errno::PROTO)?;
        let value = <&[u8]>::get(&mut reader).ok_or(Errno::PROTO)?;
        sys::fsetxattr(fd, name, value)?;
    }
    Ok(())
}
