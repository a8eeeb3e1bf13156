// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's view of the calling thread: the machine's root, root of a user
//! namespace, or an ordinary user; user_namespaces(7).
#![forbid(unsafe_code)]

use caps::Capability;
use nix::unistd::geteuid;

use super::caller::{self, Capabilities};

/// Inode of the user namespace that the kernel begins with:
/// `PROC_USER_INIT_INO`, part of the interface since Linux 3.8.
const INITIAL: u64 = 0xEFFF_FFFD;

/// Capabilities that a sandbox without a user namespace needs: for mounts and
/// cgroups, a network with a loopback, devices, a new root.
const NEEDED: [Capability; 4] = [
    Capability::CAP_SYS_ADMIN,
    Capability::CAP_NET_ADMIN,
    Capability::CAP_MKNOD,
    Capability::CAP_SYS_CHROOT,
];

/// Returns whether the calling thread is root of the machine: user 0 with these
/// capabilities in the initial user namespace. Every other user 0 is an
/// ordinary user: in a user namespace of its own it has them all.
pub(crate) fn is_machine_root() -> bool {
    geteuid().is_root() && has_all(&NEEDED) && in_initial_namespace()
}

/// Returns whether the calling thread is user 0 in the initial user namespace,
/// so that the system's directories are its own.
pub(crate) fn owns_system() -> bool {
    geteuid().is_root() && in_initial_namespace()
}

/// Returns whether capabilities are in effect, in the thread's own user
/// namespace.
pub(crate) fn has_all(wanted: &[Capability]) -> bool {
    Capabilities::read().is_ok_and(|own| {
        let mut wanted = wanted.iter();
        wanted.all(|capability| own.effective & capability.bitmask() != 0)
    })
}

/// Assumes so without a procfs: no sandbox opens there, and root's images keep
/// their owners.
fn in_initial_namespace() -> bool {
    caller::namespace("user").map_or(true, |(_, inode)| inode == INITIAL)
}
