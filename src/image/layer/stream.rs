// SPDX-License-Identifier: MIT OR Apache-2.0
//! The uncompressed archive for the writing thread: chunks from the inflating
//! thread.
#![forbid(unsafe_code)]

use std::sync::mpsc::{Receiver, SyncSender};

use super::hash::{Chunk, give_back};
use crate::image::tar::Input;

/// The archive's bytes, in order, from a bounded number of recycled chunks.
pub(super) struct Stream {
    full: Receiver<Chunk>,
    spent: SyncSender<Vec<u8>>,
    chunk: Chunk,
    at: usize,
    offset: u64,
}

impl Stream {
    /// Takes chunks from `full` and returns them through `spent`.
    pub(super) fn new(full: Receiver<Chunk>, spent: SyncSender<Vec<u8>>) -> Self {
        Self {
            full,
            spent,
            chunk: Chunk::default(),
            at: 0,
            offset: 0,
        }
    }
}

impl Input for Stream {
    fn peek(&mut self) -> &[u8] {
        while self.at == self.chunk.len() {
            // The end of the archive, or an error that the other side reports.
            let Ok(next) = self.full.recv() else {
                return &[];
            };
            let spent = std::mem::replace(&mut self.chunk, next);
            self.at = 0;
            give_back(spent, &self.spent);
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
