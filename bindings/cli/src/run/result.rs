// SPDX-License-Identifier: MIT OR Apache-2.0
//! The JSON object that `tare run --json` prints: a result, or the error that is there instead.
#![forbid(unsafe_code)]

use serde_json::{Value, json};
use tare::{Effective, Error, Output};

use crate::text::encode;
use tare_rpc::Failure;

/// A command that ran, whatever its exit code.
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

/// No command ran.
pub(super) fn failed(error: &Error) -> Value {
    json!({"error": Failure::of(error)})
}
