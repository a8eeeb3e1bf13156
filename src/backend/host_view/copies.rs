// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bounds the copies of the machine's files in a view.
#![forbid(unsafe_code)]

use crate::spec::ByteSize;

/// The most files to copy, and the most bytes in all.
const COPIES: usize = 4096;
const COPIED_BYTES: u64 = 64 << 20;
/// The most files to bind beside the copies; others are left out.
const BOUND: usize = 1024;

/// The room for further files.
#[derive(Debug)]
pub(super) struct Budget {
    copies: usize,
    bytes: u64,
    binds: usize,
}

impl Budget {
    /// Bounds for a writable layer with a size, which copies must not fill.
    pub(super) fn new(size: Option<ByteSize>) -> Self {
        Self {
            copies: COPIES,
            bytes: size.map_or(COPIED_BYTES, |size| COPIED_BYTES.min(size.bytes() / 4)),
            binds: BOUND,
        }
    }

    /// Takes a copy of a file, if there is room.
    pub(super) fn copy(&mut self, size: u64) -> bool {
        let fits = self.copies > 0 && size <= self.bytes;
        if fits {
            self.copies -= 1;
            self.bytes -= size;
        }
        fits
    }

    /// Takes a bind, if another is allowed.
    pub(super) fn bind(&mut self) -> bool {
        let fits = self.binds > 0;
        self.binds -= usize::from(fits);
        fits
    }
}
