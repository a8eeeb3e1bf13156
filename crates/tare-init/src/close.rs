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
                // SAFETY: the caller gives it up. The listing's own descriptor
                // is closed again by `for_each`, when no other has its number:
                // this process has one thread, which opens none meanwhile.
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
        // SAFETY: the caller gives up what lies between two kept ones.
        if first < fd && unsafe { sys::close_range(first, fd as u32 - 1) }.is_err() {
            // As in `close_from`; they are few.
            // SAFETY: as above.
            (first..fd).for_each(|fd| unsafe { sys::close(fd) });
        }
        first = fd + 1;
    }
    // SAFETY: as above, of all behind the last one.
    unsafe { close_from(first) }
}
