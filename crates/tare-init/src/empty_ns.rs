// SPDX-License-Identifier: MIT OR Apache-2.0
//! A mount namespace with nothing in it but an empty, read-only root: inits copy this one instead of the host's, whose
//! mounts they would only have to get rid of again.

use crate::clone::{CLONE_FILES, CloneArgs, fork, reap_one};
use crate::mount;
use crate::sys::{self, AT_FDCWD, Errno, Fd, Result, nr, sys};

const CLONE_NEWNS: u64 = 0x2_0000;

/// Makes one; the descriptor keeps it.
pub(crate) fn make() -> Result<Fd> {
    // What stands in for it where it is hidden reads the host's procfs. A size of 0 is EINVAL where there is one.
    if sys!(nr::MOUNT_SETATTR, -1i32, c"".as_ptr(), 0, 0, 0) == Err(Errno::NOSYS) {
        return Err(Errno::NOSYS);
    }
    // A place in the table that this process shares with the child: what the child puts there is ours.
    let place = sys::openat(AT_FDCWD, c"/", sys::O_PATH | sys::O_DIRECTORY, 0)?;
    let args = CloneArgs::child(CLONE_NEWNS | CLONE_FILES);
    match fork(&args)? {
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

/// In the child: takes everything out of its namespace, and puts that in the descriptor's place.
fn empty(place: &Fd) -> Result<()> {
    let namespace = sys::openat(AT_FDCWD, c"/proc/thread-self/ns/mnt", sys::O_RDONLY, 0)?;
    // To its root: what a chroot(2) hides would stay in it.
    sys!(nr::SETNS, namespace.0, CLONE_NEWNS)?;
    mount::make_private()?;
    let fs = mount::configure(c"tmpfs")?;
    mount::option(&fs, c"source", c"tmpfs")?;
    mount::option(&fs, c"mode", c"555")?;
    mount::option(&fs, c"nr_inodes", c"1")?;
    let root = mount::create(&fs, mount::LOCKED)?;
    mount::attach_root(root.0)?;
    mount::pivot_root(root.0)?;
    sys!(nr::DUP3, namespace.0, place.0, sys::O_CLOEXEC).map(drop)
}

/// The caller goes on in a copy of `bare`, with that as its root and working directory.
pub(crate) fn enter(bare: i32) -> Result<()> {
    sys!(nr::SETNS, bare, CLONE_NEWNS)?;
    sys!(nr::UNSHARE, CLONE_NEWNS).map(drop)
}
