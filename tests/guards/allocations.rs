// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counts the allocations of a run in an open sandbox, in the calling thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use crate::alone;
use crate::golden;
use crate::harness::Ground;
use crate::host::succeed;

thread_local! {
    /// Blocks that this thread asked for, grown ones included.
    static BLOCKS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

fn count() {
    // An ending thread may allocate after its counter is gone.
    let _ = BLOCKS.try_with(|blocks| blocks.set(blocks.get() + 1));
}

// SAFETY: passes every call to the system's allocator unchanged; counting does
// not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller promises what this call needs.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller promises what this call needs.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller promises what this call needs.
        unsafe { System.realloc(block, layout, size) }
    }
}

const TIMES: usize = 200;

/// The fewest of many runs: a run that waits for its output allocates more.
fn fewest(work: impl Fn()) -> usize {
    let once = || {
        let before = BLOCKS.get();
        work();
        BLOCKS.get() - before
    };
    (0..TIMES).map(|_| once()).min().unwrap()
}

#[test]
fn allocations_of_a_warm_run_do_not_rise() {
    let _alone = alone();
    let ground = Ground::new();
    let sandbox = ground.open();
    for _ in 0..4 {
        succeed(&sandbox);
    }
    golden::hold_each("allocations", || {
        let run = fewest(|| succeed(&sandbox));
        let open = fewest(|| ground.open().close().unwrap());
        println!("allocations: {run} a warm run, {open} an open and close");
        [("warm", run), ("open", open)]
    });
}
