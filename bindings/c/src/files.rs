// SPDX-License-Identifier: MIT OR Apache-2.0
//! Single files of an open sandbox: read, written, made, changed, removed from
//! outside.

use std::ffi::{c_char, c_void};
use std::os::fd::{IntoRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tare_core::files::{OpenOptions, READ_MAX};
use tare_core::{Files, Result};

use crate::bytes::{Bytes, tare_bytes};
use crate::call::call;
use crate::error::tare_error;
use crate::handle::{self, wrong};
use crate::input;
use crate::out::{Out, OutStruct};
use crate::sandbox::tare_sandbox;
use crate::stat::tare_stat;
use crate::user::reach;

/// A symbolic link at the end of the path is looked at, not followed.
pub const TARE_FILE_NO_FOLLOW: u64 = 1;
/// Missing parents are made too, and an existing directory stays unchanged.
pub const TARE_FILE_PARENTS: u64 = 2;
/// An empty directory, not a file.
pub const TARE_FILE_DIRECTORY: u64 = 4;
/// A directory with all entries below.
pub const TARE_FILE_TREE: u64 = 8;

/// A request for the files of a sandbox at a path.
///
/// # Safety
/// As [`input::path`].
unsafe fn at(
    sandbox: *const tare_sandbox,
    path: *const c_char,
    ask: impl FnOnce(Files<'_>, &Path) -> Result<()>,
) -> *mut tare_error {
    call(|| {
        // SAFETY: this function's own.
        let path = unsafe { input::path(path, "path")? };
        ask(reach(sandbox)?.files(), path)
    })
}

/// Reads the flags of a function: none beyond `known`.
fn only(flags: u64, known: u64) -> Result<()> {
    match flags & !known {
        0 => Ok(()),
        _ => Err(wrong("flags", "has a bit that this call does not know")),
    }
}

/// The options that flags of open(2) mean.
fn options(flags: i32, mode: u32) -> Result<OpenOptions> {
    const KNOWN: i32 = libc::O_ACCMODE
        | libc::O_APPEND
        | libc::O_CREAT
        | libc::O_EXCL
        | libc::O_TRUNC
        | libc::O_NOFOLLOW
        | libc::O_CLOEXEC;
    let has = |flag: i32| flags & flag != 0;
    if flags & !KNOWN != 0 || flags & libc::O_ACCMODE == libc::O_ACCMODE {
        return Err(wrong(
            "flags",
            "has a bit that cannot be asked for: O_RDONLY, O_WRONLY or O_RDWR, with O_APPEND, \
             O_CREAT, O_EXCL, O_TRUNC, O_NOFOLLOW, O_CLOEXEC",
        ));
    }
    let access = flags & libc::O_ACCMODE;
    let mut options = OpenOptions::new();
    options
        .read(access != libc::O_WRONLY)
        .write(access != libc::O_RDONLY && !has(libc::O_APPEND))
        .append(access != libc::O_RDONLY && has(libc::O_APPEND))
        .truncate(has(libc::O_TRUNC))
        .create(has(libc::O_CREAT) && !has(libc::O_EXCL))
        .create_new(has(libc::O_CREAT) && has(libc::O_EXCL))
        .follow(!has(libc::O_NOFOLLOW))
        .mode(mode);
    Ok(options)
}

/// Opens a regular file of the sandbox. The descriptor is an ordinary
/// descriptor of this process and stays valid when the sandbox is gone. A
/// program that maps the file must expect the sandbox to shorten it.
///
/// `path`: absolute, for this and every other function on files. Links on the
/// path stay inside. Only files on file systems that store files are opened; a
/// command inside can read `/proc` and the like. `flags`: O_RDONLY, O_WRONLY or
/// O_RDWR, with any of O_APPEND, O_CREAT, O_EXCL, O_TRUNC, O_NOFOLLOW. `mode`:
/// permissions of a new file, exactly: no umask. A new file belongs to the
/// sandbox's 0:0, or to the user of tare_sandbox_as_user().
///
/// Returns: NULL, or an error: those of open(2); TARE_KIND_INVALID if the file
/// is not regular, TARE_KIND_UNSUPPORTED if its file system does not store
/// files.
/// Ownership: `*out` is the caller's, for close(2); close-on-exec.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_file_open(
    sandbox: *const tare_sandbox,
    path: *const c_char,
    flags: i32,
    mode: u32,
    out: *mut i32,
) -> *mut tare_error {
    // SAFETY: the caller's word for both.
    unsafe {
        at(sandbox, path, |files, path| {
            let out = Out::new(out, "out")?;
            let file = files.open(path, &options(flags, mode)?)?;
            out.set(OwnedFd::from(file).into_raw_fd());
            Ok(())
        })
    }
}

/// The whole content of a regular file.
///
/// `limit`: the maximal number of bytes; 0 for 64 MiB.
///
/// Returns: NULL, or an error: those of tare_file_open(); errno EFBIG for a
/// larger file.
/// Ownership: `*out` is the caller's, for tare_bytes_free().
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_file_read(
    sandbox: *const tare_sandbox,
    path: *const c_char,
    limit: u64,
    out: *mut *mut tare_bytes,
) -> *mut tare_error {
    let limit = if limit == 0 { READ_MAX } else { limit };
    // SAFETY: the caller's word for both.
    unsafe {
        at(sandbox, path, |files, path| {
            let out = Out::new(out, "out")?;
            let content = files.read_at_most(path, limit)?;
            out.set(handle::give(Bytes::new(content))?);
            Ok(())
        })
    }
}

/// Makes or empties a regular file and writes `len` bytes.
///
/// `mode`: permissions of a file that is made, exactly.
///
/// Returns: NULL, or an error: those of tare_file_open() and write(2); a part
/// may be written then.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_file_write(
    sandbox: *const tare_sandbox,
    path: *const c_char,
    data: *const c_void,
    len: usize,
    mode: u32,
) -> *mut tare_error {
    // SAFETY: the caller's word for both.
    unsafe {
        at(sandbox, path, |files, path| {
            let bytes = input::values(data.cast::<u8>(), len as u64, "data")?;
            let how = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC;
            files.write_with(path, bytes, &options(how, mode)?)
        })
    }
}

