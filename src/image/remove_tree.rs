// SPDX-License-Identifier: MIT OR Apache-2.0
//! Removes a directory tree of any depth with a fixed number of descriptors.
#![forbid(unsafe_code)]

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd as _, BorrowedFd};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{OFlag, renameat};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};
use nix::unistd::{UnlinkatFlags, dup, unlinkat};

/// Readings of a directory before an entry that stays becomes an error.
const PASSES: usize = 100;

/// Removes `name`, a directory or any other file, from `parent`; a missing name
/// is fine.
///
/// Follows no link. Moves directories that hold files up into `parent` under
/// fresh names, so that depth costs neither stack nor descriptors; `parent`
/// must therefore be a private directory. Opens up directories with a mode that
/// would stop an ordinary user.
pub(crate) fn remove_tree(parent: BorrowedFd<'_>, name: &CStr) -> nix::Result<()> {
    match unlink(parent, name) {
        Err(Errno::EISDIR | Errno::EPERM) => {}
        done => return done,
    }
    let mut left = vec![name.to_owned()];
    let mut moved = 0_u64;
    while let Some(dir) = left.pop() {
        let mut passes = 0;
        loop {
            empty(parent, &dir, &mut |from, child| {
                let fresh = set_aside(from, child, parent, name, &mut moved)?;
                left.push(fresh);
                Ok(())
            })?;
            match remove_dir(parent, &dir) {
                // Some file systems skip entries that are removed while the
                // directory is read.
                Err(Errno::ENOTEMPTY) if passes < PASSES => passes += 1,
                Err(errno) => return Err(errno),
                Ok(()) => break,
            }
        }
    }
    Ok(())
}

type SetAside<'a> = &'a mut dyn FnMut(BorrowedFd<'_>, &CStr) -> nix::Result<()>;

/// Empties the directory; passes directories that hold files to `set_aside`.
fn empty(parent: BorrowedFd<'_>, name: &CStr, set_aside: SetAside<'_>) -> nix::Result<()> {
    let Some(mut dir) = open(parent, name)? else {
        return Ok(());
    };
    let fd = dup(dir.as_fd())?;
    for entry in dir.iter() {
        let entry = entry?;
        let child = entry.file_name();
        if matches!(child.to_bytes(), b"." | b"..") {
            continue;
        }
        if entry.file_type() != Some(Type::Directory) {
            match opened_up(parent, name, || unlink(fd.as_fd(), child)) {
                // The file system did not give the type: the entry is a
                // directory.
                Err(Errno::EISDIR) => {}
                done => {
                    done?;
                    continue;
                }
            }
        }
        match opened_up(parent, name, || remove_dir(fd.as_fd(), child)) {
            Err(Errno::ENOTEMPTY) => set_aside(fd.as_fd(), child)?,
            done => done?,
        }
    }
    Ok(())
}

/// Moves a directory up into `to` under a fresh name, and returns the name.
fn set_aside(
    from: BorrowedFd<'_>,
    child: &CStr,
    to: BorrowedFd<'_>,
    root: &CStr,
    moved: &mut u64,
) -> nix::Result<CString> {
    loop {
        *moved += 1;
        let mut fresh = root.to_bytes().to_vec();
        fresh.extend_from_slice(format!(".gone.{moved}").as_bytes());
        let fresh = CString::new(fresh).expect("a C string and text without NUL");
        // rename(2) of a directory rewrites `..`, which needs write permission
        // on it.
        match opened_up(from, child, || renameat(from, child, to, fresh.as_c_str())) {
            Err(Errno::EEXIST | Errno::ENOTEMPTY) => {}
            Err(Errno::ENOENT) | Ok(()) => return Ok(fresh),
            Err(errno) => return Err(errno),
        }
    }
}

/// Runs `change`. If the mode forbids the change, opens the directory up and
/// runs `change` again.
fn opened_up(
    parent: BorrowedFd<'_>,
    name: &CStr,
    change: impl Fn() -> nix::Result<()>,
) -> nix::Result<()> {
    match change() {
        Err(Errno::EACCES) => {
            open_up(parent, name)?;
            change()
        }
        done => done,
    }
}

fn open_up(parent: BorrowedFd<'_>, name: &CStr) -> nix::Result<()> {
    // A directory in a directory that only this process writes: no link to
    // follow.
    fchmodat(parent, name, Mode::S_IRWXU, FchmodatFlags::FollowSymlink)
}

fn open(parent: BorrowedFd<'_>, name: &CStr) -> nix::Result<Option<Dir>> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let open = || Dir::openat(parent, name, flags, Mode::empty());
    let opened = match open() {
        Err(Errno::EACCES) => {
            open_up(parent, name)?;
            open()
        }
        opened => opened,
    };
    match opened {
        Err(Errno::ENOENT) => Ok(None),
        opened => opened.map(Some),
    }
}

fn unlink(dir: BorrowedFd<'_>, name: &CStr) -> nix::Result<()> {
    gone(unlinkat(dir, name, UnlinkatFlags::NoRemoveDir))
}

fn remove_dir(dir: BorrowedFd<'_>, name: &CStr) -> nix::Result<()> {
    match gone(unlinkat(dir, name, UnlinkatFlags::RemoveDir)) {
        Err(Errno::EEXIST) => Err(Errno::ENOTEMPTY),
        done => done,
    }
}

/// Accepts a missing file, because another process may sweep the same tree.
fn gone(done: nix::Result<()>) -> nix::Result<()> {
    match done {
        Err(Errno::ENOENT) => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn remove_tree_of_any_shape_leaves_nothing_and_follows_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("x");
        let victim = dir.path().join("victim");
        fs::create_dir_all(victim.join("d")).unwrap();
        fs::create_dir_all(root.join("a/b/c")).unwrap();
        for n in 0..300 {
            fs::write(root.join(format!("a/b/{n}")), b"x").unwrap();
        }
        symlink(&victim, root.join("a/link")).unwrap();
        fs::set_permissions(root.join("a/b"), fs::Permissions::from_mode(0o0)).unwrap();
        let parent = File::open(dir.path()).unwrap();
        remove_tree(parent.as_fd(), c"x").unwrap();
        remove_tree(parent.as_fd(), c"x").unwrap();
        let left: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(left, ["victim"]);
        assert!(victim.join("d").exists());
    }

    #[test]
    fn remove_tree_deeper_than_any_path_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let parent = File::open(dir.path()).unwrap();
        // Grown from the inside out: each turn puts the tree into a new
        // directory.
        for _ in 0..5_000 {
            fs::create_dir(dir.path().join("new")).unwrap();
            // The first turn has no tree yet.
            let _ = fs::rename(dir.path().join("x"), dir.path().join("new/x"));
            fs::rename(dir.path().join("new"), dir.path().join("x")).unwrap();
        }
        remove_tree(parent.as_fd(), c"x").unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
