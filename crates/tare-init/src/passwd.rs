// SPDX-License-Identifier: MIT OR Apache-2.0
//! Looks `USER[:GROUP]` up in the text of `/etc/passwd` and `/etc/group`, which
//! the sandbox may have written.
//!
//! A number is never retried as a name (CVE-2024-40635, CVE-2026-30892). No
//! function here makes a system call, so that the library's fuzzing can run
//! them.
#![forbid(unsafe_code)]

use core::ffi::CStr;

use super::decimal::number;

/// Longest path of a home directory.
pub(crate) const HOME_MAX: usize = 4096 - 8;
const HOME: &[u8] = b"HOME=";
const GROUPS: usize = 1024;

/// Ids, groups and home of a user. In this order the usual part lies on two
/// pages.
#[repr(C)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    n_groups: usize,
    /// In the form of an environment, with a NUL.
    home: [u8; HOME.len() + HOME_MAX],
    groups: [u32; GROUPS],
}

/// Reason of a failed lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// No line has the name.
    Unknown,
    /// Neither a name nor a number, or a line whose numbers are none.
    Malformed,
    /// More groups than are passed on.
    TooManyGroups,
}

impl Identity {
    /// Room for one.
    #[allow(dead_code, reason = "the fuzzing of the library makes some")]
    pub(crate) fn room() -> Self {
        Self {
            uid: 0,
            gid: 0,
            n_groups: 0,
            home: [0; HOME.len() + HOME_MAX],
            groups: [0; GROUPS],
        }
    }

    /// The base group, then the supplementary ones.
    pub(crate) fn groups(&self) -> &[u32] {
        &self.groups[..self.n_groups]
    }

    /// `HOME=` and the home directory.
    pub(crate) fn home(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.home).unwrap_or(c"HOME=/")
    }

    fn add_group(&mut self, gid: u32) -> Result<(), Refused> {
        if self.groups().contains(&gid) {
            return Ok(());
        }
        let slot = self.groups.get_mut(self.n_groups);
        *slot.ok_or(Refused::TooManyGroups)? = gid;
        self.n_groups += 1;
        Ok(())
    }
}

/// Looks up `USER[:GROUP]`, empty for 0:0, and a supplementary group in each
/// following line. Writes through `identity` instead of returning it, because
/// it is 8 KiB and the stack is small. Unspecified after an error.
pub(crate) fn identify(
    text: &[u8],
    passwd: &[u8],
    group: &[u8],
    identity: &mut Identity,
) -> Result<(), Refused> {
    let mut lines = text.split(|b| *b == b'\n');
    let mut parts = lines.next().unwrap_or_default().splitn(2, |b| *b == b':');
    let user = parts.next().filter(|u| !u.is_empty()).unwrap_or(b"0");
    // `USER:` names no group, as libcontainer, and so Docker, has it.
    let asked = parts.next().filter(|group| !group.is_empty());
    (identity.uid, identity.gid, identity.n_groups) = (0, 0, 0);
    let as_number = numeric(user)?;
    // name:password:uid:gid:comment:home:shell
    let entry = entries::<7>(passwd).find(|e| match as_number {
        Some(uid) => number(e[2]) == Some(uid),
        None => e[0] == user,
    });
    let mut name: &[u8] = b"";
    match (&entry, as_number) {
        (Some(e), _) => {
            identity.uid = number(e[2]).ok_or(Refused::Malformed)? as u32;
            identity.gid = number(e[3]).ok_or(Refused::Malformed)? as u32;
            name = e[0];
        }
        (None, Some(uid)) => identity.uid = uid as u32,
        (None, None) => return Err(Refused::Unknown),
    }
    let fits = |home: &&[u8]| home.first() == Some(&b'/') && home.len() < HOME_MAX;
    let home = entry.map(|e| e[5]).filter(fits).unwrap_or(b"/");
    let (variable, path) = identity.home.split_at_mut(HOME.len());
    variable.copy_from_slice(HOME);
    path[..home.len()].copy_from_slice(home);
    path[home.len()] = 0;
    groups(identity, name, asked, group)?;
    for asked in lines {
        let gid = group_id(asked, group)?;
        identity.add_group(gid)?;
    }
    Ok(())
}

/// A group that was asked for replaces the user's own; otherwise membership
/// counts.
fn groups(
    identity: &mut Identity,
    name: &[u8],
    asked: Option<&[u8]>,
    file: &[u8],
) -> Result<(), Refused> {
    // name:password:gid:members
    if let Some(asked) = asked {
        identity.gid = group_id(asked, file)?;
        return identity.add_group(identity.gid);
    }
    identity.add_group(identity.gid)?;
    for entry in entries::<4>(file) {
        let member = !name.is_empty() && entry[3].split(|b| *b == b',').any(|m| m == name);
        if let Some(gid) = number(entry[2]).filter(|_| member) {
            identity.add_group(gid as u32)?;
        }
    }
    Ok(())
}

/// Returns the id of a group by number or name.
fn group_id(asked: &[u8], file: &[u8]) -> Result<u32, Refused> {
    let gid = match numeric(asked)? {
        Some(gid) => Some(gid),
        None => entries::<4>(file)
            .find(|e| e[0] == asked)
            .and_then(|e| number(e[2])),
    };
    Ok(gid.ok_or(Refused::Unknown)? as u32)
}

/// Parses a number if the text looks like a number; refuses other text with
/// such a beginning.
fn numeric(text: &[u8]) -> Result<Option<i32>, Refused> {
    match text.first() {
        Some(b'0'..=b'9' | b'-' | b'+' | b' ') => number(text).map(Some).ok_or(Refused::Malformed),
        Some(_) => Ok(None),
        None => Err(Refused::Malformed),
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
