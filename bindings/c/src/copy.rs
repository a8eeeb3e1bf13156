// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whole trees into a sandbox and out of a sandbox: files of the caller's, and
//! archives.

use std::ffi::c_char;
use std::fs::File;
use std::io::{BufWriter, Write as _};

use serde::Serialize;
use tare_core::files::Copied;
use tare_core::{Error, Result, WithoutSignal};

use crate::bytes::tare_bytes;
use crate::error::tare_error;
use crate::input;
use crate::out::set_json_or_null;
use crate::sandbox::tare_sandbox;
use crate::user::reach;

#[derive(Serialize)]
struct Report {
    entries: u64,
    left_out: Vec<String>,
}

/// Makes a call that copies.
///
/// # Safety
/// As [`Out::optional`](crate::out::Out::optional).
unsafe fn copy(
    report_or_null: *mut *mut tare_bytes,
    work: impl FnOnce() -> Result<Copied>,
) -> *mut tare_error {
    let report = || {
        let Copied {
            entries, left_out, ..
        } = work()?;
        Ok(Report { entries, left_out })
    };
    // SAFETY: this function's own.
    unsafe { set_json_or_null(report_or_null, "report_or_null", report) }
}

/// Copies a file or directory of the caller's into the sandbox. Contents,
/// permissions without setuid and setgid, times and symbolic links are copied;
/// the owner is 0:0; devices, pipes and sockets are left out. A file at `path`
/// is replaced, a directory is not.
///
/// `local`: a path of this process. `path`: a path inside, with an existing
/// parent. `report_or_null`: gets a JSON object with `entries` (the number
/// copied) and `left_out` (a list of texts: each name left out, and why), here
/// and in the functions below.
///
/// Returns: NULL, or an error: those of the calls that read here and make files
/// there; a part is copied then.
/// Ownership: `*report_or_null` is the caller's, for tare_bytes_free().
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_file_put(
    sandbox: *const tare_sandbox,
    local: *const c_char,
    path: *const c_char,
    report_or_null: *mut *mut tare_bytes,
) -> *mut tare_error {
    // SAFETY: the caller's word for all of them.
    unsafe {
        copy(report_or_null, || {
            let (local, path) = (input::path(local, "local")?, input::path(path, "path")?);
            reach(sandbox)?.files().put(local, path)
        })
    }
}

/// Copies a file or directory out of the sandbox; a link at `path` is followed.
/// The sandbox is not trusted: all copies are the caller's, without setuid and
/// setgid bits, file capabilities, devices, pipes and sockets. Symbolic links
/// are copied unchanged, so follow none of them. A file replaces `local` at
/// once and whole; a directory needs a new or empty target.
///
/// `path`: there. `local`: here.
///
/// Returns: NULL, or an error: errno ENOTEMPTY for a directory that holds
/// something; else those of the calls that read there and make files here. A
/// part of a directory is copied then.
/// Ownership: `*report_or_null` is the caller's, for tare_bytes_free().
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_file_get(
    sandbox: *const tare_sandbox,
    path: *const c_char,
    local: *const c_char,
    report_or_null: *mut *mut tare_bytes,
) -> *mut tare_error {
    // SAFETY: the caller's word for all of them.
    unsafe {
        copy(report_or_null, || {
            let (path, local) = (input::path(path, "path")?, input::path(local, "local")?);
            reach(sandbox)?.files().get(path, local)
        })
    }
}

/// Extracts a tar archive below a directory of the sandbox: contents, modes,
/// owners, times, links, pipes, `user.*` attributes. The archive may be
/// compressed by gzip or zstd. No file is made outside of `dir`.
///
/// `dir`: must exist. `archive_fd`: read from its offset to its end; stays the
/// caller's.
///
/// Returns: NULL, or an error: TARE_KIND_CORRUPT with the entry and its offset
/// for a broken archive; else those of the calls that make files. A part is
/// made then.
/// Ownership: `*report_or_null` is the caller's, for tare_bytes_free().
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_file_put_tar(
    sandbox: *const tare_sandbox,
    dir: *const c_char,
    archive_fd: i32,
    report_or_null: *mut *mut tare_bytes,
) -> *mut tare_error {
    // SAFETY: the caller's word for both.
    unsafe {
        copy(report_or_null, || {
            let dir = input::path(dir, "dir")?;
            let archive = File::from(input::descriptor(archive_fd, "archive_fd")?);
            reach(sandbox)?.files().put_tar(dir, archive)
        })
    }
}

/// Writes a tar archive of `path` of the sandbox: of a directory with all
/// entries below, under relative names; of a regular file under its own name.
/// The archive has everything that tare_file_put_tar() makes.
///
/// `archive_fd`: written from its offset on; stays the caller's. If its reader
/// closes the pipe, the caller gets SIGPIPE, as with write(2).
///
/// Returns: NULL, or an error: those of the calls that read there, and of
/// write(2); the archive is cut then. TARE_KIND_BUSY if a file shrinks during
/// the call.
/// Ownership: `*report_or_null` is the caller's, for tare_bytes_free().
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_file_get_tar(
    sandbox: *const tare_sandbox,
    path: *const c_char,
    archive_fd: i32,
    report_or_null: *mut *mut tare_bytes,
) -> *mut tare_error {
    // SAFETY: the caller's word for both.
    unsafe {
        copy(report_or_null, || {
            let path = input::path(path, "path")?;
            let archive = File::from(input::descriptor(archive_fd, "archive_fd")?);
            // Dropping the writer writes once more after an error.
            let _without = WithoutSignal::begin();
            let mut parts = BufWriter::with_capacity(64 << 10, archive);
            let copied = reach(sandbox)?.files().get_tar(path, &mut parts)?;
            let flushed = parts.flush();
            flushed.map_err(|e| Error::io("get archive", "write archive", e))?;
            Ok(copied)
        })
    }
}
