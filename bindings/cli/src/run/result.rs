// SPDX-License-Identifier: MIT OR Apache-2.0
//! The JSON object of `tare run --json`: a result, or an error in its place.
#![forbid(unsafe_code)]

use serde_json::{Value, json};
use tare::{Effective, Error, Output};

use crate::text::encode;
use tare_rpc::Failure;

/// Returns the result of a command that ran, with any exit code.
pub(super) fn ended(output: Output, effective: &Effective) -> Value {
    let status = output.status;
    let (stdout, stdout_encoding) = encode(output.stdout);
    let (stderr, stderr_encoding) = encode(output.stderr);
    json!({
        "exit_code": status.exit_code,
        "signal": status.signal,
        "reason": status.reason,
        "stdout": stdout,
        "stdout_encoding": stdout_encoding,
        "stderr": stderr,
        "stderr_encoding": stderr_encoding,
        "usage": status.usage,
        "effective": effective,
    })
}

/// Returns the error if no command ran.
pub(super) fn failed(error: &Error) -> Value {
    json!({"error": Failure::of(error)})
}
