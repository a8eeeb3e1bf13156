// SPDX-License-Identifier: MIT OR Apache-2.0
//! Applies owner, mode, times and extended attributes of an archive.
#![forbid(unsafe_code)]

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{FileStat, UtimensatFlags, futimens, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat};

use super::Ids;
use crate::image::tar::{Call, Fault, Parsed, Time, refuse, shown};
use crate::sys::xattr;

/// Attributes that a directory gets when it is left; `None` keeps the present
/// value.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    pub(super) owner: Option<(u32, u32)>,
    pub(super) mode: Option<u32>,
    pub(super) times: Option<Time>,
}

impl Attributes {
    /// Returns attributes that restore the modification time in `stat`.
    pub(super) fn keep_times(stat: &FileStat) -> Self {
        Self {
            times: Some(Time::new(stat.st_mtime, stat.st_mtime_nsec as u32)),
            ..Self::default()
        }
    }

    /// Sets owner and times of the new file `name` in `dir`.
    pub(super) fn settle_at(&self, dir: BorrowedFd<'_>, name: &[u8]) -> Parsed<()> {
        if let Some((uid, gid)) = self.owner {
            let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            let flags = AtFlags::AT_SYMLINK_NOFOLLOW;
            fchownat(dir, name, uid, gid, flags).call("fchownat")?;
        }
        match self.times {
            Some(time) => set_times_at(dir, name, time),
            None => Ok(()),
        }
    }
}

fn spec(time: Time) -> TimeSpec {
    TimeSpec::new(time.seconds, time.nanoseconds.into())
}

/// Sets both times of an open file.
pub(super) fn set_times(fd: impl AsFd, time: Time) -> Parsed<()> {
    futimens(fd, &spec(time), &spec(time)).call("futimens")
}

/// Sets both times of `name`; of the symlink itself for a symlink.
fn set_times_at(dir: BorrowedFd<'_>, name: &[u8], time: Time) -> Parsed<()> {
    let flags = UtimensatFlags::NoFollowSymlink;
    utimensat(dir, name, &spec(time), &spec(time), flags).call("utimensat")
}

/// The extended attributes of an entry, sorted.
#[derive(Debug, Default)]
pub(super) struct Xattrs {
    /// To be set, in this order.
    pub(super) set: Vec<(CString, Vec<u8>)>,
    /// `security.capability`, to be set after the owner.
    pub(super) capability: Option<Vec<u8>>,
    /// Names that are not unpacked.
    pub(super) dropped: Vec<String>,
}

impl Xattrs {
    /// Sorts an archive's attributes. Keeps `user.*`, escapes names that
    /// overlayfs would obey as overlayfs itself does, checks file capabilities,
    /// and drops the rest.
    pub(super) fn sort(xattrs: Vec<(Vec<u8>, Vec<u8>)>) -> Parsed<Self> {
        let mut sorted = Self::default();
        for (name, value) in xattrs {
            if name == b"security.capability" {
                check_capability(&value)?;
                sorted.capability = Some(value);
                continue;
            }
            let Some(rest) = name.strip_prefix(b"user.") else {
                sorted.dropped.push(shown(&name));
                continue;
            };
            let name = match rest.strip_prefix(b"overlay.") {
                Some(rest) => [b"user.overlay.overlay.", rest].concat(),
                None => name,
            };
            match CString::new(name) {
                Ok(name) => sorted.set.push((name, value)),
                Err(_) => return refuse("NUL in an xattr's name"),
            }
        }
        Ok(sorted)
    }

    /// Sets the `user.*` attributes; returns true if the file system has none.
    pub(super) fn apply(&self, fd: BorrowedFd<'_>) -> Parsed<bool> {
        for (name, value) in &self.set {
            match xattr::set(fd, name, value) {
                Ok(()) => {}
                Err(Errno::EOPNOTSUPP) => return Ok(true),
                Err(errno) => {
                    let call = format!("fsetxattr {}", shown(name.as_bytes()));
                    return Err(Fault::Os(call.into(), errno));
                }
            }
        }
        Ok(false)
    }

    /// Sets the file capabilities if the ids allow it; returns true if they
    /// were dropped.
    pub(super) fn apply_capability(&self, fd: BorrowedFd<'_>, ids: Ids) -> Parsed<bool> {
        match (&self.capability, ids) {
            (None, _) | (_, Ids::Deferred) => Ok(false),
            (Some(_), Ids::Single) => Ok(true),
            (Some(value), Ids::Root) => xattr::set(fd, c"security.capability", value)
                .call("fsetxattr security.capability")
                .map(|()| false),
        }
    }
}

/// Revision 2 (20 bytes) or revision 3 (24 bytes) of `struct vfs_cap_data`.
fn check_capability(value: &[u8]) -> Parsed<()> {
    let revision = value.get(..4).map(|b| [b[0], b[1], b[2], b[3]]);
    let revision = revision.map(|b| u32::from_le_bytes(b) & 0xff00_0000);
    match (revision, value.len()) {
        (Some(0x0200_0000), 20) | (Some(0x0300_0000), 24) => Ok(()),
        _ => refuse("malformed security.capability"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xattr_capability_of_a_wrong_shape_is_refused() {
        let sort = |value: &[u8]| {
            let pairs = vec![(b"security.capability".to_vec(), value.to_vec())];
            Xattrs::sort(pairs)
        };
        let v2 = [&[1, 0, 0, 2][..], &[0; 16]].concat();
        assert!(sort(&v2).unwrap().capability.is_some());
        for value in [&b""[..], &v2[..19], &[&v2[..], &[0; 4]].concat(), &[0; 20]] {
            assert!(sort(value).is_err());
        }
    }
}
