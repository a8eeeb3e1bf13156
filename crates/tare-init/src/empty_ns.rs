// SPDX-License-Identifier: MIT OR Apache-2.0
//! An empty mount namespace, which inits copy instead of the host's.
//!
//! A copy of the host's namespace has all mounts of the host, and the init
//! would have to unmount them again. The empty namespace has only an empty,
//! read-only root.

use crate::clone::reap_one;
use crate::mount;
use crate::sys::{
    self, AT_FDCWD, CLONE_FILES, CLONE_NEWNS, Errno, Fd, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY, MS_PRIVATE, Result,
};

/// Makes an empty mount namespace; the descriptor keeps it alive.
pub(crate) fn make() -> Result<Fd> {
    // The fallback of mount_setattr(2) reads the host's procfs, which the empty
    // namespace lacks.
    if !sys::has_mount_setattr() {
        return Err(Errno::NOSYS);
    }
    // A place in the descriptor table, which the child shares: the child puts
    // the namespace there.
    let place = sys::openat(AT_FDCWD, c"/", sys::O_PATH | sys::O_DIRECTORY, 0)?;
    match sys::fork(CLONE_NEWNS | CLONE_FILES, None)? {
        0 => match empty(&place) {
            Ok(()) => sys::exit(0),
            Err(errno) => sys::exit(errno.0),
        },
        pid => match reap_one(pid)? {
            0 => Ok(place),
            errno => Err(Errno(errno)),
        },
    }
}

/// Empties the namespace of the child, and puts it in the descriptor's place.
fn empty(place: &Fd) -> Result<()> {
    const ATTRS: u32 = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    let namespace = sys::openat(AT_FDCWD, c"/proc/thread-self/ns/mnt", sys::O_RDONLY, 0)?;
    // Moves to the root of the namespace, because mounts that a chroot(2) hides
    // would stay.
    sys::setns(namespace.raw(), CLONE_NEWNS)?;
    mount::propagate(MS_PRIVATE)?;
    let fs = sys::fsopen(c"tmpfs")?;
    mount::option(&fs, c"source", c"tmpfs")?;
    mount::option(&fs, c"mode", c"555")?;
    mount::option(&fs, c"nr_inodes", c"1")?;
    let root = mount::create(&fs, ATTRS)?;
    mount::attach_root(root.raw())?;
    mount::pivot_root(root.raw())?;
    // SAFETY: `place` owns the replaced descriptor, and its copy afterwards.
    unsafe { sys::dup3(namespace.raw(), place.raw(), sys::O_CLOEXEC) }
}

/// Moves the caller into a copy of the empty namespace; its root becomes root
/// and working directory.
pub(crate) fn enter(empty_ns: i32) -> Result<()> {
    sys::setns(empty_ns, CLONE_NEWNS)?;
    sys::unshare(CLONE_NEWNS)
}
