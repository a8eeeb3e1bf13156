// SPDX-License-Identifier: MIT OR Apache-2.0
//! Removes a directory inside with all files in it.
#![forbid(unsafe_code)]

use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;

use super::dir::{DirHandle, entry_name, quoted, unclear};
use super::request::request;
use crate::error::{Error, Result, Step};
use crate::wire::{self, CONTENT, DIRECTORY, Field as _, NO_LINKS, ONE_MOUNT, Reader};

/// Length at which a path starts anew at a descriptor, because a tree may be
/// deeper than any path is long.
const LONG: usize = 2000;

/// Flags against following links and crossing mount points.
const STAY: u32 = NO_LINKS | ONE_MOUNT;

/// Readings of a directory until a process inside seems to fill it for ever.
const PASSES: u32 = 100_000;

/// A directory on the way.
struct Level {
    dir: Rc<DirHandle>,
    path: PathBuf,
    passes: u32,
}

/// Removes the directory at `path`, which is no link, from `root`.
pub(super) fn remove_tree(step: Step, root: &DirHandle, path: &Path) -> Result<()> {
    let top = Rc::new(root.enter(step, path, 0)?);
    let mut left = vec![Level {
        dir: top,
        path: PathBuf::from("."),
        passes: 0,
    }];
    while let Some(level) = left.last_mut() {
        level.passes += 1;
        let (dir, path) = (Rc::clone(&level.dir), level.path.clone());
        if level.passes > PASSES {
            let shown = quoted(&dir.shown(&path));
            return Err(Error::os(step, shown, Errno::ENOTEMPTY));
        }
        let full = clear(step, &dir, &path)?;
        match full {
            None => {
                left.pop();
                if !left.is_empty() {
                    remove_empty(step, &dir, &path)?;
                }
            }
            Some(names) => {
                for name in names {
                    let below = below(step, &dir, &path, OsStr::from_bytes(&name));
                    match below {
                        Err(error) if error.errno() == Some(libc::ENOENT) => {}
                        level => left.push(level?),
                    }
                }
            }
        }
    }
    let asked = request(wire::FILE_REMOVE, DIRECTORY);
    root.ask(step, path, &asked).map(drop)
}

/// Returns the directory `name` of `path`.
fn below(step: Step, dir: &Rc<DirHandle>, path: &Path, name: &OsStr) -> Result<Level> {
    let path = path.join(name);
    let (dir, path) = match path.as_os_str().len() > LONG {
        // The last part stays, so that the directory can be removed by name.
        true => {
            let parent = path.parent().unwrap_or(Path::new("."));
            let dir = dir.enter(step, parent, STAY)?;
            (Rc::new(dir), PathBuf::from(name))
        }
        false => (Rc::clone(dir), path),
    };
    Ok(Level {
        dir,
        path,
        passes: 0,
    })
}

/// Removes the next entries. Returns `None` at the end, else the directories
/// among them that are not empty.
fn clear(step: Step, dir: &DirHandle, path: &Path) -> Result<Option<Vec<Vec<u8>>>> {
    let asked = request(wire::FILE_REMOVE, CONTENT | STAY);
    let answer = match dir.ask(step, path, &asked) {
        // A process inside was faster.
        Err(error) if error.errno() == Some(libc::ENOENT) => return Ok(None),
        other => other?,
    };
    let mut names = Vec::new();
    let mut reader = Reader::new(&answer.tail);
    while !reader.is_empty() {
        let name = <&CStr>::get(&mut reader).and_then(entry_name);
        let name = name.ok_or_else(|| unclear(step, &dir.shown(path)))?;
        names.push(name.to_vec());
    }
    Ok((answer.count > 0).then_some(names))
}

fn remove_empty(step: Step, dir: &DirHandle, path: &Path) -> Result<()> {
    let asked = request(wire::FILE_REMOVE, DIRECTORY | STAY);
    match dir.ask(step, path, &asked) {
        // Filled again, so the directory above is read again, too.
        Err(error) if matches!(error.errno(), Some(libc::ENOENT | libc::ENOTEMPTY)) => Ok(()),
        other => other.map(drop),
    }
}
