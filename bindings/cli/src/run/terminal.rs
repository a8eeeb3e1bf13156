// SPDX-License-Identifier: MIT OR Apache-2.0
//! The caller's terminal: its size, and raw mode that is always taken back.
#![forbid(unsafe_code)]

use std::io::{self, IsTerminal as _};

use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, tcgetpgrp};
use tare::{Error, Result, Size};

/// The size of the terminal that tare runs on; 0 x 0, the kernel's own, without one.
pub(super) fn size() -> Size {
    let known = [
        terminal_size::terminal_size_of(io::stdin()),
        terminal_size::terminal_size_of(io::stdout()),
        terminal_size::terminal_size_of(io::stderr()),
    ];
    let (columns, rows) = known
        .into_iter()
        .flatten()
        .next()
        .map_or((0, 0), |(width, height)| (width.0, height.0));
    Size { rows, columns }
}

/// The caller's terminal passing every key on; as it was when this is dropped.
pub(super) struct Raw {
    before: Termios,
    raw: Termios,
}

impl Raw {
    /// Nothing if standard input is no terminal.
    pub(super) fn enter() -> Result<Option<Self>> {
        if !io::stdin().is_terminal() {
            return Ok(None);
        }
        let wrong = |e| Error::os("set terminal to raw mode", "standard input", e);
        let before = tcgetattr(io::stdin()).map_err(wrong)?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(io::stdin(), SetArg::TCSANOW, &raw).map_err(wrong)?;
        Ok(Some(Self { before, raw }))
    }
}

impl Raw {
    /// Puts the terminal back, as long as it is this process's.
    pub(super) fn leave(&self) {
        let others = tcgetpgrp(io::stdin()).is_ok_and(|group| group != getpgrp());
        if !others {
            // The terminal may be gone by now.
            let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.before);
        }
    }

    /// Takes the terminal again after [`Raw::leave`].
    pub(super) fn enter_again(&self) -> Result<()> {
        tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.raw)
            .map_err(|e| Error::os("set terminal to raw mode", "standard input", e))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.leave();
    }
}
