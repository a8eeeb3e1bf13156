// SPDX-License-Identifier: MIT OR Apache-2.0
//! Clocks, pauses, and waits for a word of shared memory.

use core::sync::atomic::AtomicU32;

use super::{Result, syscall};

const SECOND_NS: u64 = 1_000_000_000;

/// Returns nanoseconds since the boot, suspended ones included.
pub(crate) fn now_ns() -> u64 {
    const CLOCK_BOOTTIME: u32 = 7;
    let time = clock(CLOCK_BOOTTIME);
    time[0] * SECOND_NS + time[1]
}

/// Returns seconds of the clock that file systems stamp files with.
pub(crate) fn realtime_s() -> u64 {
    const CLOCK_REALTIME: u32 = 0;
    clock(CLOCK_REALTIME)[0]
}

fn clock(id: u32) -> [u64; 2] {
    let mut time = [0u64; 2];
    // These clocks always exist. SAFETY: the kernel writes two integers into
    // the array.
    let _ = unsafe { syscall!(CLOCK_GETTIME, id, time.as_mut_ptr()) };
    time
}

/// Sleeps for microseconds, or less.
pub(crate) fn sleep_us(us: u64) {
    let time = Timeout::new(Some(us * 1000));
    // Waking early is harmless: every caller is in a loop.
    // SAFETY: the kernel reads two integers; a null second pointer is allowed.
    let _ = unsafe { syscall!(NANOSLEEP, time.as_ptr(), 0) };
}

/// Time to wait, or for ever: seconds and nanoseconds, `struct timespec`.
pub(super) struct Timeout(Option<[u64; 2]>);

impl Timeout {
    pub(super) fn new(ns: Option<u64>) -> Self {
        Self(ns.map(|ns| [ns / SECOND_NS, ns % SECOND_NS]))
    }

    /// Returns the address for a call that takes null for ever.
    pub(super) fn as_ptr(&self) -> *const u64 {
        self.0
            .as_ref()
            .map_or(core::ptr::null(), |time| time.as_ptr())
    }
}

/// Sleeps while the word has this value, for as long as given: FUTEX_WAIT. May
/// return early.
pub(crate) fn futex_wait(word: &AtomicU32, value: u32, timeout_ns: Option<u64>) {
    let time = Timeout::new(timeout_ns);
    // Callers look at the word again, so the reason does not matter. SAFETY:
    // the word lives through the call; the time is null or two integers.
    let _ = unsafe { syscall!(FUTEX, word.as_ptr(), 0, value, time.as_ptr()) };
}

/// Wakes a thread that waits for the word at this address: FUTEX_WAKE.
///
/// Takes an address because the word may be gone already. The kernel then wakes
/// no thread, or a thread that waits for another word at the same place and
/// looks again.
pub(crate) fn futex_wake(word: *const u32) {
    // SAFETY: FUTEX_WAKE takes the address as a key and does not read there.
    let _: Result<usize> = unsafe { syscall!(FUTEX, word, 1, 1) };
}
