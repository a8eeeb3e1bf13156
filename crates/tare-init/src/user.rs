// SPDX-License-Identifier: MIT OR Apache-2.0
//! User of a command: `USER[:GROUP]` by the sandbox's own `/etc/passwd` and
//! `/etc/group`.
//!
//! The sandbox can write these files. Therefore they are read as hostile: only
//! regular files of bounded size, resolved inside the root.

use core::ffi::CStr;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::dir;
use crate::mapping::{Bytes, Mapping, Table, Zeroable};
use crate::passwd::{self, Refused};
use crate::sys::{self, Errno, O_NONBLOCK, O_RDONLY, Result, S_IFREG, Stat};

pub(crate) use crate::passwd::Identity;

/// Largest file that is read, as in other engines.
const LARGEST: usize = 10 << 20;

const FILES: [&CStr; 2] = [c"etc/passwd", c"etc/group"];

/// The user of the last lookup, valid as long as the files are unchanged.
pub(crate) struct Users {
    /// Memory to read into.
    room: Mapping,
    /// A single row.
    known: Table<Known>,
}

#[repr(C)]
struct Known {
    /// 1 if the rest is complete. The memory is the init's, and a child may be
    /// killed while writing. Therefore a child sets 0 before the system calls
    /// that read the files, and 1 after the last write.
    full: AtomicU32,
    name: [u8; 64],
    name_len: usize,
    files: [Stamp; 2],
    identity: Identity,
}

// SAFETY: integers only.
unsafe impl Zeroable for Known {}

/// State of a file: device, inode, size, times of the last change and of the
/// last change of status; zero for a missing file.
type Stamp = [u64; 7];

impl Users {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            room: Mapping::lasting(128 << 10)?,
            known: Table::lasting(1)?,
        })
    }

    /// Looks `USER[:GROUP]` up in the files below `root`; empty is 0:0.
    pub(crate) fn find(&mut self, root: i32, text: &CStr) -> Result<&Identity> {
        let [known] = self.known.rows() else {
            return Err(Errno::INVAL);
        };
        let text = text.to_bytes();
        // This walk may leave the root: it only decides whether the files are
        // those of last time.
        let same = || {
            FILES
                .iter()
                .zip(&known.files)
                .all(|(path, was)| sys::stat(root, path).map_or([0; 7], stamp) == *was)
        };
        // A swap writes at once: reading first would map the zero page, and the
        // write would fault again.
        if known.full.swap(0, Ordering::AcqRel) == 1
            && known.name.get(..known.name_len) == Some(text)
            && same()
        {
            known.full.store(1, Ordering::Release);
            return Ok(&known.identity);
        }
        let (first, second) = self.room.bytes_mut().split_at_mut(64 << 10);
        let [passwd, group] = [file(root, FILES[0], first)?, file(root, FILES[1], second)?];
        let (passwd_text, group_text) = (passwd.0.as_slice(), group.0.as_slice());
        let found = passwd::identify(text, passwd_text, group_text, &mut known.identity);
        found.map_err(|refused| match refused {
            Refused::Unknown => Errno::NOENT,
            Refused::Malformed => Errno::INVAL,
            Refused::TooManyGroups => Errno::TOOBIG,
        })?;
        known.files = [passwd.1, group.1];
        // Times are no finer than a tick: a file could change again and keep
        // its times.
        let settled = sys::realtime_s().saturating_sub(2);
        if text.len() <= known.name.len() && known.files.iter().all(|stamp| stamp[5] < settled) {
            known.name[..text.len()].copy_from_slice(text);
            known.name_len = text.len();
            known.full.store(1, Ordering::Release);
        }
        Ok(&known.identity)
    }
}

fn stamp(stat: Stat) -> Stamp {
    let [_, _, mtime, mtime_ns, ctime, ctime_ns] = stat.times.map(|n| n as u64);
    let (dev, ino, size) = (stat.dev, stat.ino, stat.size as u64);
    [dev, ino, size, mtime, mtime_ns, ctime, ctime_ns]
}

/// Reads a file and its state before; a missing file is empty.
fn file<'a>(root: i32, path: &CStr, room: &'a mut [u8]) -> Result<(Bytes<'a>, Stamp)> {
    let file = match dir::open(root, path, O_RDONLY | O_NONBLOCK | sys::O_NOCTTY, dir::ANY) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok((Bytes::Given(&[]), [0; 7])),
        other => other?,
    };
    let stat = sys::fstatat(file.raw(), c"")?;
    if !stat.is(S_IFREG) {
        return Err(Errno::INVAL);
    }
    let size = usize::try_from(stat.size).map_err(|_| Errno::INVAL)?;
    if size > LARGEST {
        return Err(Errno::FBIG);
    }
    if size <= room.len() {
        let len = dir::read_full(&file, &mut room[..size])?;
        return Ok((Bytes::Given(&room[..len]), stamp(stat)));
    }
    let mut memory = Mapping::anonymous(size)?;
    let len = dir::read_full(&file, memory.bytes_mut())?;
    Ok((Bytes::Own(memory, len), stamp(stat)))
}
