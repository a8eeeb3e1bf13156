// SPDX-License-Identifier: MIT OR Apache-2.0
//! The hashing thread: computes both digests of a layer beside the threads that
//! use the bytes.
#![forbid(unsafe_code)]

use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use nix::sys::signal::SigSet;

use crate::image::digest::{Digest, Hasher};

/// Bytes shared by two threads; the last user returns the memory.
pub(super) type Chunk = Arc<Vec<u8>>;

/// A digest, and the number of bytes.
pub(super) type Hashed = (Digest, u64);

/// Returns the memory of `chunk` through `spent`, if this was the last user.
pub(super) fn give_back(chunk: Chunk, spent: &SyncSender<Vec<u8>>) {
    if let Some(chunk) = Chunk::into_inner(chunk).filter(|chunk| chunk.capacity() > 0) {
        // Freed if the receiver is gone.
        let _ = spent.try_send(chunk);
    }
}

/// Bytes to hash, in order for each of the two digests.
enum Piece {
    Blob(Chunk),
    Diff(Chunk),
}

/// The reading thread's end.
#[derive(Clone)]
pub(super) struct Feed {
    pieces: SyncSender<Piece>,
    spent: Rc<Receiver<Vec<u8>>>,
}

impl Feed {
    /// Hashes the next bytes of the blob.
    pub(super) fn blob(&self, chunk: &Chunk) {
        self.send(Piece::Blob(chunk.clone()));
    }

    /// Hashes the next bytes of the archive.
    pub(super) fn diff(&self, chunk: &Chunk) {
        self.send(Piece::Diff(chunk.clone()));
    }

    /// Returns memory of an earlier chunk of the blob, or new memory.
    pub(super) fn spent(&self) -> Vec<u8> {
        self.spent.try_recv().unwrap_or_default()
    }

    fn send(&self, piece: Piece) {
        // The thread ends early only by a panic, which joining the thread
        // reports.
        let _ = self.pieces.send(piece);
    }
}

/// The hashing thread's end.
pub(super) struct Pieces {
    pieces: Receiver<Piece>,
    blob: SyncSender<Vec<u8>>,
    diff: SyncSender<Vec<u8>>,
}

impl Pieces {
    /// Hashes until the reading thread's end is gone; returns the blob's and
    /// the archive's digest.
    pub(super) fn hash(self) -> (Hashed, Hashed) {
        // The host's handlers must not run on this thread. The call cannot fail
        // with a valid set; otherwise a handler would merely run here.
        let _ = SigSet::all().thread_block();
        let (mut blob, mut diff) = (Hasher::new(), Hasher::new());
        for piece in self.pieces {
            match piece {
                Piece::Blob(chunk) => {
                    blob.update(&chunk);
                    give_back(chunk, &self.blob);
                }
                Piece::Diff(chunk) => {
                    diff.update(&chunk);
                    give_back(chunk, &self.diff);
                }
            }
        }
        (blob.complete(), diff.complete())
    }
}

/// Returns both ends, with room for `most` pieces in between. Memory of the
/// archive's chunks returns through `diff`.
pub(super) fn channel(most: usize, diff: SyncSender<Vec<u8>>) -> (Feed, Pieces) {
    let (to, pieces) = sync_channel(most);
    let (blob, spent) = sync_channel(most);
    let spent = Rc::new(spent);
    let feed = Feed { pieces: to, spent };
    (feed, Pieces { pieces, blob, diff })
}
