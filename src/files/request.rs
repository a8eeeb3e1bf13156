// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds parts of requests about files.
#![forbid(unsafe_code)]

use std::ffi::CString;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::{Error, Kind, Result, Step};
use crate::image::tar::Time;
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

/// Returns a request with flags.
pub(super) fn request(verb: u32, flags: u32) -> FileRequest<'static> {
    FileRequest {
        flags,
        ..FileRequest::new(verb)
    }
}

/// Returns a request to set attributes.
pub(super) fn setting(set: FileSet<'_>) -> FileRequest<'_> {
    FileRequest {
        set,
        ..FileRequest::new(wire::FILE_SET)
    }
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
pub(super) fn modified(time: Time) -> FileSet<'static> {
    FileSet {
        what: wire::SET_TIMES,
        mtime: time.seconds as u64,
        mtime_ns: time.nanoseconds.into(),
        ..FileSet::NONE
    }
}

/// Returns seconds since 1970, and nanoseconds.
pub(super) fn parts(time: SystemTime) -> Time {
    let new = |part: Duration| Time::new(part.as_secs() as i64, part.subsec_nanos());
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => new(after),
        Err(before) => new(before.duration()).negated(),
    }
}
