// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where threads of sandboxes find a pool.
#![forbid(unsafe_code)]

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tare::{Error, Pool, Result};

use crate::client::unknown;

/// Where a pool is found once it is open; who wants a sandbox of it waits until then.
pub(crate) struct PoolSlot {
    name: String,
    state: Mutex<State>,
    changed: Condvar,
}

/// How far the pool is.
pub(crate) enum State {
    Opening,
    Open(Arc<Pool>),
    Gone,
}

impl PoolSlot {
    /// The place of a pool that is being opened.
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            state: Mutex::new(State::Opening),
            changed: Condvar::new(),
        }
    }

    /// That there is no such pool.
    pub(crate) fn gone(&self) -> Error {
        unknown("pool", format_args!("{:?}", self.name))
    }

    /// The pool.
    ///
    /// # Errors
    /// If it could not be opened, or was closed.
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

    /// Tells whoever waits.
    pub(crate) fn set(&self, state: State) {
        *self.state() = state;
        self.changed.notify_all();
    }
}
