// SPDX-License-Identifier: MIT OR Apache-2.0
//! Removes trees, copies trees, and gives entries to other ids, by descriptors
//! only.
#![forbid(unsafe_code)]

use core::ffi::CStr;

use crate::dir::{self, PATH_MAX, PROC_FD};
use crate::mapping::Mapping;
use crate::sys::{
    self, AT_EMPTY_PATH, AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_NOFOLLOW, Errno, Fd, O_DIRECTORY,
    O_NOFOLLOW, O_NONBLOCK, O_PATH, O_RDONLY, RENAME_NOREPLACE, Result, S_IFCHR, S_IFDIR, S_IFLNK,
    S_IFREG,
};

/// Deeper trees are refused, before the stack overflows; the kernel's own limit
/// of a path is near.
const DEPTH: usize = 2000;

/// Removes a directory with all content; a missing directory is fine. Moves
/// inner directories up to the top, so that depth costs neither stack nor
/// descriptors.
pub(crate) fn remove_tree(at: i32, path: &CStr) -> Result<()> {
    match remove_entry(at, path) {
        Err(Errno::NOTEMPTY) => {}
        Err(Errno::NOENT) => return Ok(()),
        other => return other,
    }
    let top = open_dir(at, path)?;
    let mut moved = 0;
    // Removal during a pass may skip names, so passes repeat until one is
    // empty.
    loop {
        let mut found = 0;
        dir::for_each(top.raw(), c".", |name| {
            found += 1;
            match remove_entry(top.raw(), name) {
                Err(Errno::NOTEMPTY) => empty(top.raw(), name, &mut moved),
                other => other,
            }
        })?;
        if found == 0 {
            return remove_entry(at, path);
        }
    }
}

/// Empties a directory of `top`; moves inner directories with content to `top`.
fn empty(top: i32, name: &CStr, moved: &mut u64) -> Result<()> {
    let dir = open_dir(top, name)?;
    dir::for_each(dir.raw(), c".", |name| {
        match remove_entry(dir.raw(), name) {
            Err(Errno::NOTEMPTY) => move_up(dir.raw(), name, top, moved),
            other => other,
        }
    })
}

/// Moves a directory to a free name in `top`.
fn move_up(dir: i32, name: &CStr, top: i32, moved: &mut u64) -> Result<()> {
    loop {
        let mut place = [0u8; 24];
        let fresh = dir::numbered(&mut place, b"r", *moved)?;
        *moved += 1;
        match sys::renameat2(dir, name, top, fresh, RENAME_NOREPLACE) {
            Err(Errno::EXIST) => {}
            // A move changes `..`, for which an ordinary user needs write
            // permission.
            Err(Errno::ACCES) => {
                let closed = sys::openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0)?;
                chmod(&closed, 0o700)?;
            }
            other => return other,
        }
    }
}

/// Removes a file or an empty directory.
fn remove_entry(at: i32, name: &CStr) -> Result<()> {
    match sys::unlinkat(at, name, 0) {
        // Some file systems say EPERM.
        Err(Errno::ISDIR | Errno::PERM) => sys::unlinkat(at, name, AT_REMOVEDIR),
        other => other,
    }
}

/// Opens a directory, after a change of its mode if that forbids reading.
fn open_dir(at: i32, name: &CStr) -> Result<Fd> {
    let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
    match sys::openat(at, name, flags, 0) {
        Err(Errno::ACCES) => {
            let path = sys::openat(at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0)?;
            chmod(&path, 0o700)?;
            sys::openat(at, name, flags, 0)
        }
        other => other,
    }
}

/// Changes the mode of an O_PATH descriptor through procfs, because fchmod(2)
/// refuses such.
fn chmod(path: &Fd, mode: u32) -> Result<()> {
    let mut buffer = [0u8; PROC_FD];
    let name = dir::proc_fd(path.raw(), &mut buffer)?;
    sys::fchmodat(AT_FDCWD, name, mode)
}

