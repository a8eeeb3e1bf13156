// SPDX-License-Identifier: MIT OR Apache-2.0
//! An error as JSON has it.
#![forbid(unsafe_code)]

use schemars::JsonSchema;
use serde::Serialize;
use tare::Error;

/// An error as JSON has it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Error")]
pub struct Failure<'a> {
    /// What went wrong, coarse enough to branch on: `invalid`, `not_found`, `exists`, `permission`,
    /// `unsupported`, `corrupt`, `exhausted`, `busy`, `not_executable`, `broken`, `os`; there may be more.
    kind: &'static str,
    /// What was being done.
    step: &'a str,
    /// What it was done to, and what is wrong with it.
    subject: &'a str,
    /// The number of the system call's error, if one failed, errno(3).
    errno: Option<i32>,
    /// What would help, if that is known.
    cure: Option<&'a str>,
    /// All of it as one line.
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
