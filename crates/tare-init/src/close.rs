// SPDX-License-Identifier: MIT OR Apache-2.0
//! Closes descriptors that nobody counted.

use crate::decimal;
use crate::dir;
use crate::sys::{self, AT_FDCWD, nr, sys};

/// Closes every descriptor from `first` on.
pub(crate) fn close_from(first: i32) {
    if sys!(nr::CLOSE_RANGE, first, u32::MAX, 0).is_err() {
        close_listed(first);
    }
}

/// KERNEL(5.9): close_range may be hidden by an outer filter. The listing itself is one of
/// those closed, which ends it early; when it is the only one, none was left. Apart, for the page that it takes of a stack.
#[cold]
#[inline(never)]
fn close_listed(first: i32) {
    let mut closed = 2;
    while closed > 1 {
        closed = 0;
        let _ = dir::for_each(AT_FDCWD, c"/proc/self/fd", |name| {
            if let Some(fd) = decimal::number(name.to_bytes()).filter(|fd| *fd >= first) {
                sys::close(fd);
                closed += 1;
            }
            Ok(())
        });
    }
}

/// Closes every descriptor that is none of the standard streams and not among these.
pub(crate) fn close_but(kept: &mut [i32]) {
    kept.sort_unstable();
    let mut first = 3;
    for fd in kept.iter().copied().filter(|fd| *fd >= 3) {
        // As above; there are few.
        if first < fd && sys!(nr::CLOSE_RANGE, first, fd - 1, 0).is_err() {
            (first..fd).for_each(sys::close);
        }
        first = fd + 1;
    }
    close_from(first);
}
