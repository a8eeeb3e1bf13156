// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pseudoterminals, ioctl_tty(2).

use super::{Fd, Result, calls, syscall};

const TIOCSCTTY: u32 = 0x540e;
const TIOCGPTPEER: u32 = 0x5441;

calls! {
    /// Makes the terminal the caller's controlling one: TIOCSCTTY.
    fn set_controlling_terminal(fd: i32) = IOCTL(fd, TIOCSCTTY, 0);

    /// Opens the slave of a master, without a path: TIOCGPTPEER.
    fn open_pty_peer(master: &Fd, flags: u32) -> Fd = IOCTL(master.raw(), TIOCGPTPEER, flags);
}

/// Lets the slave of a new master be opened: TIOCSPTLCK.
pub(crate) fn unlock_pty(master: &Fd) -> Result<()> {
    const TIOCSPTLCK: u32 = 0x4004_5431;
    let unlocked = 0u32;
    // SAFETY: the kernel reads one integer.
    unsafe { syscall!(IOCTL, master.raw(), TIOCSPTLCK, &raw const unlocked) }.map(drop)
}

/// Sets rows and columns: TIOCSWINSZ.
pub(crate) fn set_window_size(master: &Fd, rows: u16, columns: u16) -> Result<()> {
    const TIOCSWINSZ: u32 = 0x5414;
    let size = [rows, columns, 0, 0];
    // SAFETY: the kernel reads four integers, `struct winsize`.
    unsafe { syscall!(IOCTL, master.raw(), TIOCSWINSZ, size.as_ptr()) }.map(drop)
}
