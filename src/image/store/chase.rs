// SPDX-License-Identifier: MIT OR Apache-2.0
//! Resolves the path of a store, and refuses a path that other users could
//! redirect.
//!
//! Opens each part below the part before. A directory that only root and the
//! caller can change keeps its entries, so a checked part stays checked, and
//! the returned path always leads to the same store.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, readlinkat};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, fchmodat, fstat, mkdirat};
use nix::unistd::geteuid;

use super::sync;
use crate::error::{Error, Kind, Result, Step};
use crate::sys::accounts::{Group, User};

/// Number of links that path_resolution(7) follows.
const LINKS: usize = 40;

const SHARED: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Returns the path of a directory without links. Makes missing parts, mode
/// 0700. Leaves the check of the directory itself to the caller.
pub(super) fn chase(path: &Path) -> Result<PathBuf> {
    let wrong = |at: &Path| {
        let at = at.to_owned();
        move |e| Error::os(Step::OpenStore, format_args!("{at:?}"), e)
    };
    let absolute = std::path::absolute(path);
    let absolute = absolute.map_err(|e| Error::io(Step::OpenStore, format_args!("{path:?}"), e))?;
    let mut left = parts(&absolute);
    let (mut real, mut links) = (PathBuf::from("/"), 0);
    let mut dir = open("/", PART, Mode::empty()).map_err(wrong(&real))?;
    while let Some(name) = left.pop_front() {
        if name == "/" {
            real = PathBuf::from("/");
            dir = open("/", PART, Mode::empty()).map_err(wrong(&real))?;
            continue;
        }
        check_parent(&real, &fstat(&dir).map_err(wrong(&real))?)?;
        if name == ".." {
            real.pop();
            dir = openat(&dir, "..", PART, Mode::empty()).map_err(wrong(&real))?;
            continue;
        }
        let at = real.join(&name);
        let part = open_or_make(&dir, &name, &at).map_err(wrong(&at))?;
        let stat = fstat(&part).map_err(wrong(&at))?;
        if stat.st_mode & libc::S_IFMT != libc::S_IFLNK {
            (real, dir) = (at, part);
            continue;
        }
        links += 1;
        if links > LINKS {
            return Err(wrong(&at)(Errno::ELOOP));
        }
        if !is_trusted(stat.st_uid) {
            return Err(refused(&at, &format!("a link of user {}", stat.st_uid)));
        }
        let target = readlinkat(part.as_fd(), "").map_err(wrong(&at))?;
        for name in parts(Path::new(&target)).into_iter().rev() {
            left.push_front(name);
        }
    }
    Ok(real)
}

const PART: OFlag = OFlag::O_PATH
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

fn parts(path: &Path) -> VecDeque<OsString> {
    let parts = path.components().filter(|part| *part != Component::CurDir);
    parts.map(|part| part.as_os_str().to_owned()).collect()
}

fn open_or_make(dir: &OwnedFd, name: &OsStr, at: &Path) -> nix::Result<OwnedFd> {
    match openat(dir, name, PART, Mode::empty()) {
        Err(Errno::ENOENT) => {}
        opened => return opened,
    }
    match mkdirat(dir, name, Mode::S_IRWXU) {
        Ok(()) => {
            // The caller's umask may have cleared bits. Only root and the
            // caller can have replaced the directory meanwhile.
            fchmodat(dir, name, Mode::S_IRWXU, FchmodatFlags::FollowSymlink)?;
            let errno = |e: std::io::Error| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO));
            sync::entry(at).map_err(errno)?;
        }
        Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno),
    }
    openat(dir, name, PART, Mode::empty())
}

/// Refuses a directory whose entries other users can replace.
fn check_parent(path: &Path, stat: &FileStat) -> Result<()> {
    if stat.st_mode & libc::S_IFMT != libc::S_IFDIR {
        return Err(Error::os(
            Step::OpenStore,
            format_args!("{path:?}"),
            Errno::ENOTDIR,
        ));
    }
    if !is_trusted(stat.st_uid) {
        return Err(refused(
            path,
            &format!("it belongs to user {}", stat.st_uid),
        ));
    }
    let shared = stat.st_mode & SHARED;
    // In a sticky directory, only the owners of the entry and of the directory
    // can replace an entry.
    if shared == 0 || stat.st_mode & STICKY != 0 {
        return Ok(());
    }
    if shared == libc::S_IWGRP && is_private(stat.st_gid) {
        return Ok(());
    }
    let error = refused(path, "other users may write to it");
    Err(error.with_cure(format!("chmod go-w {}", path.display())))
}

fn refused(path: &Path, why: &str) -> Error {
    let why = format!("{path:?}: {why}, so others could put another store in its place");
    let error = Error::new(Kind::Permission, Step::OpenStore, why);
    error.with_cure("TARE_STORE=DIR below directories of root's or your own")
}

/// Returns whether a user is trusted with the way to a store: root and the
/// caller.
fn is_trusted(uid: u32) -> bool {
    uid == 0 || uid == geteuid().as_raw() || is_unmapped(uid)
}

/// Returns whether a user has no id in this user namespace. Root of the machine
/// and each unmapped user look the same there; root is needed, so all of them
/// are trusted.
fn is_unmapped(uid: u32) -> bool {
    // DEFAULT_OVERFLOWUID, for a procfs with processes only (`subset=pid`).
    const DEFAULT: u32 = 65534;
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let overflow = read("/proc/sys/kernel/overflowuid").trim().parse();
    overflow.unwrap_or(DEFAULT) == uid
        && read("/proc/self/uid_map").split_whitespace().next_back() != Some("4294967295")
}

/// Returns whether a group is private to the caller: the user's login group, of
/// the user's name, without other members.
fn is_private(gid: u32) -> bool {
    let user = User::find(geteuid().as_raw());
    user.zip(Group::find(gid)).is_some_and(|(user, group)| {
        user.gid == gid
            && user.name == group.name
            && group.members.iter().all(|member| *member == user.name)
    })
}
