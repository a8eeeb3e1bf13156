// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cache of the last images, opened without reading a document or looking for a
//! layer.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use super::Images;
use super::lease::LayerLocks;
use crate::image::{Image, Inner, Platform, Reference};
use crate::sys::lock::try_lock;

/// Locks of layers kept open for all images together; each is a descriptor.
const MAX_LOCKS: usize = 128;

/// Images of a store, the latest in front. An entry does not hold layers.
#[derive(Default)]
pub(super) struct ImageCache(VecDeque<Entry>);

struct Entry {
    query: Query,
    state: StoreState,
    image: Arc<Inner>,
    locks: Arc<LayerLocks>,
}

/// The words that an image was looked up by.
#[derive(PartialEq, Eq)]
pub(super) struct Query {
    reference: Reference,
    platform: Option<Platform>,
}

/// The state that an image was found in: the index and the directory of layers,
/// as stat(2) tells states apart. The lock of a layer tells of a removal, too.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct StoreState([FileState; 2]);

#[derive(Clone, Copy, PartialEq, Eq)]
struct FileState {
    file: (u64, u64),
    size: u64,
    changed: (i64, i64),
}

impl StoreState {
    /// Reads the state; `None` if a file is missing.
    pub(super) fn now(store: &Images) -> Option<Self> {
        let state = |path: &Path| {
            let file = fs::metadata(path).ok()?;
            Some(FileState {
                file: (file.dev(), file.ino()),
                size: file.size(),
                changed: (file.ctime(), file.ctime_nsec()),
            })
        };
        let index = state(&store.path().join(super::parts::INDEX))?;
        Some(Self([index, state(&store.layers_dir())?]))
    }
}

impl Query {
    pub(super) fn new(reference: &Reference, platform: Option<&Platform>) -> Self {
        Self {
            reference: reference.clone(),
            platform: platform.cloned(),
        }
    }
}

impl Images {
    /// Returns an image of an earlier lookup in the same state of the store.
    pub(super) fn cached(&self, query: &Query, state: &StoreState) -> Option<Image> {
        let mut all = try_lock(&self.0.cache)?;
        let at = all.0.iter().position(|entry| entry.query == *query)?;
        let entry = all.0.remove(at)?;
        if entry.state != *state {
            return None;
        }
        let image = Image::held(Arc::clone(&entry.image), entry.locks.lease()?);
        all.0.push_front(entry);
        Some(image)
    }

    /// Keeps an image for the next lookup; `state` is from before this lookup.
    pub(super) fn keep_cached(&self, query: Query, state: StoreState, image: &Image) {
        let Some(mut all) = try_lock(&self.0.cache) else {
            return;
        };
        all.0.retain(|entry| entry.query != query);
        all.0.push_front(Entry {
            query,
            state,
            image: Arc::clone(&image.of),
            locks: Arc::clone(image.lease.locks()),
        });
        let mut locks = 0;
        let fits = |entry: &Entry| {
            locks += entry.locks.count().max(1);
            locks <= MAX_LOCKS
        };
        let kept = all.0.iter().map(fits).take_while(|fits| *fits).count();
        all.0.truncate(kept);
    }
}
