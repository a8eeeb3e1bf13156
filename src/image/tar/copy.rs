// SPDX-License-Identifier: MIT OR Apache-2.0
//! Copies the body of an entry into memory or into a file.
#![forbid(unsafe_code)]

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::unistd::{Whence, ftruncate, lseek, write};

use super::archive::Archive;
use super::fault::{Call, Fault, Parsed};
use super::input::Input;
use super::sparse::Map;

impl<I: Input> Archive<I> {
    /// Returns the rest of the body. The caller bounds the size.
    pub(crate) fn read_body(&mut self) -> Parsed<Vec<u8>> {
        let mut bytes = Vec::new();
        loop {
            let part = self.peek_body()?;
            if part.is_empty() {
                return Ok(bytes);
            }
            let n = part.len();
            bytes.extend_from_slice(part);
            self.consume_body(n);
        }
    }

    /// Copies the body into an empty file, with the holes of a sparse file.
    pub(crate) fn copy_body(&mut self, file: impl AsFd, map: Option<&Map>) -> Parsed<()> {
        let Some(map) = map else {
            return self.copy_part(&file, u64::MAX);
        };
        let too_large = |_| Fault::Os("lseek".into(), Errno::EFBIG);
        let signed = |offset: u64| i64::try_from(offset).map_err(too_large);
        for segment in map.segments.iter().filter(|segment| segment.length > 0) {
            lseek(&file, signed(segment.offset)?, Whence::SeekSet).call("lseek")?;
            self.copy_part(&file, segment.length)?;
        }
        ftruncate(&file, signed(map.size)?).call("ftruncate")
    }

    fn copy_part(&mut self, file: &impl AsFd, most: u64) -> Parsed<()> {
        let mut left = most;
        while left > 0 {
            let bytes = self.peek_body()?;
            if bytes.is_empty() {
                break;
            }
            let n = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let n = match write(file, &bytes[..n]) {
                Err(Errno::EINTR) => continue,
                written => written.call("write")?,
            };
            self.consume_body(n);
            left -= n as u64;
        }
        Ok(())
    }
}
