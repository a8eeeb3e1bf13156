// SPDX-License-Identifier: MIT OR Apache-2.0
//! Descriptors to poll: eventfd(2), timerfd_create(2), and several in one,
//! epoll(7).

use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::unistd::{read, write};

/// A descriptor that is not readable yet, and never blocks.
pub(crate) fn event() -> Result<OwnedFd, Errno> {
    // SAFETY: the call takes two numbers; the result is a new descriptor
    // without another owner.
    unsafe { owned(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK)) }
}

/// Makes the descriptor readable.
pub(crate) fn raise(event: BorrowedFd<'_>) {
    // Fails only with a full count, and then the descriptor is readable.
    let _ = write(event, &1u64.to_ne_bytes());
}

/// Makes the descriptor unreadable; returns the number of events, or of the
/// timer's expirations.
pub(crate) fn take(event: BorrowedFd<'_>) -> u64 {
    let mut count = [0; 8];
    match read(event, &mut count) {
        Ok(8) => u64::from_ne_bytes(count),
        // EAGAIN: not readable.
        _ => 0,
    }
}

/// A timer that is not set, and never blocks.
pub(crate) fn timer() -> Result<OwnedFd, Errno> {
    let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
    // SAFETY: as in `event`.
    unsafe { owned(libc::timerfd_create(libc::CLOCK_MONOTONIC, flags)) }
}

/// Sets a timer to a time below a second.
pub(crate) fn set_timer(timer: BorrowedFd<'_>, after: Duration) {
    let never = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let value = libc::itimerspec {
        it_interval: never,
        it_value: libc::timespec {
            tv_sec: 0,
            tv_nsec: after.subsec_nanos().into(),
        },
    };
    // SAFETY: the time outlives the call, and the old time is not requested.
    // With a timer and a valid time the call does not fail.
    unsafe { libc::timerfd_settime(timer.as_raw_fd(), 0, &raw const value, std::ptr::null_mut()) };
}

/// A descriptor that is readable while any of these has a requested event.
pub(crate) fn any_of(all: &[(BorrowedFd<'_>, PollFlags)]) -> Result<OwnedFd, Errno> {
    // SAFETY: as in `event`.
    let any = unsafe { owned(libc::epoll_create1(libc::EPOLL_CLOEXEC))? };
    for (fd, flags) in all {
        let mut event = libc::epoll_event {
            // Both have the same numbers, poll(2) and epoll_ctl(2).
            events: flags.bits() as u32,
            u64: 0,
        };
        let (any, fd) = (any.as_raw_fd(), fd.as_raw_fd());
        // SAFETY: the event outlives the call, which copies the event.
        let added = unsafe { libc::epoll_ctl(any, libc::EPOLL_CTL_ADD, fd, &raw mut event) };
        Errno::result(added)?;
    }
    Ok(any)
}

/// # Safety
/// `fd` is an error or a new descriptor without another owner.
unsafe fn owned(fd: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: this function's own.
    Ok(unsafe { OwnedFd::from_raw_fd(Errno::result(fd)?) })
}
