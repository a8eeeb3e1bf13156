// SPDX-License-Identifier: MIT OR Apache-2.0
//! An error in JSON.
#![forbid(unsafe_code)]

use schemars::JsonSchema;
use serde::Serialize;
use tare::Error;

/// An error.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Error")]
pub struct Failure<'a> {
    /// Kind of error, coarse enough to branch on: `invalid`, `not_found`,
    /// `exists`, `permission`, `unsupported`, `corrupt`, `exhausted`, `busy`,
    /// `not_executable`, `broken`, `os`; future versions may add more.
    kind: &'static str,
    /// Step that failed.
    step: &'a str,
    /// Subject of the step, and the fault.
    subject: &'a str,
    /// Number of the failed system call's error, errno(3); null without a
    /// system call.
    errno: Option<i32>,
    /// Cure, if known.
    cure: Option<&'a str>,
    /// The whole error as a line.
    message: String,
}

impl<'a> Failure<'a> {
    /// Describes `error`.
    pub fn of(error: &'a Error) -> Self {
        Self {
            kind: error.kind().as_str(),
            step: error.step(),
            subject: error.subject(),
            errno: error.errno(),
            cure: error.cure(),
            message: error.to_string(),
        }
    }
}
