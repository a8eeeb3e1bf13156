// SPDX-License-Identifier: MIT OR Apache-2.0
//! How long work tells its caller how far it is, and learns that it should stop.
#![forbid(unsafe_code)]

use crate::image::digest::Digest;

/// Told about an import or an unpack, always on the thread that called it.
///
/// `()` is the one that wants to know nothing.
pub trait Progress {
    /// `bytes_done` of `bytes_total` (as kept, so usually compressed) of layer
    /// `index` of `total` were read. Called a few times a second at most per
    /// layer; a layer that is there already is never mentioned.
    fn layer(
        &mut self,
        index: usize,
        total: usize,
        digest: &Digest,
        bytes_done: u64,
        bytes_total: u64,
    ) {
        let _ = (index, total, digest, bytes_done, bytes_total);
    }

    /// Asked several times a second; false makes the work stop with `ECANCELED`
    /// and undo what it did. Default: true.
    fn keep_going(&mut self) -> bool {
        true
    }
}

impl Progress for () {}
