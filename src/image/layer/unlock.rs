// SPDX-License-Identifier: MIT OR Apache-2.0
//! Opens up directories with a mode that shuts out their owner.
#![forbid(unsafe_code)]

use std::os::fd::AsFd;

use nix::sys::stat::{FileStat, Mode, fchmod};
use nix::unistd::Uid;

use crate::image::tar::{Call as _, Parsed};

/// The owner's bits, which an ordinary user needs to work in a directory.
pub(super) const OWNER: u32 = 0o700;

/// Gives the owner of a directory all rights, and returns the mode to restore;
/// `None` if the owner had them.
pub(super) fn open_up(fd: impl AsFd, stat: &FileStat) -> Parsed<Option<u32>> {
    let mode = stat.st_mode & 0o7777;
    if mode & OWNER == OWNER || stat.st_uid != Uid::effective().as_raw() {
        return Ok(None);
    }
    fchmod(fd, Mode::from_bits_truncate(mode | OWNER)).call("fchmod")?;
    Ok(Some(mode))
}
