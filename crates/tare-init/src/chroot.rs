// SPDX-License-Identifier: MIT OR Apache-2.0
//! A host in a chroot(2) that is no mount point: its root cannot be made
//! private, nor be pivoted away from.

use crate::sys::{self, AT_FDCWD, O_DIRECTORY, O_PATH, O_RDONLY, Result, nr, sys};

const CLONE_NEWNS: u64 = 0x2_0000;

/// Changes all mounts of the caller's namespace by `change`, from its root, and
/// returns into the chroot. No other process may be in that namespace.
pub(crate) fn change_all(change: impl Fn() -> Result<()>) -> Result<()> {
    let root = sys::openat(AT_FDCWD, c"/", O_PATH | O_DIRECTORY, 0)?;
    let namespace = sys::openat(AT_FDCWD, c"/proc/thread-self/ns/mnt", O_RDONLY, 0)?;
    // The one that the caller is in: that sets its root and working directory
    // to those of the namespace.
    sys!(nr::SETNS, namespace.0, CLONE_NEWNS)?;
    change()?;
    enter(root.0)
}

/// Makes a directory the caller's root.
pub(crate) fn enter(root: i32) -> Result<()> {
    sys!(nr::FCHDIR, root)?;
    sys!(nr::CHROOT, c".".as_ptr()).map(drop)
}
