// SPDX-License-Identifier: MIT OR Apache-2.0
//! Closes descriptors that nobody counted.

use crate::decimal;
use crate::dir;
use crate::sys::{self, AT_FDCWD, nr, sys};

/// Closes every descriptor from `first` on.
pub(crate) fn close_from(first: i32) {
    if sys!(nr::CLOSE_RANGE, first, u32::MAX, 0).is_err() {
        // KERNEL(5.9): close_range may be hidden by an outer filter. The listing itself is one of
        // those closed, which ends it early; when it is the only one, none was left.
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
}
