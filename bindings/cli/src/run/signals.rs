// SPDX-License-Identifier: MIT OR Apache-2.0
//! Passes signals of tare on to the command.
#![forbid(unsafe_code)]

use std::fs;
use std::os::fd::{AsFd as _, BorrowedFd};

use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tare::{Error, Process, Result};

use super::terminal::{self, Raw};

/// Signals that are not passed on: those about tare itself, as in Docker; those
/// that cannot be caught; and those that keep a background job from the
/// terminal, which are to stop tare.
const OWN: [Signal; 7] = [
    Signal::SIGCHLD,
    Signal::SIGPIPE,
    Signal::SIGURG,
    Signal::SIGKILL,
    Signal::SIGSTOP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
];

/// `ssi_code` of a signal from a terminal, sigaction(2).
const SI_KERNEL: i32 = 0x80;

/// Signals that wait for [`Signals::pass`].
pub(super) struct Signals {
    fd: SignalFd,
    /// Signals that tare's caller ignores, signal 1 as bit 0.
    ignored: u64,
    interrupted: bool,
    /// True if the command has received SIGCONT already.
    continued: bool,
}

impl Signals {
    /// Holds signals from now on. Call before the command starts, to lose no
    /// early signal. The command does not inherit the mask.
    pub(super) fn hold() -> Result<Self> {
        let wrong = |call| move |e| Error::os("forward signals", call, e);
        let ignored = ignored();
        let mut set = SigSet::all();
        OWN.into_iter().for_each(|own| set.remove(own));
        let ignores = |signal: &Signal| ignored >> (*signal as i32 - 1) & 1 == 1;
        Signal::iterator()
            .filter(ignores)
            .for_each(|signal| set.remove(signal));
        set.thread_block().map_err(wrong("sigprocmask"))?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Self {
            fd: SignalFd::with_flags(&set, flags).map_err(wrong("signalfd"))?,
            ignored,
            interrupted: false,
            continued: false,
        })
    }

    /// Returns a descriptor that is readable when a signal waits.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Passes waiting signals on. A second SIGINT kills. A terminal's signals
    /// go to the command's whole group; a signal that stops tare stops the
    /// command until both go on.
    pub(super) fn pass(&mut self, process: &Process, raw: Option<&Raw>) -> Result<()> {
        while let Some((number, from_terminal)) = self.next() {
            let signal = Signal::try_from(number).ok();
            // Errors mean that the command or its sandbox has just ended.
            let _ = match signal {
                Some(Signal::SIGTSTP) => {
                    self.stop(process, raw)?;
                    Ok(())
                }
                Some(Signal::SIGCONT) if self.continued => {
                    self.continued = false;
                    Ok(())
                }
                Some(Signal::SIGCONT) => process.signal_group(number),
                Some(Signal::SIGWINCH) if process.terminal().is_some() => {
                    process.resize(terminal::size())
                }
                Some(Signal::SIGINT) if self.interrupted => process.kill(),
                _ if from_terminal => process.signal_group(number),
                _ => process.signal(number),
            };
            self.interrupted |= signal == Some(Signal::SIGINT);
        }
        Ok(())
    }

    /// Returns whether a waiting signal would end tare, now that no command
    /// runs.
    pub(super) fn end(&mut self) -> bool {
        let harmless = [Signal::SIGCONT, Signal::SIGWINCH, Signal::SIGTSTP].map(|s| s as i32);
        while let Some((number, _)) = self.next() {
            if !harmless.contains(&number) {
                return true;
            }
        }
        false
    }

    /// Returns a signal's number, and whether a terminal sent it.
    fn next(&self) -> Option<(i32, bool)> {
        loop {
            let info = self.fd.read_signal().ok().flatten()?;
            let number = info.ssi_signo as i32;
            // A set cannot name real-time signals, so all of them are held.
            if self.ignored >> (number - 1) & 1 == 0 {
                return Some((number, info.ssi_code == SI_KERNEL));
            }
        }
    }

    /// Stops the command's group, then tare itself; returns when both go on.
    fn stop(&mut self, process: &Process, raw: Option<&Raw>) -> Result<()> {
        let wrong = |e| Error::os("forward signals", "SIGTSTP", e);
        // SIGTSTP stops no orphaned process group, as each command's group is.
        let _ = process.signal_group(Signal::SIGSTOP as i32);
        if let Some(raw) = raw {
            raw.leave();
        }
        let stop: SigSet = [Signal::SIGTSTP].into_iter().collect();
        raise(Signal::SIGTSTP).map_err(wrong)?;
        stop.thread_unblock().map_err(wrong)?;
        // tare was stopped here, until SIGCONT.
        stop.thread_block().map_err(wrong)?;
        if let Some(raw) = raw {
            raw.enter_again()?;
        }
        let _ = process.signal_group(Signal::SIGCONT as i32);
        self.continued = true;
        Ok(())
    }
}

/// Returns the signals that the caller ignores, from a single read of procfs.
/// Without procfs, assumes none.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}
