// SPDX-License-Identifier: MIT OR Apache-2.0
//! Waits for descriptors until a deadline, poll(2).
#![forbid(unsafe_code)]

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};

/// Waits until a descriptor is ready. Returns false at the deadline, and does
/// not look at the descriptors after it. A signal handler ends the wait with
/// EINTR.
pub(crate) fn poll(fds: &mut [PollFd<'_>], deadline: Option<Instant>) -> Result<bool, Errno> {
    loop {
        let timeout = match deadline.map(|d| d.saturating_duration_since(Instant::now())) {
            None => PollTimeout::NONE,
            Some(Duration::ZERO) => return Ok(false),
            // Rounded up: a wait that is too short would be repeated at once,
            // until the deadline.
            Some(left) => PollTimeout::try_from(left.as_nanos().div_ceil(1_000_000))
                .unwrap_or(PollTimeout::MAX),
        };
        // A deadline beyond the longest timeout takes more than one call.
        if nix::poll::poll(fds, timeout)? > 0 {
            return Ok(true);
        }
    }
}

/// Waits as [`poll`] does; signal handlers run and do not end the wait.
pub(crate) fn poll_uninterrupted(
    fds: &mut [PollFd<'_>],
    deadline: Option<Instant>,
) -> Result<bool, Errno> {
    loop {
        match poll(fds, deadline) {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

/// Returns whether input or end of file came within this time.
pub(crate) fn is_readable_within(fd: BorrowedFd<'_>, time: Duration) -> Result<bool, Errno> {
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    poll_uninterrupted(&mut fds, Instant::now().checked_add(time))
}

/// Returns whether a read would not wait; false if the poll fails.
pub(crate) fn is_readable(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    nix::poll::poll(&mut fds, PollTimeout::ZERO).is_ok_and(|n| n > 0)
}