/// Sets the owner, then the mode (which a change of owner may cut), then the
/// file capability.
pub(crate) fn chown(
    root: i32,
    path: &CStr,
    (uid, gid): (u32, u32),
    mode: u32,
    capability: &[u8],
) -> Result<()> {
    const BENEATH: u64 =
        sys::RESOLVE_BENEATH | sys::RESOLVE_NO_MAGICLINKS | sys::RESOLVE_NO_SYMLINKS;
    let mut buffer = [0u8; PATH_MAX];
    let (parent, name) = dir::split(path);
    let parent = if parent.is_empty() { &b"."[..] } else { parent };
    let parent = dir::join(&mut buffer, &[parent])?;
    let parent = sys::openat2(root, parent, O_PATH | O_DIRECTORY, 0, BENEATH)?;
    let name = dir::join(&mut buffer, &[name])?;
    let entry = sys::openat(parent.raw(), name, O_PATH | O_NOFOLLOW, 0)?;
    let flags = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW;
    sys::fchownat(entry.raw(), c"", uid, gid, flags)?;
    if sys::fstatat(entry.raw(), c"")?.is(S_IFLNK) {
        return Ok(());
    }
    chmod(&entry, mode & 0o7777)?;
    if !capability.is_empty() {
        let mut place = [0u8; PROC_FD];
        let link = dir::proc_fd(entry.raw(), &mut place)?;
        sys::setxattr(link, c"security.capability", capability)?;
    }
    Ok(())
}

/// Target of a copy.
#[derive(Clone, Copy)]
struct Target {
    /// The directory.
    to: i32,
    /// A directory beside the tree with a name for each copied file that has
    /// several. The name is made of device and inode, so that further names of
    /// the file find the copy.
    links: i32,
}

/// Copies a layer over the content of `to`: removes hidden entries and replaces
/// existing ones. `links` is a directory of the same file system that the
/// caller removes afterwards.
pub(crate) fn copy_tree(from: i32, to: i32, links: i32) -> Result<()> {
    copy_dir(from, Target { to, links }, 0)?;
    let stat = sys::fstatat(from, c"")?;
    sys::fchownat(to, c"", stat.uid, stat.gid, AT_EMPTY_PATH)?;
    sys::fchmod(to, stat.mode & 0o7777)
}

fn copy_dir(from: i32, target: Target, depth: usize) -> Result<()> {
    if depth > DEPTH {
        return Err(Errno::NAMETOOLONG);
    }
    dir::for_each(from, c".", |name| copy_entry(from, target, name, depth))
}

fn copy_entry(from: i32, target: Target, name: &CStr, depth: usize) -> Result<()> {
    let Target { to, links } = target;
    let source = sys::openat(from, name, O_PATH | O_NOFOLLOW, 0)?;
    let stat = sys::fstatat(source.raw(), c"")?;
    let below = sys::openat(to, name, O_PATH | O_NOFOLLOW, 0);
    let merges = stat.is(S_IFDIR)
        && !is_opaque(&source)?
        && matches!(&below, Ok(fd) if sys::fstatat(fd.raw(), c"")?.is(S_IFDIR));
    if below.is_ok() && !merges {
        remove_tree(to, name)?;
    }
    drop(below);
    if stat.is(S_IFCHR) && stat.rdev == 0 {
        // A whiteout only hides, which is done.
        return Ok(());
    }
    let made = if stat.is(S_IFDIR) {
        if !merges {
            sys::mkdirat(to, name, 0o700)?;
        }
        let inner = sys::openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0)?;
        let made = sys::openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0)?;
        let to = made.raw();
        copy_dir(inner.raw(), Target { to, links }, depth + 1)?;
        made
    } else {
        match copy_leaf(from, target, name, &stat)? {
            Some(made) => made,
            None => return Ok(()),
        }
    };
    sys::fchownat(made.raw(), c"", stat.uid, stat.gid, AT_EMPTY_PATH)?;
    copy_xattrs(&source, &made, &stat)?;
    if !stat.is(S_IFLNK) {
        chmod(&made, stat.mode & 0o7777)?;
    }
    sys::utimensat(to, name, &first_times(&stat), AT_SYMLINK_NOFOLLOW)
}

