// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pseudoterminals, ioctl_tty(2).

use super::fd::opened;
use super::{Fd, Result, syscall};

/// Makes the terminal the caller's controlling one: TIOCSCTTY.
pub(crate) fn set_controlling_terminal(fd: i32) -> Result<()> {
    const TIOCSCTTY: u32 = 0x540e;
    // SAFETY: TIOCSCTTY takes a number.
    unsafe { syscall!(IOCTL, fd, TIOCSCTTY, 0) }.map(drop)
}

/// Lets the slave of a new master be opened: TIOCSPTLCK.
pub(crate) fn unlock_pty(master: &Fd) -> Result<()> {
    const TIOCSPTLCK: u32 = 0x4004_5431;
    let unlocked = 0u32;
    // SAFETY: the kernel reads one integer.
    unsafe { syscall!(IOCTL, master.raw(), TIOCSPTLCK, &raw const unlocked) }.map(drop)
}

/// Opens the slave of a master, without a path: TIOCGPTPEER.
pub(crate) fn open_pty_peer(master: &Fd, flags: u32) -> Result<Fd> {
    const TIOCGPTPEER: u32 = 0x5441;
    // SAFETY: TIOCGPTPEER takes flags and opens the returned descriptor.
    unsafe { opened(syscall!(IOCTL, master.raw(), TIOCGPTPEER, flags)) }
}

/// Sets rows and columns: TIOCSWINSZ.
pub(crate) fn set_window_size(master: &Fd, rows: u16, columns: u16) -> Result<()> {
    const TIOCSWINSZ: u32 = 0x5414;
    let size = [rows, columns, 0, 0];
    // SAFETY: the kernel reads four integers, `struct winsize`.
    unsafe { syscall!(IOCTL, master.raw(), TIOCSWINSZ, size.as_ptr()) }.map(drop)
}
