// SPDX-License-Identifier: MIT OR Apache-2.0
//! Closes descriptors that this program did not count.

use crate::decimal;
use crate::dir;
use crate::sys::{self, AT_FDCWD};

/// Closes every descriptor from `first` on.
///
/// # Safety
/// No owner of such a descriptor uses it again.
pub(crate) unsafe fn close_from(first: i32) {
    // SAFETY: the caller gives them up.
    if unsafe { sys::close_range(first, u32::MAX) }.is_err() {
        // SAFETY: as above.
        unsafe { close_listed(first) }
    }
}

/// Closes every descriptor from `first` on that procfs lists.
///
/// KERNEL(5.9): an outer filter may hide close_range(2). The listing itself is
/// among the closed descriptors, which ends the listing early. The last round
/// finds the listing alone. Not inlined, for the page that it takes of a stack.
///
/// # Safety
/// As for [`close_from`].
#[cold]
#[inline(never)]
unsafe fn close_listed(first: i32) {
    let mut closed = 2;
    while closed > 1 {
        closed = 0;
        let _ = dir::for_each(AT_FDCWD, c"/proc/self/fd", |name| {
            if let Some(fd) = decimal::number(name.to_bytes()).filter(|fd| *fd >= first) {
                // SAFETY: the caller gives the descriptor up. `for_each` closes
                // the listing's number again, which is free then: this process
                // has one thread, which opens no descriptor meanwhile.
                unsafe { sys::close(fd) };
                closed += 1;
            }
            Ok(())
        });
    }
}

/// Closes every descriptor that is neither a standard stream nor among `kept`.
///
/// # Safety
/// No owner of such a descriptor uses it again.
pub(crate) unsafe fn close_but(kept: &mut [i32]) {
    kept.sort_unstable();
    let mut first = 3;
    for fd in kept.iter().copied().filter(|fd| *fd >= 3) {
        // SAFETY: the caller gives up all between two kept descriptors.
        if first < fd && unsafe { sys::close_range(first, fd as u32 - 1) }.is_err() {
            // As in `close_from`; the numbers are few. SAFETY: as above.
            (first..fd).for_each(|fd| unsafe { sys::close(fd) });
        }
        first = fd + 1;
    }
    // SAFETY: as above, for all behind the last kept descriptor.
    unsafe { close_from(first) }
}