/// Returns the times of the last access and the last change, as utimensat(2)
/// takes them.
fn first_times(stat: &sys::Stat) -> [u64; 4] {
    core::array::from_fn(|n| stat.times[n] as u64)
}

/// Copies an entry that is no directory; returns `None` where only root could
/// make the entry.
fn copy_leaf(
    from: i32,
    Target { to, links }: Target,
    name: &CStr,
    stat: &sys::Stat,
) -> Result<Option<Fd>> {
    let (mut place, mut dev, mut ino) = ([0u8; 48], [0; 20], [0; 20]);
    let (dev, ino) = (
        dir::digits(stat.dev, &mut dev),
        dir::digits(stat.ino, &mut ino),
    );
    let numbers = dir::join(&mut place, &[dev, b"-", ino])?;
    let shared = stat.is(S_IFREG) && stat.nlink > 1;
    if shared && link(links, numbers, to, name)? {
        return sys::openat(to, name, O_PATH | O_NOFOLLOW, 0).map(Some);
    }
    if stat.is(S_IFREG) {
        let inner = sys::openat(from, name, O_RDONLY | O_NOFOLLOW, 0)?;
        let flags = sys::O_WRONLY | sys::O_CREAT | sys::O_EXCL | O_NOFOLLOW;
        let made = sys::openat(to, name, flags, 0o600)?;
        copy_bytes(&inner, &made, stat.size as u64)?;
        if shared {
            link(to, name, links, numbers)?;
        }
        return Ok(Some(made));
    }
    if stat.is(S_IFLNK) {
        let mut target = [0u8; PATH_MAX];
        let n = sys::readlinkat(from, name, &mut target[..PATH_MAX - 1])?;
        let target = CStr::from_bytes_with_nul(&target[..=n]).map_err(|_| Errno::INVAL)?;
        sys::symlinkat(target, to, name)?;
    } else {
        match sys::mknodat(to, name, stat.mode, stat.rdev) {
            Err(Errno::PERM) => return Ok(None),
            other => other?,
        };
    }
    sys::openat(to, name, O_PATH | O_NOFOLLOW, 0).map(Some)
}

/// Gives a file another name, in another directory; returns false if the file
/// is missing, or can have no more names.
fn link(from: i32, name: &CStr, to: i32, new: &CStr) -> Result<bool> {
    match sys::linkat(from, name, to, new) {
        Err(Errno::NOENT | Errno::MLINK) => Ok(false),
        other => other.map(|_| true),
    }
}

/// Returns whether a layer's directory hides those below, by overlayfs's
/// `opaque`.
fn is_opaque(dir: &Fd) -> Result<bool> {
    let mut path = [0u8; PROC_FD];
    let path = dir::proc_fd(dir.raw(), &mut path)?;
    let mut value = [0u8; 1];
    let names = [c"trusted.overlay.opaque", c"user.overlay.opaque"];
    let mut is_y = |name| sys::getxattr(path, name, &mut value) == Ok(1) && value == *b"y";
    Ok(names.into_iter().any(&mut is_y))
}

/// Copies a regular file of the caller's view, reached through no link, to a
/// new place in `root`.
pub(crate) fn copy_file(root: i32, path: &CStr, from: &CStr) -> Result<()> {
    // A FIFO in place of the file must not block.
    let flags = O_RDONLY | O_NONBLOCK;
    let source = sys::openat2(AT_FDCWD, from, flags, 0, sys::RESOLVE_NO_SYMLINKS)?;
    let stat = sys::fstatat(source.raw(), c"")?;
    if !stat.is(S_IFREG) {
        return Err(Errno::INVAL);
    }
    let made = dir::create(root, path, 0o600, dir::ANY)?;
    copy_bytes(&source, &made, stat.size as u64)?;
    // An owner without an id in the sandbox becomes user 0, which gains no
    // right by that.
    let _ = sys::fchownat(made.raw(), c"", stat.uid, stat.gid, AT_EMPTY_PATH);
    let _ = copy_xattrs(&source, &made, &stat);
    let mode = if stat.uid == 0 { 0o7777 } else { 0o1777 };
    sys::fchmod(made.raw(), stat.mode & mode)?;
    sys::futimens(&made, &first_times(&stat))
}

