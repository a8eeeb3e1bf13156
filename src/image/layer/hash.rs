// SPDX-License-Identifier: MIT OR Apache-2.0
//! The hashing thread: both digests of a layer, beside the threads that need its bytes.
#![forbid(unsafe_code)]

use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use nix::sys::signal::SigSet;

use crate::image::digest::{Digest, Hasher};

/// Bytes that two threads look at; the last to let go gives the memory back.
pub(super) type Chunk = Arc<Vec<u8>>;

/// A digest, and of how many bytes.
pub(super) type Hashed = (Digest, u64);

/// Lets go of `chunk`; `spent` gets its memory if nobody else has it any more.
pub(super) fn give_back(chunk: Chunk, spent: &SyncSender<Vec<u8>>) {
    if let Some(chunk) = Chunk::into_inner(chunk).filter(|chunk| chunk.capacity() > 0) {
        // Nobody is left to want it back: it is freed.
        let _ = spent.try_send(chunk);
    }
}

/// What there is to hash, in order for each of the two.
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

    /// Memory of an earlier chunk of the blob, or none.
    pub(super) fn spent(&self) -> Vec<u8> {
        self.spent.try_recv().unwrap_or_default()
    }

    fn send(&self, piece: Piece) {
        // The thread ends early only by a panic, which whoever joins it will see.
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
    /// Hashes until the reading thread's end is gone: the blob's digest, the archive's.
    pub(super) fn hash(self) -> (Hashed, Hashed) {
        // The host's handlers must not run here. It cannot fail with a valid set, and
        // if it did, a handler would merely run on this thread.
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

/// Both ends, with room for `most` pieces between them. Memory of the archive's
/// chunks goes back through `diff`.
pub(super) fn channel(most: usize, diff: SyncSender<Vec<u8>>) -> (Feed, Pieces) {
    let (to, pieces) = sync_channel(most);
    let (blob, spent) = sync_channel(most);
    let spent = Rc::new(spent);
    let feed = Feed { pieces: to, spent };
    (feed, Pieces { pieces, blob, diff })
}
