// SPDX-License-Identifier: MIT OR Apache-2.0
//! The variable part of an answer: names and values, each behind its length.
#![forbid(unsafe_code)]

use core::ffi::CStr;

use crate::sys::{Errno, Result};

/// The part of an answer behind the head.
pub(crate) struct Answer<'b> {
    pub(crate) bytes: &'b mut [u8],
    pub(crate) len: usize,
}

impl<'b> Answer<'b> {
    pub(crate) fn new(bytes: &'b mut [u8]) -> Self {
        Self { bytes, len: 0 }
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<()> {
        let place = self
            .bytes
            .get_mut(self.len..self.len + bytes.len())
            .ok_or(Errno::TOOBIG)?;
        place.copy_from_slice(bytes);
        self.len += bytes.len();
        Ok(())
    }

    pub(crate) fn put_name(&mut self, name: &CStr) -> Result<()> {
        let bytes = name.to_bytes_with_nul();
        self.put(&(bytes.len() as u32).to_ne_bytes())?;
        self.put(bytes)
    }

    /// Appends the bytes that `write` puts into the rest, behind their length.
    pub(crate) fn put_sized(
        &mut self,
        write: impl FnOnce(&mut [u8]) -> Result<usize>,
    ) -> Result<()> {
        let at = self.len;
        self.put(&[0; 4])?;
        let rest = &mut self.bytes[at + 4..];
        let most = rest.len();
        // Without any room, some calls return the size that they need.
        let len = write(rest).and_then(|len| {
            if len > most {
                Err(Errno::TOOBIG)
            } else {
                Ok(len)
            }
        })?;
        self.bytes[at..at + 4].copy_from_slice(&(len as u32).to_ne_bytes());
        self.len += len;
        Ok(())
    }
}
