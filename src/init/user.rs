// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who a command runs as: `USER[:GROUP]` against the sandbox's own `/etc/passwd` and `/etc/group`.
//!
//! The files are the sandbox's to write, so they are read like anything hostile: regular
//! files of bounded size, resolved inside the root. A number is always that number: it is
//! never retried as a name (CVE-2024-40635, CVE-2026-30892).

use core::ffi::CStr;

use crate::dir::{self, PATH_MAX};
use crate::sys::{self, AT_FDCWD, Errno, Mapping, O_DIRECTORY, O_NONBLOCK, O_PATH, O_RDONLY, Result, S_IFREG};

/// Largest file that is read, as other engines do.
const LARGEST: usize = 10 << 20;
const GROUPS: usize = 1024;

/// Ids, groups and home of a user.
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    groups: [u32; GROUPS],
    n_groups: usize,
    home: [u8; PATH_MAX - 8],
    home_len: usize,
}

impl Identity {
    /// The base group, then the supplementary ones.
    pub(crate) fn groups(&self) -> &[u32] {
        &self.groups[..self.n_groups]
    }

    pub(crate) fn home(&self) -> &[u8] {
        &self.home[..self.home_len]
    }

    fn add_group(&mut self, gid: u32) -> Result<()> {
        if self.groups().contains(&gid) {
            return Ok(());
        }
        *self.groups.get_mut(self.n_groups).ok_or(Errno::TOOBIG)? = gid;
        self.n_groups += 1;
        Ok(())
    }
}

/// Looks `USER[:GROUP]` up; empty is 0:0.
pub(crate) fn find(text: &CStr) -> Result<Identity> {
    let mut parts = text.to_bytes().splitn(2, |b| *b == b':');
    let user = parts.next().filter(|u| !u.is_empty()).unwrap_or(b"0");
    let group = parts.next();
    let mut identity =
        Identity { uid: 0, gid: 0, groups: [0; GROUPS], n_groups: 0, home: [0; PATH_MAX - 8], home_len: 0 };
    let passwd = file(c"etc/passwd")?;
    let number = numeric(user)?;
    // name:password:uid:gid:comment:home:shell
    let entry = entries::<7>(passwd.bytes()).find(|e| match number {
        Some(uid) => dir::number(e[2]) == Some(uid),
        None => e[0] == user,
    });
    let mut name: &[u8] = b"";
    match (&entry, number) {
        (Some(e), _) => {
            identity.uid = dir::number(e[2]).ok_or(Errno::INVAL)? as u32;
            identity.gid = dir::number(e[3]).ok_or(Errno::INVAL)? as u32;
            name = e[0];
        }
        (None, Some(uid)) => identity.uid = uid as u32,
        (None, None) => return Err(Errno::NOENT),
    }
    let home = entry.map(|e| e[5]).filter(|h| h.first() == Some(&b'/') && h.len() < PATH_MAX - 8).unwrap_or(b"/");
    identity.home[..home.len()].copy_from_slice(home);
    identity.home_len = home.len();
    groups(&mut identity, name, group)?;
    Ok(identity)
}

/// A group that was asked for replaces the user's own; otherwise membership counts.
fn groups(identity: &mut Identity, name: &[u8], group: Option<&[u8]>) -> Result<()> {
    let file = file(c"etc/group")?;
    // name:password:gid:members
    if let Some(group) = group {
        let gid = match numeric(group)? {
            Some(gid) => Some(gid),
            None => entries::<4>(file.bytes()).find(|e| e[0] == group).and_then(|e| dir::number(e[2])),
        };
        identity.gid = gid.ok_or(Errno::NOENT)? as u32;
        return identity.add_group(identity.gid);
    }
    identity.add_group(identity.gid)?;
    for entry in entries::<4>(file.bytes()) {
        let member = !name.is_empty() && entry[3].split(|b| *b == b',').any(|m| m == name);
        if let Some(gid) = dir::number(entry[2]).filter(|_| member) {
            identity.add_group(gid as u32)?;
        }
    }
    Ok(())
}

/// A number if it looks like one: digits only. What begins like a number but is none is refused.
fn numeric(text: &[u8]) -> Result<Option<i32>> {
    match text.first() {
        Some(b'0'..=b'9' | b'-' | b'+' | b' ') => dir::number(text).map(Some).ok_or(Errno::INVAL),
        Some(_) => Ok(None),
        None => Err(Errno::INVAL),
    }
}

/// The lines that have exactly `N` fields; any others are skipped.
fn entries<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [&[u8]; N]> {
    bytes.split(|b| *b == b'\n' || *b == 0).filter_map(|line| {
        let mut fields = [&[][..]; N];
        let mut n = 0;
        for field in line.split(|b| *b == b':') {
            *fields.get_mut(n)? = field;
            n += 1;
        }
        (n == N).then_some(fields)
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
