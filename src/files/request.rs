// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds parts of requests about files.
#![forbid(unsafe_code)]

use std::ffi::CString;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Kind, Result, Step};
use crate::wire::{self, FileRequest, FileSet};

/// Returns a user as it is sent; empty text would mean no user.
pub(super) fn c_user(step: Step, user: &str) -> Result<CString> {
    let user = if user.is_empty() { "0" } else { user };
    let sent = CString::new(user).ok().filter(|_| !user.contains('\n'));
    sent.ok_or_else(|| {
        let why = format_args!("user {user:?} is no name of passwd(5)");
        Error::new(Kind::Invalid, step, why)
    })
}

/// Returns the request for a directory.
pub(super) fn directory(mode: u32, flags: u32) -> FileRequest<'static> {
    FileRequest {
        flags,
        mode: libc::S_IFDIR | mode & 0o7777,
        ..FileRequest::new(wire::FILE_MAKE)
    }
}

/// Returns the request for a modification time, in seconds and nanoseconds.
pub(super) fn modified((seconds, nanoseconds): (i64, u32)) -> FileSet<'static> {
    FileSet {
        what: wire::SET_TIMES,
        mtime: seconds as u64,
        mtime_ns: nanoseconds.into(),
        ..FileSet::NONE
    }
}

/// Returns seconds since 1970, and nanoseconds.
pub(super) fn parts(time: SystemTime) -> (i64, u32) {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => (after.as_secs() as i64, after.subsec_nanos()),
        Err(before) => {
            let before = before.duration();
            match (before.as_secs() as i64, before.subsec_nanos()) {
                (seconds, 0) => (-seconds, 0),
                (seconds, nanoseconds) => (-seconds - 1, 1_000_000_000 - nanoseconds),
            }
        }
    }
}
