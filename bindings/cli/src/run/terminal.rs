// SPDX-License-Identifier: MIT OR Apache-2.0
//! The caller's terminal: size, and raw mode that is always undone.
#![forbid(unsafe_code)]

use std::io::{self, IsTerminal as _};

use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, tcgetpgrp};
use tare::{Error, Result, Size};

/// Returns the size of the caller's terminal; without a terminal 0 x 0, the
/// kernel's default.
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

/// The caller's terminal in raw mode; restored on drop.
pub(super) struct Raw {
    before: Termios,
    raw: Termios,
}

impl Raw {
    /// Enters raw mode; returns `None` if standard input is no terminal.
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
    /// Restores the terminal, unless another process has it.
    pub(super) fn leave(&self) {
        let others = tcgetpgrp(io::stdin()).is_ok_and(|group| group != getpgrp());
        if !others {
            // The terminal may be gone by now.
            let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.before);
        }
    }

    /// Enters raw mode again after [`Raw::leave`].
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
