// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who a command runs as: `USER[:GROUP]` against the sandbox's own `/etc/passwd` and `/etc/group`.
//!
//! The files are the sandbox's to write, so they are read like anything hostile: regular
//! files of bounded size, resolved inside the root.

use core::ffi::CStr;

use crate::dir;
use crate::passwd::{self, Refused};
use crate::sys::{self, AT_FDCWD, Errno, Mapping, O_DIRECTORY, O_NONBLOCK, O_PATH, O_RDONLY, Result, S_IFREG};

pub(crate) use crate::passwd::Identity;

/// Largest file that is read, as other engines do.
const LARGEST: usize = 10 << 20;

/// Looks `USER[:GROUP]` up; empty is 0:0.
pub(crate) fn find(text: &CStr) -> Result<Identity> {
    let (passwd, group) = (file(c"etc/passwd")?, file(c"etc/group")?);
    passwd::identify(text.to_bytes(), passwd.bytes(), group.bytes()).map_err(|refused| match refused {
        Refused::Unknown => Errno::NOENT,
        Refused::Malformed => Errno::INVAL,
        Refused::TooManyGroups => Errno::TOOBIG,
    })
}

/// The file's bytes; a missing file is an empty one.
fn file(path: &CStr) -> Result<Mapping> {
    let root = sys::openat(AT_FDCWD, c"/", O_PATH | O_DIRECTORY, 0)?;
    let file = match dir::open(root.0, path, O_RDONLY | O_NONBLOCK | sys::O_NOCTTY, false) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Mapping::default()),
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
    let mut memory = Mapping::anonymous(size)?;
    let mut at = 0;
    // Read, not mapped: a file that shrinks under a mapping kills its reader.
    while at < size {
        match sys::read(file.0, &mut memory.bytes_mut()[at..size])? {
            0 => break,
            n => at += n,
        }
    }
    Ok(memory)
}
