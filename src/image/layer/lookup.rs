// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finds directories below a root that no symlink leaves.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};

use crate::image::tar::{Call, Fault, Parsed, refuse};

/// Directories are opened for reading: only such descriptors take new
/// attributes.
pub(super) const DIRECTORY: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

/// Resolves `path` with `root` as `/`; symlinks on the way stay below the root.
pub(super) fn open_in_root(root: BorrowedFd<'_>, path: &[u8]) -> nix::Result<OwnedFd> {
    if is_weak!("no_inroot") {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        return openat(root, path, flags, Mode::empty());
    }
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    loop {
        match openat2(root, path, how) {
            // A rename somewhere on this machine raced with a `..`.
            Err(Errno::EAGAIN) => continue,
            // A filter forbids the call. Walking is as good until the first
            // symlink.
            Err(Errno::ENOSYS) => {
                return walk(root, path, DIRECTORY).map_err(|errno| match errno {
                    Errno::ENOTDIR | Errno::ELOOP => Errno::ENOSYS,
                    errno => errno,
                });
            }
            opened => return opened,
        }
    }
}

/// Opens `path`, part by part; a symlink on the way is an error.
pub(super) fn walk(root: BorrowedFd<'_>, path: &[u8], flags: OFlag) -> nix::Result<OwnedFd> {
    let mut parts = path.split(|&b| b == b'/');
    let first = parts.next().unwrap_or_default();
    let mut fd = openat(root, first, flags, Mode::empty())?;
    for part in parts {
        fd = openat(&fd, part, flags, Mode::empty())?;
    }
    Ok(fd)
}

/// Symlinks on the way to a file, as the kernel counts them.
const LINKS_MAX: u32 = 40;

/// Returns the target of `path` with `root` as `/`: below the root and free of
/// symlinks, even if the end is missing. Needs a descriptor for each of at most
/// `depth` directories.
pub(super) fn resolve(root: BorrowedFd<'_>, path: &[u8], depth: u32) -> Parsed<Vec<u8>> {
    let parts = |path: &[u8]| -> Vec<Vec<u8>> {
        let parts = path.split(|&b| b == b'/').rev();
        parts.map(<[u8]>::to_vec).collect()
    };
    let mut left = parts(path);
    let mut done: Vec<(Vec<u8>, Option<OwnedFd>)> = Vec::new();
    let mut links = 0;
    while let Some(part) = left.pop() {
        match &part[..] {
            b"" | b"." => continue,
            b".." => {
                done.pop();
                continue;
            }
            _ => {}
        }
        let dir = match done.last() {
            None => Some(root),
            Some((_, dir)) => dir.as_ref().map(|dir| dir.as_fd()),
        };
        match dir.map(|dir| readlinkat(dir, &part[..])) {
            Some(Ok(_)) if links == LINKS_MAX => {
                return refuse("a parent of it is a loop of symlinks");
            }
            Some(Ok(target)) => {
                links += 1;
                if target.as_bytes().starts_with(b"/") {
                    done.clear();
                }
                left.extend(parts(target.as_bytes()));
            }
            _ if done.len() >= depth as usize => {
                return Err(Fault::Beyond("depth", depth.into()));
            }
            _ => {
                let flags = DIRECTORY | OFlag::O_PATH;
                // A file that is no directory fails when the entry's own parent
                // is opened.
                let fd = dir.and_then(|dir| openat(dir, &part[..], flags, Mode::empty()).ok());
                done.push((part, fd));
            }
        }
    }
    let parts: Vec<_> = done.into_iter().map(|(part, _)| part).collect();
    Ok(parts.join(&b'/'))
}

/// Sets the mode of the file of an `O_PATH` descriptor, which fchmod(2)
/// refuses.
pub(super) fn chmod_path_fd(fd: &OwnedFd, mode: u32) -> Parsed<()> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let mode = Mode::from_bits_truncate(mode);
    fchmodat(AT_FDCWD, path.as_str(), mode, FchmodatFlags::FollowSymlink).call("fchmodat")
}

/// Returns the path of an open file, as the kernel prints it.
pub(super) fn path_of_fd(fd: &OwnedFd) -> Parsed<Vec<u8>> {
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let path = readlinkat(AT_FDCWD, link.as_str()).call("readlinkat")?;
    Ok(path.as_bytes().to_vec())
}
