// SPDX-License-Identifier: MIT OR Apache-2.0
//! Signals to tare, passed on to the command.
#![forbid(unsafe_code)]

use std::thread;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tare::{Control, Error, Result};

use super::terminal;

/// Those that would end tare; the kernel's other ones are about tare itself.
const PASSED: [Signal; 6] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// From now on signals wait: to be called before the command starts, while there is one thread, so
/// that none that comes with its first breath is lost. The command does not inherit this.
pub(super) fn hold() -> Result<()> {
    let wrong = |e| Error::os("forward signals", "sigprocmask", e);
    passed().thread_block().map_err(wrong)
}

/// Everything that [`forward`] reads.
fn passed() -> SigSet {
    let mut set: SigSet = PASSED.into_iter().collect();
    set.add(Signal::SIGWINCH);
    set
}

/// Signals to this process, also those that waited, go to the command; a second SIGINT kills it;
/// with a terminal, its size follows that of the caller's.
pub(super) fn forward(control: Control) -> Result<()> {
    let wrong = |e| Error::os("forward signals", "signalfd", e);
    let signals = SignalFd::with_flags(&passed(), SfdFlags::SFD_CLOEXEC).map_err(wrong)?;
    thread::Builder::new()
        .spawn(move || pass(&signals, &control))
        .map_err(|e| Error::io("forward signals", "thread", e))?;
    Ok(())
}

/// Until the process ends, and this thread with it.
fn pass(signals: &SignalFd, control: &Control) {
    let mut interrupted = false;
    while let Ok(Some(info)) = signals.read_signal() {
        let signal = info.ssi_signo as i32;
        // What can go wrong: the command, or its sandbox, has just ended, or has no terminal to resize.
        let _ = match Signal::try_from(signal) {
            Ok(Signal::SIGWINCH) => control.resize(terminal::size()),
            Ok(Signal::SIGINT) if interrupted => control.kill(),
            _ => control.signal(signal),
        };
        interrupted |= signal == Signal::SIGINT as i32;
    }
}