/// Copies at most `size` bytes, and less of a file that shrinks meanwhile.
///
/// The bound ends the copy of a file that grows as fast as the copy: a log,
/// perhaps one that is about this process.
pub(crate) fn copy_bytes(from: &Fd, to: &Fd, size: u64) -> Result<()> {
    let mut rest = usize::try_from(size).map_err(|_| Errno::INVAL)?;
    while rest > 0 {
        match sys::copy_file_range(from, to, rest.min(1 << 30)) {
            Ok(0) => return Ok(()),
            Ok(n) => rest -= n,
            // Not between these file systems.
            Err(_) => break,
        }
    }
    let mut buffer = match rest {
        0 => return Ok(()),
        _ => Mapping::anonymous(128 << 10)?,
    };
    while rest > 0 {
        let bytes = buffer.bytes_mut();
        let most = bytes.len().min(rest);
        match sys::read(from.raw(), &mut bytes[..most])? {
            0 => break,
            n => {
                sys::write(to.raw(), &buffer.bytes()[..n])?;
                rest -= n;
            }
        }
    }
    Ok(())
}

/// Copies extended attributes through procfs, since the descriptors may be
/// O_PATH. Links have no attributes that matter.
fn copy_xattrs(from: &Fd, to: &Fd, stat: &sys::Stat) -> Result<()> {
    if stat.is(S_IFLNK) {
        return Ok(());
    }
    let (mut a, mut b) = ([0u8; PROC_FD], [0u8; PROC_FD]);
    let from = dir::proc_fd(from.raw(), &mut a)?;
    let to = dir::proc_fd(to.raw(), &mut b)?;
    let mut memory = Mapping::anonymous(128 << 10)?;
    let (names, value) = memory.bytes_mut().split_at_mut(64 << 10);
    let n = match sys::listxattr(from, names) {
        Err(Errno::NOTSUP) => return Ok(()),
        other => other?,
    };
    let mut rest = &names[..n];
    while let Ok(name) = CStr::from_bytes_until_nul(rest) {
        rest = &rest[name.count_bytes() + 1..];
        if name.to_bytes().starts_with(b"trusted.overlay.")
            || name.to_bytes().starts_with(b"user.overlay.")
        {
            continue;
        }
        let len = sys::getxattr(from, name, value)?;
        match sys::setxattr(to, name, &value[..len]) {
            // Namespaces of the kernel that this caller may not write, such as
            // security labels.
            Ok(_) | Err(Errno::PERM | Errno::NOTSUP) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that grew since the survey is copied up to its surveyed size,
    /// inside a file system and, where there is another one, between two.
    #[test]
    fn copy_ends_at_the_given_size() {
        let dir = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir_in("/dev/shm").unwrap();
        let from = dir.path().join("from");
        std::fs::write(&from, vec![b'x'; 500_000]).unwrap();
        let open = |path: &std::path::Path, flags| {
            let path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
            sys::openat(AT_FDCWD, &path, flags, 0).ok().unwrap()
        };
        for to in [dir.path().join("to"), other.path().join("to")] {
            for size in [0, 3, 400_000, 500_000, 600_000] {
                std::fs::write(&to, "").unwrap();
                let copied = copy_bytes(&open(&from, O_RDONLY), &open(&to, sys::O_WRONLY), size);
                assert!(copied.is_ok());
                assert_eq!(std::fs::metadata(&to).unwrap().len(), size.min(500_000));
            }
        }
    }
}
