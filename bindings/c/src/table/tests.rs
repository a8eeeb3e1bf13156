// SPDX-License-Identifier: MIT OR Apache-2.0
//! The table under reuse, exhaustion and many threads, and its cost.

use std::sync::atomic::AtomicBool;
use std::thread;

use super::*;

fn number(table: &Table, name: Name) -> Option<u64> {
    let object = table.get(name)?;
    Some(*object.downcast::<u64>().unwrap())
}

#[test]
fn name_survives_its_bits() {
    let name = Name {
        kind: b'S',
        slot: (1 << SLOT_BITS) - 1,
        generation: u32::MAX,
    };
    assert_eq!(Name::from_bits(name.bits()), name);
    let table = Table::new();
    let given = table.insert(b'z', Arc::new(7u64)).unwrap();
    assert_eq!(Name::from_bits(given.bits()), given);
    // No address of a process: bits 47 to 63 of those are all alike (x86-64, 4
    // and 5 levels).
    assert!(![0, 0xff].contains(&(given.bits() >> 56)));
}

#[test]
fn stale_name_stays_stale_when_its_slot_is_used_again() {
    let table = Table::new();
    let mut old = Vec::new();
    for n in 0..1000u64 {
        let name = table.insert(b'S', Arc::new(n)).unwrap();
        assert_eq!(number(&table, name), Some(n));
        assert!(table.take(name).is_some());
        old.push(name);
    }
    let now = table.insert(b'S', Arc::new(1u64)).unwrap();
    assert!(old.iter().any(|o| o.slot == now.slot), "no slot was reused");
    for name in old {
        assert_eq!(number(&table, name), None);
        assert!(table.take(name).is_none());
    }
    assert_eq!(table.live(), 1);
}

#[test]
fn slot_with_its_last_generation_is_never_used_again() {
    let table = Table::new();
    let name = table.insert(b'S', Arc::new(1u64)).unwrap();
    let last = Name {
        generation: u32::MAX,
        ..name
    };
    table.write(name.shard()).slots[name.index()].generation = u32::MAX;
    assert!(table.take(last).is_some());
    assert!(table.take(last).is_none());
    for n in 0..4 * SHARDS as u64 {
        assert_ne!(table.insert(b'S', Arc::new(n)).unwrap().slot, name.slot);
    }
    assert_eq!(number(&table, last), None);
}

#[test]
fn full_shards_are_passed_over() {
    let table = Table::new();
    for shard in 1..SHARDS {
        let mut inside = table.write(shard);
        inside.slots.resize_with(SLOTS_PER_SHARD, || Slot {
            generation: 0,
            object: None,
        });
    }
    for n in 0..100u64 {
        let name = table.insert(b'S', Arc::new(n)).unwrap();
        assert_eq!((name.shard(), number(&table, name)), (0, Some(n)));
    }
    table.write(0).slots.resize_with(SLOTS_PER_SHARD, || Slot {
        generation: 0,
        object: None,
    });
    assert!(table.insert(b'S', Arc::new(0u64)).is_none());
}

#[test]
fn name_is_taken_by_exactly_one_of_many_threads() {
    let table = Table::new();
    for n in 0..200u64 {
        let name = table.insert(b'S', Arc::new(n)).unwrap();
        let takers = AtomicUsize::new(0);
        let go = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !go.load(Ordering::Acquire) {
                        std::hint::spin_loop();
                    }
                    assert!(number(&table, name).is_none_or(|seen| seen == n));
                    if table.take(name).is_some() {
                        takers.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            go.store(true, Ordering::Release);
        });
        assert_eq!(takers.into_inner(), 1);
    }
    assert_eq!(table.live(), 0);
}

#[test]
fn object_in_use_outlives_its_name() {
    let table = Table::new();
    let name = table.insert(b'S', Arc::new(5u64)).unwrap();
    let used = table.get(name).unwrap();
    drop(table.take(name));
    assert_eq!(*used.downcast::<u64>().unwrap(), 5);
}
