// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sizes and durations as people write them.
#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::text::text;
use crate::error::{Error, Step};

/// A number of bytes: `1048576`, `"1m"`, `"1.5g"`, `"512KiB"`. Units are powers
/// of 1024, as in Docker; letter case does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

impl ByteSize {
    /// This many bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || {
            Error::invalid(Step::ParseSize, format_args!("{text:?} is not a size"))
                .with_cure("a number with b, k, m, g or t behind it, such as \"256m\"")
        };
        let lower = text.trim().to_ascii_lowercase();
        let digits = lower
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(lower.len());
        let (number, unit) = lower.split_at(digits);
        let shift = match unit.trim() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            "t" | "tb" | "tib" => 40,
            _ => return Err(wrong()),
        };
        if let Ok(whole) = number.parse::<u64>() {
            let bytes = whole.checked_mul(1 << shift).ok_or_else(wrong)?;
            return Ok(Self(bytes));
        }
        let value: f64 = number.parse().map_err(|_| wrong())?;
        let bytes = value * (1u64 << shift) as f64;
        if bytes.is_finite() && bytes < u64::MAX as f64 {
            Ok(Self(bytes as u64))
        } else {
            Err(wrong())
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut value, mut unit) = (self.0, "");
        for next in ["k", "m", "g", "t"] {
            if value == 0 || value % 1024 != 0 {
                break;
            }
            (value, unit) = (value / 1024, next);
        }
        write!(f, "{value}{unit}")
    }
}

text!(ByteSize, "a number or a string such as \"512m\"", ByteSize);

/// Reads a duration: `"90"` and `"1.5"` are seconds; `"500ms"`, `"30s"`,
/// `"2m"`, `"1h"`, `"1d"` and `"1h30m"` have a unit.
///
/// # Errors
/// [`crate::Kind::Invalid`], with the notations.
pub fn parse_duration(text: &str) -> Result<Duration, Error> {
    let wrong = || {
        Error::invalid(
            Step::ParseDuration,
            format_args!("{text:?} is not a duration"),
        )
        .with_cure("seconds, or a number with ms, s, m, h or d behind it, such as \"1m30s\"")
    };
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let letters = tail
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "" if rest.len() == text.trim().len() && tail.is_empty() => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            "d" => 86400.0,
            _ => return Err(wrong()),
        };
        total += number.parse::<f64>().map_err(|_| wrong())? * seconds;
        rest = tail;
    }
    Duration::try_from_secs_f64(total).map_err(|_| wrong())
}
