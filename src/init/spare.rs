// SPDX-License-Identifier: MIT OR Apache-2.0
//! Namespaces made ahead, for one sandbox: the network's and that of IPC take a third of a start to make, and next to nothing
//! to join.
//!
//! A thread of the spawner makes them, while the sandbox before is being set up. Whoever comes before they are ready, and
//! whoever takes another user namespace, makes its own. Only a host that has opened a sandbox before gets them: who opens
//! but one has no use for them.

use core::ffi::CStr;
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use crate::clone::{end_thread, thread};
use crate::mapping::Mapping;
use crate::network;
use crate::sys::{self, AT_FDCWD, Fd, Result, nr, sys};

const CLONE_NEWIPC: u64 = 0x0800_0000;
const CLONE_NEWUSER: u64 = 0x1000_0000;
const CLONE_NEWNET: u64 = 0x4000_0000;
const KINDS: u64 = CLONE_NEWNET | CLONE_NEWIPC;

const STACK: usize = 32 << 10;

/// Not 0 as long as the thread has its stack.
static BUSY: AtomicU32 = AtomicU32::new(0);
/// What it has made; -1 for nothing.
static MADE: [AtomicI32; 2] = [AtomicI32::new(-1), AtomicI32::new(-1)];

/// A network namespace, whose loopback is up, and one of IPC.
pub(crate) struct Pair([Fd; 2]);

/// Whether a sandbox of these namespaces can take them.
fn serves(namespaces: u64) -> bool {
    namespaces & (KINDS | CLONE_NEWUSER) == KINDS
}

#[derive(Default)]
pub(crate) struct Spare {
    /// Of the thread: address and length. No child has a copy.
    stack: (usize, usize),
    /// Sandboxes with both kinds of their own have been made before.
    wanted: bool,
}

impl Spare {
    /// What waits, for a sandbox of these `namespaces`, which are without them then.
    pub(crate) fn take(&mut self, namespaces: &mut u64) -> Option<Pair> {
        if !serves(*namespaces) || BUSY.load(Ordering::Acquire) != 0 {
            return None;
        }
        let [network, ipc] = MADE.each_ref().map(|fd| match cfg!(feature = "weak_network_again") {
            true => sys::duplicate(fd.load(Ordering::Relaxed), 0).map_or(-1, Fd::keep),
            false => fd.swap(-1, Ordering::Relaxed),
        });
        if network < 0 || ipc < 0 {
            return None;
        }
        *namespaces &= !KINDS;
        Some(Pair([Fd(network), Fd(ipc)]))
    }

    /// Has the next made, if this sandbox is not the first of its kind and none waits.
    pub(crate) fn follow(&mut self, namespaces: u64) {
        if !serves(namespaces) || !core::mem::replace(&mut self.wanted, true) {
            return;
        }
        if BUSY.load(Ordering::Acquire) != 0 || MADE[1].load(Ordering::Relaxed) >= 0 {
            return;
        }
        // Where they cannot be had, sandboxes make their own, and say what is wrong.
        if self.stack.0 == 0 {
            let Ok(stack) = Mapping::anonymous(STACK) else { return };
            let _ = stack.for_children(false);
            self.stack = stack.into_raw();
        }
        BUSY.store(1, Ordering::Relaxed);
        if !thread(self.stack, Some(&BUSY), enter, 0) {
            BUSY.store(0, Ordering::Relaxed);
        }
    }
}

/// The thread, on a stack of its own: what it shares with the first one are descriptors and the statics above.
extern "C" fn enter(_: usize) -> ! {
    if let Ok(Pair(made)) = make() {
        for (place, fd) in MADE.iter().zip(made) {
            place.store(fd.keep(), Ordering::Relaxed);
        }
    }
    end_thread()
}

fn make() -> Result<Pair> {
    sys!(nr::UNSHARE, KINDS)?;
    network::loopback_up()?;
    let open = |file: &CStr| sys::openat(AT_FDCWD, file, sys::O_RDONLY | sys::O_CLOEXEC, 0);
    Ok(Pair([open(c"/proc/thread-self/ns/net")?, open(c"/proc/thread-self/ns/ipc")?]))
}

impl Pair {
    /// The caller goes on in them; they are closed with everything that is not in place.
    pub(crate) fn enter(self) -> Result<()> {
        let [network, ipc] = self.0.map(Fd::keep);
        sys!(nr::SETNS, network, CLONE_NEWNET)?;
        sys!(nr::SETNS, ipc, CLONE_NEWIPC).map(drop)
    }
}
