// SPDX-License-Identifier: MIT OR Apache-2.0
//! How many files of the machine a view has copies of.
#![forbid(unsafe_code)]

use crate::spec::ByteSize;

/// At most so many files, and so many bytes in all.
const COPIES: usize = 4096;
const COPIED_BYTES: u64 = 64 << 20;
/// Files that are bound where they were not copied; others are left out.
const BOUND: usize = 1024;

/// What is left for further files.
#[derive(Debug)]
pub(super) struct Budget {
    copies: usize,
    bytes: u64,
    binds: usize,
}

impl Budget {
    /// For a writable layer of a size, which is not for copies alone.
    pub(super) fn new(size: Option<ByteSize>) -> Self {
        Self {
            copies: COPIES,
            bytes: size.map_or(COPIED_BYTES, |size| COPIED_BYTES.min(size.bytes() / 4)),
            binds: BOUND,
        }
    }

    /// Takes a copy of a file, if there is room for it.
    pub(super) fn copy(&mut self, size: u64) -> bool {
        let fits = self.copies > 0 && size <= self.bytes;
        if fits {
            self.copies -= 1;
            self.bytes -= size;
        }
        fits
    }

    /// Takes a bind, if there may be one more.
    pub(super) fn bind(&mut self) -> bool {
        let fits = self.binds > 0;
        self.binds -= usize::from(fits);
        fits
    }
}
