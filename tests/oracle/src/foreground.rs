// SPDX-License-Identifier: MIT OR Apache-2.0
//! A test process in a shell's foreground, wherever the test runs.

use std::sync::Once;

use nix::sys::signal::{SigHandler, Signal, signal};

/// Puts SIGINT and SIGQUIT back to their defaults. A background job of a shell
/// without job control ignores both, and so would all that a test starts.
pub fn foreground() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for number in [Signal::SIGINT, Signal::SIGQUIT] {
            // SAFETY: the default action runs no code of this process.
            unsafe { signal(number, SigHandler::SigDfl) }.expect("these may be set");
        }
    });
}
