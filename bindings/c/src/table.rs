// SPDX-License-Identifier: MIT OR Apache-2.0
//! The table of live handles: makes a stale, foreign or mistyped handle an
//! error.
//!
//! A handle in C is no address but a name: a type, a slot, a generation. No
//! memory is ever read through a handle, so a wrong handle does no harm. A
//! slot's generation rises at each release; a slot at the last generation stays
//! empty for good, so an old handle never means a new object. A removed object
//! lives on until the calls that use the object return.
#![forbid(unsafe_code)]

use std::any::Any;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Locks, so that threads seldom meet. A power of two.
const SHARDS: usize = 16;
const SHARD_BITS: u32 = SHARDS.trailing_zeros();
/// Number of slots: as many as 24 bits can name, but the last few, which no
/// object ever has.
const SLOT_BITS: u32 = 24;
const SLOTS_PER_SHARD: usize = (1 << (SLOT_BITS - SHARD_BITS)) - 1;

/// The object of a handle.
pub(crate) type Object = Arc<dyn Any + Send + Sync>;

/// The name of a slot's content: type (8 bits), slot (24), generation (32).
/// Type bytes are ASCII letters, so that no handle is an address that a process
/// can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) kind: u8,
    slot: u32,
    generation: u32,
}

impl Name {
    /// A name that no object ever has.
    pub(crate) const fn reserved(kind: u8) -> Self {
        Self {
            kind,
            slot: (1 << SLOT_BITS) - 1,
            generation: 0,
        }
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self {
            kind: (bits >> 56) as u8,
            slot: (bits >> 32) as u32 & ((1 << SLOT_BITS) - 1),
            generation: bits as u32,
        }
    }

    pub(crate) const fn bits(self) -> u64 {
        (self.kind as u64) << 56 | (self.slot as u64) << 32 | self.generation as u64
    }

    fn shard(self) -> usize {
        self.slot as usize % SHARDS
    }

    fn index(self) -> usize {
        self.slot as usize / SHARDS
    }
}

struct Slot {
    generation: u32,
    object: Option<Object>,
}

struct Shard {
    slots: Vec<Slot>,
    free: Vec<u32>,
    live: usize,
}

impl Shard {
    const fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            live: 0,
        }
    }
}

/// All handles of the process.
pub(crate) struct Table {
    shards: [RwLock<Shard>; SHARDS],
    next: AtomicUsize,
}

impl Table {
    pub(crate) const fn new() -> Self {
        Self {
            shards: [const { RwLock::new(Shard::new()) }; SHARDS],
            next: AtomicUsize::new(0),
        }
    }

    /// Gives an object a name; `None` when there are 16 million already.
    pub(crate) fn insert(&self, kind: u8, object: Object) -> Option<Name> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        for shard in (first..first + SHARDS).map(|n| n % SHARDS) {
            let mut inside = self.write(shard);
            let index = match inside.free.pop() {
                Some(index) => index as usize,
                None if inside.slots.len() < SLOTS_PER_SHARD => {
                    inside.slots.push(Slot {
                        generation: 0,
                        object: None,
                    });
                    inside.slots.len() - 1
                }
                None => continue,
            };
            inside.live += 1;
            let slot = &mut inside.slots[index];
            slot.object = Some(object);
            return Some(Name {
                kind,
                slot: (index * SHARDS + shard) as u32,
                generation: slot.generation,
            });
        }
        None
    }

    /// Returns the object of a name, held for as long as the caller uses it.
    pub(crate) fn get(&self, name: Name) -> Option<Object> {
        let inside = self.read(name.shard());
        let slot = inside.slots.get(name.index())?;
        match slot.generation == name.generation {
            true => slot.object.clone(),
            false => None,
        }
    }

    /// Returns the object and releases the name.
    pub(crate) fn take(&self, name: Name) -> Option<Object> {
        let mut inside = self.write(name.shard());
        let slot = inside.slots.get_mut(name.index())?;
        if slot.generation != name.generation {
            return None;
        }
        let object = slot.object.take()?;
        let reusable = slot.generation < u32::MAX;
        slot.generation = slot.generation.saturating_add(1);
        inside.live -= 1;
        if reusable {
            inside.free.push(name.index() as u32);
        }
        Some(object)
    }

    /// Returns the number of objects with a name.
    pub(crate) fn live(&self) -> usize {
        (0..SHARDS).map(|shard| self.read(shard).live).sum()
    }

    // A panic with the lock held is not possible above, so slots are always
    // whole.
    fn read(&self, shard: usize) -> RwLockReadGuard<'_, Shard> {
        let lock = self.shards[shard].read();
        lock.unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, shard: usize) -> RwLockWriteGuard<'_, Shard> {
        let lock = self.shards[shard].write();
        lock.unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "table/tests.rs"]
mod tests;
