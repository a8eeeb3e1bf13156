// SPDX-License-Identifier: MIT OR Apache-2.0
//! Progress of a worker with a request, which may be called off.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use nix::errno::Errno;
use tare::Error;
use tare::image::Progress;

/// The worker has not begun.
const WAITING: u8 = 0;
/// The worker goes on to the end.
const BEGUN: u8 = 1;
/// The worker never begins.
const WITHDRAWN: u8 = 2;
/// The worker looks here before each step.
const STOPPABLE: u8 = 3;
/// The worker ends at its next step.
const STOPPED: u8 = 4;

/// Shared by the loop and the worker of a request.
#[derive(Debug, Clone)]
pub(crate) struct Ticket(Arc<AtomicU8>);

/// Result of calling a request off.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CalledOff {
    /// The worker will not begin, and does not answer.
    Withdrawn,
    /// The worker ends at its next step, and answers.
    Stopping,
    /// The worker goes on to the end.
    TooLate,
}

impl Ticket {
    /// Returns the ticket of a request; `stoppable` if the worker can stop
    /// early.
    pub(crate) fn new(stoppable: bool) -> Self {
        let state = if stoppable { STOPPABLE } else { WAITING };
        Self(Arc::new(state.into()))
    }

    /// Begins the request; returns false if it was withdrawn.
    pub(crate) fn begin(&self) -> bool {
        let order = Ordering::Relaxed;
        let before = self.0.compare_exchange(WAITING, BEGUN, order, order);
        before != Err(WITHDRAWN)
    }

    /// Calls the request off.
    pub(crate) fn call_off(&self) -> CalledOff {
        let order = Ordering::Relaxed;
        let change = |state| match state {
            WAITING => Some(WITHDRAWN),
            STOPPABLE | STOPPED => Some(STOPPED),
            _ => None,
        };
        match self.0.fetch_update(order, order, change) {
            Ok(WAITING) => CalledOff::Withdrawn,
            Ok(_) => CalledOff::Stopping,
            Err(_) => CalledOff::TooLate,
        }
    }
}

impl Progress for Ticket {
    fn keep_going(&mut self) -> bool {
        self.0.load(Ordering::Relaxed) != STOPPED
    }
}

/// Returns the answer to a request that was called off.
pub(crate) fn called_off() -> Error {
    Error::os(
        "wait for request",
        "called off by the client",
        Errno::ECANCELED,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticket_is_withdrawn_or_stopped_or_too_late() {
        let ticket = Ticket::new(false);
        assert_eq!(ticket.call_off(), CalledOff::Withdrawn);
        assert!(!ticket.begin());
        let mut ticket = Ticket::new(true);
        assert!(ticket.begin() && ticket.keep_going());
        for _ in 0..2 {
            assert_eq!(ticket.call_off(), CalledOff::Stopping);
            assert!(ticket.begin() && !ticket.keep_going());
        }
        let mut ticket = Ticket::new(false);
        assert!(ticket.begin());
        assert_eq!(ticket.call_off(), CalledOff::TooLate);
        assert!(ticket.keep_going());
    }
}
