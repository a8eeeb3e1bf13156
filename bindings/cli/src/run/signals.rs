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

/// From now on signals to this process go to the command, a second SIGINT kills it; with a
/// terminal, its size follows that of the caller's. To be called while there is one thread.
pub(super) fn forward(control: Control, tty: bool) -> Result<()> {
    let mut set: SigSet = PASSED.into_iter().collect();
    if tty {
        set.add(Signal::SIGWINCH);
    }
    let wrong = |e| Error::os("forward signals", "signalfd", e);
    set.thread_block().map_err(wrong)?;
    let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC).map_err(wrong)?;
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
        // The only thing that can go wrong is that the command, or its sandbox, has just ended.
        let _ = match Signal::try_from(signal) {
            Ok(Signal::SIGWINCH) => control.resize(terminal::size()),
            Ok(Signal::SIGINT) if interrupted => control.kill(),
            _ => control.signal(signal),
        };
        interrupted |= signal == Signal::SIGINT as i32;
    }
}
