// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tells by a descriptor that the kernel kills for want of memory.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use nix::fcntl::OFlag;
use nix::poll::PollFlags;
use nix::sys::uio::pread;

use super::node::open_file;
use super::{Cgroup, Node};
use crate::error::{Error, Kind, Result, Step};
use crate::sys::event;

const STEP: Step = Step::WatchSandbox;

/// Kernel's notices of kills in a cgroup.
#[derive(Debug)]
pub(crate) enum OomNotice {
    /// v2: `memory.events`. It has POLLPRI from a change until it is read.
    After(OwnedFd),
    /// v1: eventfd(2). A notice comes before the kill, and in vain where memory
    /// becomes free meanwhile.
    Before(OwnedFd),
}

impl OomNotice {
    /// Returns the descriptor to poll, with the events to poll for.
    pub(crate) fn source(&self) -> (BorrowedFd<'_>, PollFlags) {
        match self {
            Self::After(file) => (file.as_fd(), PollFlags::POLLPRI),
            Self::Before(event) => (event.as_fd(), PollFlags::POLLIN),
        }
    }

    /// Takes notices back; returns how many kills may follow.
    pub(crate) fn take(&self) -> u64 {
        match self {
            Self::After(file) => {
                // It fails where the cgroup is gone, and so is the sandbox.
                let _ = pread(file, &mut [0; 1], 0);
                0
            }
            Self::Before(event) => event::take(event.as_fd()),
        }
    }
}

impl Cgroup {
    /// Has the kernel tell of kills for want of memory from now on.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] without `limits.memory`, which counts them.
    pub(crate) fn watch_oom(&self) -> Result<OomNotice> {
        if !self.written.iter().any(|w| w.key == "limits.memory") {
            let why = "kills for want of memory are counted with limits.memory only";
            let error = Error::new(Kind::Unsupported, STEP, why);
            return Err(error.with_cure("open with limits.memory"));
        }
        match (self.v1_node("memory"), &self.v2) {
            (Some(node), _) => before(node),
            (None, Some(node)) => {
                let notice = OomNotice::After(open(node, "memory.events")?);
                // Unread, it would have something to tell.
                notice.take();
                Ok(notice)
            }
            (None, None) => unreachable!("a limit was written there"),
        }
    }
}

fn open(node: &Node, file: &str) -> Result<OwnedFd> {
    open_file(node.fd(), file, OFlag::O_RDONLY)
        .map_err(|e| Error::os(STEP, node.path().join(file).display(), e))
}

/// Registers an eventfd, kernel doc `admin-guide/cgroup-v1/memory.rst`, 10.
fn before(node: &Node) -> Result<OomNotice> {
    let event = event::event().map_err(|e| Error::os(STEP, "eventfd", e))?;
    let control = open(node, "memory.oom_control")?;
    let words = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
    let file = "cgroup.event_control";
    node.write(file, &words)
        .map_err(|e| Error::os(STEP, node.path().join(file).display(), e))?;
    Ok(OomNotice::Before(event))
}