/// Metadata of a file, on any file system.
///
/// `flags`: 0 or TARE_FILE_NO_FOLLOW.
///
/// Returns: NULL, or an error: those of stat(2).
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_file_stat(
    sandbox: *const tare_sandbox,
    path: *const c_char,
    flags: u64,
    out: *mut tare_stat,
) -> *mut tare_error {
    // SAFETY: the caller's word for both.
    unsafe {
        at(sandbox, path, |files, path| {
            let out = OutStruct::new(out)?;
            only(flags, TARE_FILE_NO_FOLLOW)?;
            let found = match flags {
                0 => files.metadata(path)?,
                _ => files.symlink_metadata(path)?,
            };
            out.set(&found.into());
            Ok(())
        })
    }
}

/// The target of a symbolic link.
///
/// Returns: NULL, or an error: those of readlink(2), EINVAL if the file is no
/// link.
/// Ownership: `*out` is the caller's, for tare_bytes_free().
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_file_readlink(
    sandbox: *const tare_sandbox,
    path: *const c_char,
    out: *mut *mut tare_bytes,
) -> *mut tare_error {
    // SAFETY: the caller's word for both.
    unsafe {
        at(sandbox, path, |files, path| {
            let out = Out::new(out, "out")?;
            let target = files.read_link(path)?;
            out.set(handle::give(Bytes::new(
                target.as_os_str().as_bytes().to_vec(),
            ))?);
            Ok(())
        })
    }
}

/// Makes a directory with exactly these permissions, owner 0:0.
///
/// `flags`: 0 or TARE_FILE_PARENTS.
///
/// Returns: NULL, or an error: those of mkdir(2).
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_file_mkdir(
    sandbox: *const tare_sandbox,
    path: *const c_char,
    mode: u32,
    flags: u64,
) -> *mut tare_error {
    // SAFETY: the caller's word for `path`.
    unsafe {
        at(sandbox, path, |files, path| {
            only(flags, TARE_FILE_PARENTS)?;
            match flags {
                0 => files.create_dir(path, mode),
                _ => files.create_dir_all(path, mode),
            }
        })
    }
}

