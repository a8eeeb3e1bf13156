// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mounts of a host in a chroot(2) that is no mount point: its root cannot be
//! made private, nor be pivoted away from.
#![forbid(unsafe_code)]

use crate::sys::{self, AT_FDCWD, CLONE_NEWNS, O_DIRECTORY, O_PATH, O_RDONLY, Result};

/// Changes all mounts of the caller's namespace by `change`, from its root, and
/// returns into the chroot. No other process may be in that namespace.
pub(crate) fn change_all(change: impl Fn() -> Result<()>) -> Result<()> {
    let root = sys::openat(AT_FDCWD, c"/", O_PATH | O_DIRECTORY, 0)?;
    let namespace = sys::openat(AT_FDCWD, c"/proc/thread-self/ns/mnt", O_RDONLY, 0)?;
    // To enter the own namespace moves root and working directory to its root.
    sys::setns(namespace.raw(), CLONE_NEWNS)?;
    change()?;
    enter(root.raw())
}

/// Makes a directory the caller's root.
pub(crate) fn enter(root: i32) -> Result<()> {
    sys::fchdir(root)?;
    sys::chroot(c".")
}
