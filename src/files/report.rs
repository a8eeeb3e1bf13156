// SPDX-License-Identifier: MIT OR Apache-2.0
//! Report about a tree that was copied in or out.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use crate::error::shown;

/// Counts of copied files, and reasons for files left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Copied {
    /// Files, directories and links that were copied.
    pub entries: u64,
    /// Sentences about files left out: the first 64, then how many more.
    pub left_out: Vec<String>,
    more: u64,
}

impl Copied {
    const MOST: usize = 64;

    /// Adds a file that is left out.
    pub(super) fn leave_out(&mut self, what: &[u8], why: &str) {
        match self.left_out.len() < Self::MOST {
            true => {
                let name = OsStr::from_bytes(&what[..what.len().min(4096)]);
                let name = shown(&name.to_string_lossy());
                self.left_out.push(format!("{name}: {why}"));
            }
            false => self.more += 1,
        }
    }

    /// Adds the number of unlisted files as the last line.
    pub(super) fn complete(mut self) -> Self {
        if self.more > 0 {
            self.left_out.push(format!("and {} more", self.more));
            self.more = 0;
        }
        self
    }
}
