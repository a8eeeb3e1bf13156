// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who a command runs as: `USER[:GROUP]` against the sandbox's own `/etc/passwd` and `/etc/group`.
//!
//! The files are the sandbox's to write, so they are read like anything hostile: regular
//! files of bounded size, resolved inside the root.

use core::ffi::CStr;

use crate::dir;
use crate::passwd::{self, Refused};
use crate::sys::{self, Errno, Fd, Mapping, O_NONBLOCK, O_RDONLY, Result, S_IFREG};

pub(crate) use crate::passwd::Identity;

/// Largest file that is read, as other engines do.
const LARGEST: usize = 10 << 20;

/// Looks `USER[:GROUP]` up in the files below `root`; empty is 0:0. `room` is memory to read into.
pub(crate) fn find(root: i32, text: &CStr, room: &mut [u8]) -> Result<Identity> {
    let (first, second) = room.split_at_mut(room.len() / 2);
    let (passwd, group) = (file(root, c"etc/passwd", first)?, file(root, c"etc/group", second)?);
    passwd::identify(text.to_bytes(), passwd.bytes(), group.bytes()).map_err(|refused| match refused {
        Refused::Unknown => Errno::NOENT,
        Refused::Malformed => Errno::INVAL,
        Refused::TooManyGroups => Errno::TOOBIG,
    })
}

/// A file's bytes: in the memory that was given, or in more if they do not fit.
enum Text<'a> {
    Given(&'a [u8]),
    Own(Mapping, usize),
}

impl Text<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Given(bytes) => bytes,
            Self::Own(mapping, len) => &mapping.bytes()[..*len],
        }
    }
}

/// Reads a file; a missing one is an empty one.
fn file<'a>(root: i32, path: &CStr, room: &'a mut [u8]) -> Result<Text<'a>> {
    let file = match dir::open(root, path, O_RDONLY | O_NONBLOCK | sys::O_NOCTTY, dir::ANY) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Text::Given(&[])),
        other => other?,
    };
    let stat = sys::fstatat(file.0, c"")?;
    if !stat.is(S_IFREG) {
        return Err(Errno::INVAL);
    }
    let size = usize::try_from(stat.size).map_err(|_| Errno::INVAL)?;
    if size > LARGEST {
        return Err(Errno(27));
    }
    if size <= room.len() {
        let len = fill(&file, &mut room[..size])?;
        return Ok(Text::Given(&room[..len]));
    }
    let mut memory = Mapping::anonymous(size)?;
    let len = fill(&file, memory.bytes_mut())?;
    Ok(Text::Own(memory, len))
}

/// Read, not mapped: a file that shrinks under a mapping kills its reader.
fn fill(file: &Fd, into: &mut [u8]) -> Result<usize> {
    let mut at = 0;
    while at < into.len() {
        match sys::read(file.0, &mut into[at..])? {
            0 => break,
            n => at += n,
        }
    }
    Ok(at)
}
