// SPDX-License-Identifier: MIT OR Apache-2.0
//! The uncompressed archive as the writing thread sees it: chunks handed over by
//! the inflating thread, hashed as they come.
#![forbid(unsafe_code)]

use std::sync::mpsc::{Receiver, SyncSender};

use crate::image::digest::{Digest, Hasher};
use crate::image::tar::Input;

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

    /// The digest and the number of all bytes.
    pub(super) fn complete(self) -> (Digest, u64) {
        self.hasher.complete()
    }
}

impl Input for Stream {
    fn peek(&mut self) -> &[u8] {
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

    fn consume(&mut self, n: usize) {
        self.at += n;
        self.offset += n as u64;
    }

    fn offset(&self) -> u64 {
        self.offset
    }
}
