// SPDX-License-Identifier: MIT OR Apache-2.0
//! The uncompressed archive as the writing thread sees it: chunks handed over by
//! the inflating thread, hashed as they come.
#![forbid(unsafe_code)]

use std::sync::mpsc::{Receiver, SyncSender};

use super::fault::{Step, refuse};
use super::header::BLOCK;
use crate::image::digest::{Digest, Hasher};

/// The archive's bytes, in order, from a bounded number of recycled chunks.
pub(super) struct Stream {
    full: Receiver<Vec<u8>>,
    spent: SyncSender<Vec<u8>>,
    chunk: Vec<u8>,
    at: usize,
    offset: u64,
    hasher: Hasher,
}

impl Stream {
    /// Takes chunks from `full` and gives them back through `spent`.
    pub(super) fn new(full: Receiver<Vec<u8>>, spent: SyncSender<Vec<u8>>) -> Self {
        Self {
            full,
            spent,
            chunk: Vec::new(),
            at: 0,
            offset: 0,
            hasher: Hasher::new(),
        }
    }

    /// How many bytes were consumed.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next bytes, as many as are there; empty only at the end.
    pub(super) fn peek(&mut self) -> &[u8] {
        while self.at == self.chunk.len() {
            // The end, or the other side failed; then its own error counts.
            let Ok(next) = self.full.recv() else {
                return &[];
            };
            let spent = std::mem::replace(&mut self.chunk, next);
            self.at = 0;
            if spent.capacity() != 0 {
                // Nobody is left to want it back: it is freed.
                let _ = self.spent.try_send(spent);
            }
            self.hasher.update(&self.chunk);
        }
        &self.chunk[self.at..]
    }

    /// Moves on by `n` bytes of what [`Stream::peek`] showed.
    pub(super) fn consume(&mut self, n: usize) {
        self.at += n;
        self.offset += n as u64;
    }

    /// The next block; `None` at the end of the stream.
    pub(super) fn block(&mut self) -> Step<Option<[u8; BLOCK]>> {
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

    /// Passes over `n` bytes.
    pub(super) fn skip(&mut self, mut n: u64) -> Step<()> {
        while n > 0 {
            let have = self
                .peek()
                .len()
                .min(usize::try_from(n).unwrap_or(usize::MAX));
            if have == 0 {
                return refuse("archive ends within an entry");
            }
            self.consume(have);
            n -= have as u64;
        }
        Ok(())
    }

    /// Moves on by `n` bytes, or to the end if there are fewer.
    pub(super) fn skip_at_most(&mut self, mut n: u64) {
        while n > 0 {
            let wanted = usize::try_from(n).unwrap_or(usize::MAX);
            let have = self.peek().len().min(wanted);
            if have == 0 {
                return;
            }
            self.consume(have);
            n -= have as u64;
        }
    }

    /// Reads the rest, which must be zeros.
    pub(super) fn drain_zeros(&mut self) -> Step<()> {
        loop {
            let bytes = self.peek();
            if bytes.is_empty() {
                return Ok(());
            }
            let n = bytes.len();
            let stray = bytes.iter().position(|&b| b != 0);
            self.consume(stray.unwrap_or(n));
            if stray.is_some() {
                return refuse("data after the end of the archive");
            }
        }
    }

    /// The digest and the number of all bytes.
    pub(super) fn complete(self) -> (Digest, u64) {
        self.hasher.complete()
    }
}
