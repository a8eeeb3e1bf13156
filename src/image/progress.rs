// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reports of long work, and a way to stop it.
#![forbid(unsafe_code)]

use crate::image::digest::Digest;

/// Receives reports about an import or an unpacking, on the thread of the
/// caller.
///
/// `()` ignores all reports.
pub trait Progress {
    /// Reports that `bytes_done` of `bytes_total` (as kept, so usually
    /// compressed) of layer `index` of `total` were read. Called a few times a
    /// second at most per layer, and never for a layer that is present.
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

    /// Returns false to stop the work with `ECANCELED` and undo it. Called
    /// several times a second. Default: true.
    fn keep_going(&mut self) -> bool {
        true
    }
}

impl Progress for () {}
