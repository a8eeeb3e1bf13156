// SPDX-License-Identifier: MIT OR Apache-2.0
//! Adds a line to a file of the host's view, so that the sandbox's own name is
//! found in `/etc/hosts`.
#![forbid(unsafe_code)]

use core::ffi::CStr;

use crate::copy::copy_bytes;
use crate::dir;
use crate::mount;
use crate::sys::{
    self, Errno, Fd, O_APPEND, O_CREAT, O_EXCL, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY,
    O_WRONLY, Result, S_IFREG,
};

/// Name of a copy, before the rename.
const NEW: &CStr = c".tare-new";
/// A bigger file stays unchanged.
const LARGEST: i64 = 1 << 20;

/// Does [`crate::wire::Op::AddLine`].
pub(crate) fn add_line(root: i32, path: &CStr, stage: i32, line: &[u8]) -> Result<()> {
    // Each is tried only if the ways before changed no file.
    let added = append(root, path, line)
        .or_else(|_| replace(root, path, line))
        .or_else(|_| cover(root, path, stage, line));
    match added {
        Err(errno) if errno.is_of_machine() => Err(errno),
        _ => Ok(()),
    }
}

/// Adds the line to the file itself, which overlayfs copies up; the device
/// stays that of the tree.
fn append(root: i32, path: &CStr, line: &[u8]) -> Result<()> {
    let flags = O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY;
    let (file, _) = regular(dir::open(root, path, flags, dir::ANY)?)?;
    is_copy(&file)?;
    sys::write(file.raw(), line)
}

/// Puts a copy with the line in the file's place. Overlayfs copies up no file
/// whose owner has no id here (EOVERFLOW).
fn replace(root: i32, path: &CStr, line: &[u8]) -> Result<()> {
    let mut buffer = [0u8; 256];
    let (old, mode) = source(root, path)?;
    let (dir, name) = dir::parent(root, path, dir::ANY, &mut buffer)?;
    let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
    let new = sys::openat(dir.fd(), NEW, flags, mode)?;
    let renamed = is_copy(&new)
        .and_then(|()| copy_bytes(&old, &new, LARGEST as u64))
        .and_then(|()| sys::write(new.raw(), line))
        .and_then(|()| sys::renameat(dir.fd(), NEW, dir.fd(), name));
    if renamed.is_err() {
        sys::unlinkat(dir.fd(), NEW, 0)?;
    }
    renamed
}

/// Attaches a copy with the line over a file that can be neither written nor
/// replaced.
fn cover(root: i32, path: &CStr, stage: i32, line: &[u8]) -> Result<()> {
    let (old, mode) = source(root, path)?;
    let new = dir::create(stage, NEW, mode, dir::ANY)?;
    copy_bytes(&old, &new, LARGEST as u64)?;
    sys::write(new.raw(), line)?;
    let target = dir::open(root, path, sys::O_PATH, dir::ANY)?;
    mount::attach(sys::open_tree_clone(stage, NEW, 0)?.raw(), target.raw())
}

fn source(root: i32, path: &CStr) -> Result<(Fd, u32)> {
    let flags = O_RDONLY | O_NONBLOCK | O_NOCTTY;
    regular(dir::open(root, path, flags, dir::ANY)?)
}

/// Returns a regular file with its mode.
fn regular(file: Fd) -> Result<(Fd, u32)> {
    let stat = sys::fstatat(file.raw(), c"")?;
    match stat.is(S_IFREG) && stat.size <= LARGEST {
        true => Ok((file, stat.mode & 0o777)),
        false => Err(Errno::INVAL),
    }
}

/// Refuses files that may be the host's own: copies are on overlayfs, or in the
/// tree's tmpfs.
fn is_copy(file: &Fd) -> Result<()> {
    const COPIES: [u64; 2] = [0x794c_7630, 0x0102_1994];
    match COPIES.contains(&sys::fstatfs(file.raw())?.kind) {
        true => Ok(()),
        false => Err(Errno::PERM),
    }
}
