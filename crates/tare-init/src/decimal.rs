// SPDX-License-Identifier: MIT OR Apache-2.0
//! Decimal numbers in text files.
#![forbid(unsafe_code)]

/// Parses a decimal number without sign, at most `i32::MAX`.
pub(crate) fn number(text: &[u8]) -> Option<i32> {
    if text.is_empty() || text.len() > 10 {
        return None;
    }
    let mut n = 0i64;
    for byte in text {
        n = n * 10 + i64::from(byte.checked_sub(b'0').filter(|d| *d < 10)?);
    }
    i32::try_from(n).ok()
}
