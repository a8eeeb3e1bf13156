// SPDX-License-Identifier: MIT OR Apache-2.0
//! A network namespace made ahead, for one sandbox: making one takes a third of a start, joining one next to nothing.
//!
//! A child makes it, while the sandbox before it is being set up, and leaves its descriptor in the table that it shares
//! with the spawner. Whoever comes before it is ready, and whoever takes another user namespace, makes its own. Only a host
//! that has opened a sandbox before gets one: who opens but one has no use for it.

use crate::clone::{CLONE_FILES, CloneArgs, Dead, fork};
use crate::sys::{self, AT_FDCWD, Fd, Result, nr, sys};

pub(crate) const CLONE_NEWNET: u64 = 0x4000_0000;
const CLONE_NEWUSER: u64 = 0x1000_0000;

#[derive(Default)]
pub(crate) struct Spare {
    /// The one that waits, or the place where one is being put.
    at: Option<Fd>,
    /// Who makes it; 0 for nobody.
    maker: i32,
    /// Sandboxes with a network namespace of their own have been made before.
    wanted: bool,
}

impl Spare {
    /// The one that waits, for a sandbox of these `namespaces`: without CLONE_NEWNET then.
    pub(crate) fn take(&mut self, namespaces: &mut u64) -> Option<Fd> {
        if self.maker != 0 || *namespaces & (CLONE_NEWNET | CLONE_NEWUSER) != CLONE_NEWNET {
            return None;
        }
        let spare = match self.at.take()? {
            spare if cfg!(feature = "weak_network_again") => {
                let again = sys::duplicate(spare.0, 0).ok();
                self.at = Some(spare);
                again?
            }
            spare => spare,
        };
        *namespaces &= !CLONE_NEWNET;
        Some(spare)
    }

    /// Has the next one made, if this sandbox is not the first of its kind.
    pub(crate) fn follow(&mut self, namespaces: u64) {
        if namespaces & CLONE_NEWNET == 0 || !core::mem::replace(&mut self.wanted, true) || self.at.is_some() {
            return;
        }
        // Where it cannot be had, sandboxes make their own, and say what is wrong.
        let Ok(place) = sys::openat(AT_FDCWD, c"/", sys::O_PATH | sys::O_DIRECTORY, 0) else { return };
        let args = CloneArgs { flags: CLONE_FILES, exit_signal: u64::from(sys::SIGCHLD), ..CloneArgs::default() };
        match fork(&args) {
            Ok(0) => sys::exit(make(&place).err().map_or(0, |errno| errno.0)),
            Ok(pid) => (self.at, self.maker) = (Some(place), pid),
            Err(_) => {}
        }
    }

    /// Hears of a dead child.
    pub(crate) fn hear(&mut self, dead: &Dead) {
        if dead.pid == self.maker {
            self.maker = 0;
            if dead.status != 0 {
                self.at = None;
            }
        }
    }
}

fn make(place: &Fd) -> Result<()> {
    sys!(nr::UNSHARE, CLONE_NEWNET)?;
    let made = sys::openat(AT_FDCWD, c"/proc/thread-self/ns/net", sys::O_RDONLY, 0)?;
    let put = sys!(nr::DUP3, made.0, place.0, sys::O_CLOEXEC).map(drop);
    // The table is the spawner's, too.
    drop(made);
    put
}

/// The caller goes on in it.
pub(crate) fn enter(spare: i32) -> Result<()> {
    sys!(nr::SETNS, spare, CLONE_NEWNET).map(drop)
}
