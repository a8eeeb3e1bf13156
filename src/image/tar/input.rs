// SPDX-License-Identifier: MIT OR Apache-2.0
//! Inputs of an archive: a stream, or a file that can be skipped through.
#![forbid(unsafe_code)]

use super::fault::{Parsed, refuse};
use super::header::BLOCK;

/// The archive's bytes, in order. A failed input is at the end, and keeps the
/// error.
pub(crate) trait Input {
    /// Returns the next bytes, as many as are ready; empty only at the end.
    fn peek(&mut self) -> &[u8];

    /// Consumes `n` bytes of [`Input::peek`].
    fn consume(&mut self, n: usize);

    /// Returns the number of consumed bytes.
    fn offset(&self) -> u64;

    /// Skips `n` bytes, or all if fewer are left; returns how many.
    fn skip_at_most(&mut self, n: u64) -> u64 {
        let mut left = n;
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX);
            let have = self.peek().len().min(wanted);
            if have == 0 {
                break;
            }
            self.consume(have);
            left -= have as u64;
        }
        n - left
    }

    /// Skips `n` bytes, which must exist.
    fn skip(&mut self, n: u64) -> Parsed<()> {
        match self.skip_at_most(n) == n {
            true => Ok(()),
            false => refuse("archive ends within an entry"),
        }
    }

    /// Returns the next block; `None` at the end.
    fn block(&mut self) -> Parsed<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        let mut have = 0;
        while have < BLOCK {
            let bytes = self.peek();
            let n = bytes.len().min(BLOCK - have);
            match n {
                0 if have == 0 => return Ok(None),
                0 => return refuse("archive ends within a block"),
                _ => block[have..have + n].copy_from_slice(&bytes[..n]),
            }
            self.consume(n);
            have += n;
        }
        Ok(Some(block))
    }

    /// Skips at most `n` zeros; returns false at another byte.
    fn skip_zeros(&mut self, mut n: u64) -> bool {
        while n > 0 {
            let wanted = usize::try_from(n).unwrap_or(usize::MAX);
            let bytes = self.peek();
            let bytes = &bytes[..bytes.len().min(wanted)];
            let have = bytes.len();
            let stray = bytes.iter().position(|&b| b != 0);
            if have == 0 {
                break;
            }
            self.consume(stray.unwrap_or(have));
            if stray.is_some() {
                return false;
            }
            n -= have as u64;
        }
        true
    }
}

/// An archive in memory, shown in pieces.
#[cfg(any(test, feature = "bench"))]
pub(crate) struct Slice<'a> {
    bytes: &'a [u8],
    at: usize,
    piece: usize,
}

#[cfg(any(test, feature = "bench"))]
impl<'a> Slice<'a> {
    #[cfg(test)]
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self::in_pieces(bytes, bytes.len())
    }

    pub(crate) fn in_pieces(bytes: &'a [u8], piece: usize) -> Self {
        Self {
            bytes,
            at: 0,
            piece,
        }
    }
}

#[cfg(any(test, feature = "bench"))]
impl Input for Slice<'_> {
    fn peek(&mut self) -> &[u8] {
        let end = self.bytes.len().min(self.at + self.piece);
        &self.bytes[self.at..end]
    }

    fn consume(&mut self, n: usize) {
        assert!(n <= self.piece, "consumed more than was shown");
        self.at += n;
    }

    fn offset(&self) -> u64 {
        self.at as u64
    }
}
