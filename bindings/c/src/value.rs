// SPDX-License-Identifier: MIT OR Apache-2.0
//! The border of functions that have no error to return: a panic becomes a
//! plain value.
#![forbid(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::cancel::uncancelled;

/// Runs the body of a function that has no error to return.
pub(crate) fn value<T: Copy>(otherwise: T, body: impl FnOnce() -> Option<T>) -> T {
    uncancelled(|| {
        let done = catch_unwind(AssertUnwindSafe(body));
        done.ok().flatten().unwrap_or(otherwise)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panic_becomes_the_other_value() {
        assert_eq!(value(-1, || panic!("on purpose")), -1);
        assert_eq!(value(-1, || Some(3)), 3);
    }
}