/// Removes anything but a directory; with a flag, a directory. Links are
/// removed, not followed.
///
/// `flags`: 0, TARE_FILE_DIRECTORY or TARE_FILE_TREE.
///
/// Returns: NULL, or an error: those of unlink(2) and rmdir(2); of a tree a
/// part may be gone then.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_file_remove(
    sandbox: *const tare_sandbox,
    path: *const c_char,
    flags: u64,
) -> *mut tare_error {
    // SAFETY: the caller's word for `path`.
    unsafe {
        at(sandbox, path, |files, path| match flags {
            0 => files.remove_file(path),
            TARE_FILE_DIRECTORY => files.remove_dir(path),
            TARE_FILE_TREE => files.remove_dir_all(path),
            _ => Err(wrong(
                "flags",
                "is none of 0, TARE_FILE_DIRECTORY, TARE_FILE_TREE",
            )),
        })
    }
}

/// Renames a file or directory; `to` is replaced.
///
/// Returns: NULL, or an error: those of rename(2).
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_file_rename(
    sandbox: *const tare_sandbox,
    path: *const c_char,
    to: *const c_char,
) -> *mut tare_error {
    // SAFETY: the caller's word for both.
    unsafe {
        at(sandbox, path, |files, path| {
            files.rename(path, input::path(to, "to")?)
        })
    }
}

/// Gives the file at `path` a second name; a symbolic link is not followed.
///
/// Returns: NULL, or an error: those of link(2).
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_file_link(
    sandbox: *const tare_sandbox,
    path: *const c_char,
    to: *const c_char,
) -> *mut tare_error {
    // SAFETY: the caller's word for both.
    unsafe {
        at(sandbox, path, |files, path| {
            files.hard_link(path, input::path(to, "to")?)
        })
    }
}

/// Makes a symbolic link at `path` to any text.
///
/// Returns: NULL, or an error: those of symlink(2).
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_file_symlink(
    sandbox: *const tare_sandbox,
    target: *const c_char,
    path: *const c_char,
) -> *mut tare_error {
    // SAFETY: the caller's word for both.
    unsafe {
        at(sandbox, path, |files, path| {
            files.symlink(input::path(target, "target")?, path)
        })
    }
}

/// Changes the permissions, setuid, setgid and sticky among them; a link is
/// followed.
///
/// Returns: NULL, or an error: those of chmod(2).
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_file_chmod(
    sandbox: *const tare_sandbox,
    path: *const c_char,
    mode: u32,
) -> *mut tare_error {
    // SAFETY: the caller's word for `path`.
    unsafe {
        at(sandbox, path, |files, path| {
            files.set_permissions(path, mode)
        })
    }
}

/// Changes owner and group, as the sandbox sees them; a link is followed. As
/// for anybody, that takes setuid and setgid bits away.
///
/// Returns: NULL, or an error: those of chown(2), EINVAL for an id that the
/// sandbox does not have.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_file_chown(
    sandbox: *const tare_sandbox,
    path: *const c_char,
    uid: u32,
    gid: u32,
) -> *mut tare_error {
    // SAFETY: the caller's word for `path`.
    unsafe { at(sandbox, path, |files, path| files.set_owner(path, uid, gid)) }
}

/// Changes the time of the last change of the content; a link is followed.
///
/// `seconds`: since 1970. `nanoseconds`: to add to these, below 1000000000.
///
/// Returns: NULL, or an error: those of utimensat(2).
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_file_set_mtime(
    sandbox: *const tare_sandbox,
    path: *const c_char,
    seconds: i64,
    nanoseconds: u32,
) -> *mut tare_error {
    // SAFETY: the caller's word for `path`.
    unsafe {
        at(sandbox, path, |files, path| {
            files.set_modified(path, time(seconds, nanoseconds)?)
        })
    }
}

fn time(seconds: i64, nanoseconds: u32) -> Result<SystemTime> {
    if nanoseconds >= 1_000_000_000 {
        return Err(wrong("nanoseconds", "is a second or more"));
    }
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let whole = match seconds < 0 {
        true => UNIX_EPOCH.checked_sub(distance),
        false => UNIX_EPOCH.checked_add(distance),
    };
    whole
        .and_then(|whole| whole.checked_add(Duration::from_nanos(nanoseconds.into())))
        .ok_or_else(|| wrong("seconds", "is no time that can be told"))
}
