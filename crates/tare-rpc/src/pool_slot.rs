// SPDX-License-Identifier: MIT OR Apache-2.0
//! A slot through which threads of sandboxes find a pool.
#![forbid(unsafe_code)]

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tare::{Error, Pool, Result};

use crate::client::unknown;

/// A slot for a pool; threads that want a sandbox wait until the pool is open.
pub(crate) struct PoolSlot {
    name: String,
    state: Mutex<State>,
    changed: Condvar,
}

/// State of the pool.
pub(crate) enum State {
    Opening,
    Open(Arc<Pool>),
    Gone,
}

impl PoolSlot {
    /// Returns the slot of a pool that is being opened.
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            state: Mutex::new(State::Opening),
            changed: Condvar::new(),
        }
    }

    /// Returns the error about a missing pool.
    pub(crate) fn gone(&self) -> Error {
        unknown("pool", format_args!("{:?}", self.name))
    }

    /// Waits for the pool.
    ///
    /// # Errors
    /// If the pool failed to open, or was closed.
    pub(crate) fn pool(&self) -> Result<Arc<Pool>> {
        let mut state = self.state();
        loop {
            match &*state {
                State::Open(pool) => return Ok(Arc::clone(pool)),
                State::Gone => return Err(self.gone()),
                State::Opening => {
                    let waited = self.changed.wait(state);
                    state = waited.unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and wakes waiting threads.
    pub(crate) fn set(&self, state: State) {
        *self.state() = state;
        self.changed.notify_all();
    }
}
