// SPDX-License-Identifier: MIT OR Apache-2.0
//! Locks of this process that no thread waits for.

use std::sync::{Mutex, MutexGuard, TryLockError};

/// Returns `None` if the lock is held. After fork(2) its holder does not exist
/// in the child, so waiting would deadlock. A lock of a panicked thread is
/// taken as it is.
pub(crate) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(guard)) => Some(guard.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}
