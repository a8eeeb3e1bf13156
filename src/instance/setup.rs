// SPDX-License-Identifier: MIT OR Apache-2.0
//! Says how a sandbox was set up.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use crate::error::Error;
use crate::parts::caps::CapSet;
use crate::parts::shown::ShownAs;

/// The facts of a sandbox that do not change until its end.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) hostname: String,
    pub(crate) backend: &'static str,
    /// The reason if `limits.disk` was let go.
    pub(crate) unbounded: Option<Error>,
    /// Mounts of the host, and how they are shown.
    pub(crate) shown: Vec<(PathBuf, ShownAs)>,
    pub(crate) caps: CapSet,
    pub(crate) seccomp: bool,
    /// True if `limits.memory` is set: the memory in use is read only then.
    pub(crate) counts_memory: bool,
}
