// SPDX-License-Identifier: MIT OR Apache-2.0
//! The key `best_effort`: keys that may be left out.
#![forbid(unsafe_code)]

use serde::Serialize;

use crate::error::{Error, Result, Step};

/// Keys that depend on the machine: `best_effort` may name each of them, or the
/// table of the key.
pub(super) const KEYS: [&str; 9] = [
    "limits.memory",
    "limits.swap",
    "limits.cpus",
    "limits.cpu_weight",
    "limits.cpuset",
    "limits.pids",
    "limits.io",
    "limits.disk",
    "security.devices",
];

/// A key of [`best_effort`](super::Spec::best_effort) that a sandbox lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LeftOut {
    /// The key of the spec, dotted: `limits.memory`.
    pub key: &'static str,
    /// The error that the key is without `best_effort`.
    pub why: String,
}

/// Returns whether a dotted key is or is in `whole`, as `limits.io` in
/// `limits`.
pub(super) fn is_part(key: &str, whole: &str) -> bool {
    let rest = key.strip_prefix(whole);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Returns whether `best_effort` names `key` or the table of the key.
pub(crate) fn may_leave_out(best_effort: &[String], key: &str) -> bool {
    best_effort.iter().any(|whole| is_part(key, whole))
}

/// Checks that each key is in [`KEYS`], or a table of some.
pub(super) fn check(best_effort: &[String]) -> Result<()> {
    let is_known = |key: &String| KEYS.iter().any(|known| is_part(known, key));
    match best_effort.iter().find(|key| !is_known(key)) {
        None => Ok(()),
        Some(key) => {
            let why = format!("{key:?} cannot be left out");
            let error = Error::invalid(Step::CheckSpec.key("best_effort"), why);
            Err(error.with_cure(KEYS.join(", ")))
        }
    }
}
