// SPDX-License-Identifier: MIT OR Apache-2.0
//! Locks of this process that nobody waits for.

use std::sync::{Mutex, MutexGuard, TryLockError};

/// None while another thread has it, who in a fork of this process never gives it back. What a thread that panicked has left is
/// taken as it is.
pub(crate) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(guard)) => Some(guard.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}
