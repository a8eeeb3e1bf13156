// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads that take no signal of the host's: its handlers do not run there.
#![forbid(unsafe_code)]

use std::marker::PhantomData;

use nix::sys::signal::{SigSet, SigmaskHow};

/// Keeps all signals from the calling thread, and so from threads that it
/// starts meanwhile, which inherit the mask, until dropped.
#[must_use = "dropping it ends it"]
pub(crate) struct Blocked {
    /// The earlier mask; `None` if unchanged.
    before: Option<SigSet>,
    /// A mask is of a thread.
    _thread: PhantomData<*const ()>,
}

impl Blocked {
    /// Blocks the signals.
    pub(crate) fn begin() -> Self {
        Self {
            // Cannot fail with a valid set; a handler would merely run there.
            before: SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK).ok(),
            _thread: PhantomData,
        }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // The set is one that the kernel gave.
            let _ = before.thread_set_mask();
        }
    }
}
