// SPDX-License-Identifier: MIT OR Apache-2.0
//! The mounts that this process sees, proc_pid_mountinfo(5).
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) id: u64,
    pub(crate) parent: u64,
    /// Mount point, as this process sees it.
    pub(crate) point: PathBuf,
    /// File-system type, with a subtype behind a dot: `fuse.sshfs`.
    pub(crate) kind: String,
}

impl Mount {
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ');
        let mut number = || str::from_utf8(fields.next()?).ok()?.parse().ok();
        let (id, parent) = (number()?, number()?);
        let point = unescape(fields.nth(2)?);
        // Optional fields end with a dash.
        let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
        let kind = String::from_utf8_lossy(kind).into_owned();
        Some(Self {
            id,
            parent,
            point,
            kind,
        })
    }
}

/// Undoes the octal escapes of mountinfo: `\040` is a space.
pub(crate) fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let octal = match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..]) => {
                Some((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'))
            }
            _ => None,
        };
        bytes.push(octal.unwrap_or(*first));
        rest = if octal.is_some() { &tail[3..] } else { tail };
    }
    OsString::from_vec(bytes).into()
}

/// Parent of every mount whose own parent is out of sight: no mount has this id.
const OUTSIDE: u64 = u64::MAX;

/// All mounts, by the mount that each is attached to.
#[derive(Debug, Default)]
pub(crate) struct Mounts {
    children: HashMap<u64, HashMap<PathBuf, Mount>>,
}

impl Mounts {
    /// Reads the table of this process; its bytes tell whether it has changed.
    ///
    /// # Errors
    /// As open(2) and read(2): there may be no procfs.
    pub(crate) fn read() -> std::io::Result<(Self, Vec<u8>)> {
        let bytes = std::fs::read("/proc/self/mountinfo")?;
        Ok((Self::parse(&bytes), bytes))
    }

    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let lines = bytes.split(|byte| *byte == b'\n').filter_map(Mount::parse);
        let all: HashMap<u64, Mount> = lines.map(|mount| (mount.id, mount)).collect();
        let mut children: HashMap<u64, HashMap<PathBuf, Mount>> = HashMap::new();
        for mount in all.values() {
            let is_seen = mount.parent != mount.id && all.contains_key(&mount.parent);
            let parent = if is_seen { mount.parent } else { OUTSIDE };
            let siblings = children.entry(parent).or_default();
            siblings.insert(mount.point.clone(), mount.clone());
        }
        Self { children }
    }

    /// Returns the mount that an absolute path ends in, on top of what it covers;
    /// none in a chroot(2) that is no mount point.
    pub(crate) fn showing(&self, path: &Path) -> Option<&Mount> {
        let mut ancestors: Vec<&Path> = path.ancestors().collect();
        ancestors.reverse();
        let mut seen = None;
        for place in ancestors {
            while let Some(next) = self.child(seen, place) {
                seen = Some(next);
            }
        }
        seen
    }

    fn child(&self, of: Option<&Mount>, place: &Path) -> Option<&Mount> {
        let of = of.map_or(OUTSIDE, |mount| mount.id);
        self.children.get(&of)?.get(place)
    }

    /// Returns each mount that no other one covers.
    pub(crate) fn visible(&self) -> Vec<&Mount> {
        let all = self.children.values().flat_map(HashMap::values);
        all.filter(|mount| self.showing(&mount.point).is_some_and(|m| m.id == mount.id))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"20 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n\
        21 20 0:20 / /mnt rw,nosuid shared:2 master:1 - tmpfs x rw\n\
        22 21 0:21 / /mnt/a\\040b rw - fuse.sshfs me@there:/ rw\n\
        23 20 0:22 / /srv/deep rw - tmpfs y rw\n\
        24 20 0:23 / /srv rw - tmpfs z rw\n\
        25 24 0:24 / /srv rw - xfs /dev/sdb rw\n\
        malformed\n";

    #[test]
    fn mountinfo_names_the_mount_on_top() {
        let mounts = Mounts::parse(TABLE);
        for (path, id, kind) in [
            ("/", 20, "ext4"),
            ("/mn", 20, "ext4"),
            ("/mnt/a", 21, "tmpfs"),
            ("/mnt/a b/c", 22, "fuse.sshfs"),
            ("/srv/deep", 25, "xfs"),
        ] {
            let mount = mounts.showing(Path::new(path)).unwrap();
            assert_eq!((mount.id, &*mount.kind), (id, kind), "{path}");
        }
    }

    #[test]
    fn mountinfo_covered_mounts_are_invisible() {
        let mounts = Mounts::parse(TABLE);
        let mut ids: Vec<u64> = mounts.visible().iter().map(|m| m.id).collect();
        ids.sort_unstable();
        assert_eq!(ids, [20, 21, 22, 25]);
    }

    #[test]
    fn mountinfo_of_a_chroot_begins_nowhere() {
        let mounts = Mounts::parse(b"22 21 0:21 / /data rw - tmpfs x rw\n");
        assert_eq!(mounts.showing(Path::new("/etc")), None);
        assert_eq!(mounts.showing(Path::new("/data/x")).unwrap().id, 22);
    }

    #[test]
    fn mountinfo_escapes_are_undone_once() {
        for (text, path) in [
            ("/a\\040b", "/a b"),
            ("/a\\134040", "/a\\040"),
            ("/end\\04", "/end\\04"),
            ("/not\\999", "/not\\999"),
        ] {
            assert_eq!(unescape(text.as_bytes()), Path::new(path), "{text}");
        }
    }
}
