// SPDX-License-Identifier: MIT OR Apache-2.0
//! Borders fallible functions: turns errors and panics into C values.
#![forbid(unsafe_code)]

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use tare_core::{Error, Kind, Result};

use crate::cancel::uncancelled;
use crate::error::{self, tare_error};

/// Runs the body of a fallible function. A panic leaves no shared state half
/// changed: locks are taken past their poison.
pub(crate) fn call(body: impl FnOnce() -> Result<()>) -> *mut tare_error {
    uncancelled(|| match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => ptr::null_mut(),
        Ok(Err(error)) => error::give(&error),
        Err(panic) => error::give(&panicked(&*panic)),
    })
}

fn panicked(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let said = text.unwrap_or("without a word");
    Error::new(Kind::Internal, "panic", said).with_cure("a report of this to libtare's authors")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{tare_error_free, tare_error_kind, tare_error_message};

    #[test]
    fn panic_becomes_an_error() {
        let error = call(|| panic!("at the {}", "disco"));
        assert_eq!(tare_error_kind(error), error::TARE_KIND_INTERNAL);
        assert!(!tare_error_message(error).is_null());
        tare_error_free(error);
        assert_eq!(tare_error_kind(error), 0);
    }
}
