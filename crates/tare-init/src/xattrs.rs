// SPDX-License-Identifier: MIT OR Apache-2.0
//! Extended attributes of open files: those that the host may know and set.

use core::ffi::CStr;

use crate::answer::Answer;
use crate::sys::{Errno, Result, sys};
use crate::wire::{Field as _, Reader};

const FSETXATTR: usize = 190;
const FGETXATTR: usize = 193;
const FLISTXATTR: usize = 196;

/// Those that anybody may set, and file capabilities; no other is any of the host's business.
pub(crate) fn read(fd: i32, tail: &mut Answer<'_>) -> Result<()> {
    let mut list = [0u8; 8192];
    let len = match sys!(FLISTXATTR, fd, list.as_mut_ptr(), list.len()) {
        Err(Errno::NOTSUP) => return Ok(()),
        // ERANGE
        Err(Errno(34)) => return Err(Errno::TOOBIG),
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
        let read =
            |into: &mut [u8]| sys!(FGETXATTR, fd, name.as_ptr(), into.as_mut_ptr(), into.len());
        match tail.put_sized(read) {
            // ENODATA: it is gone again.
            Err(Errno(61)) => tail.len = before,
            Err(Errno(34)) => return Err(Errno::TOOBIG),
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
        sys!(FSETXATTR, fd, name.as_ptr(), value.as_ptr(), value.len(), 0)?;
    }
    Ok(())
}
