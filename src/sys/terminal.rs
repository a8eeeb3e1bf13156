// SPDX-License-Identifier: MIT OR Apache-2.0
//! Terminals: their size, ioctl_tty(2).

use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::errno::Errno;

/// TIOCSWINSZ.
pub(crate) fn set_size(terminal: BorrowedFd<'_>, rows: u16, columns: u16) -> Result<(), Errno> {
    let size = libc::winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the call reads a `winsize` that outlives it.
    let done = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    Errno::result(done).map(drop)
}
