// SPDX-License-Identifier: MIT OR Apache-2.0
//! The mounts that this process sees, proc_pid_mountinfo(5).
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Bound;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use tare_wire::unescape;

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) id: u64,
    pub(crate) parent: u64,
    /// Device number of the file system, as text.
    pub(crate) device: String,
    /// Directory or file of the file system that is mounted.
    pub(crate) root: PathBuf,
    /// Mount point, as this process sees it.
    pub(crate) point: PathBuf,
    /// File-system type, with a subtype behind a dot: `fuse.sshfs`.
    pub(crate) kind: String,
    /// MOUNT_ATTR_* bits that restrict what is done there, mount_setattr(2).
    pub(crate) attrs: u32,
    /// True if the mount maps owners, which not every kernel allows for a
    /// layer.
    pub(crate) idmapped: bool,
    /// True if the mount may be cloned nowhere, mount_namespaces(7).
    pub(crate) unbindable: bool,
}

impl Mount {
    /// Reads one line of the table.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ');
        let mut number = || str::from_utf8(fields.next()?).ok()?.parse().ok();
        let (id, parent) = (number()?, number()?);
        let device = String::from_utf8_lossy(fields.next()?).into_owned();
        let mut path = || {
            let bytes = unescape(fields.next()?).collect();
            Some(PathBuf::from(OsString::from_vec(bytes)))
        };
        let (root, point) = (path()?, path()?);
        let (mut attrs, mut idmapped, mut unbindable) = (0, false, false);
        for word in fields.next()?.split(|byte| *byte == b',') {
            attrs |= attr(word);
            idmapped |= word == b"idmapped";
        }
        // Optional fields end with a dash.
        let mut rest = fields.skip_while(|field| {
            unbindable |= *field == b"unbindable";
            *field != b"-"
        });
        let kind = String::from_utf8_lossy(rest.nth(1)?).into_owned();
        drop(rest);
        Some(Self {
            id,
            parent,
            device,
            root,
            point,
            kind,
            attrs,
            idmapped,
            unbindable,
        })
    }
}

/// The attribute that an option of a mount stands for.
fn attr(option: &[u8]) -> u32 {
    let attr = match option {
        b"ro" => libc::MOUNT_ATTR_RDONLY,
        b"nosuid" => libc::MOUNT_ATTR_NOSUID,
        b"nodev" => libc::MOUNT_ATTR_NODEV,
        b"noexec" => libc::MOUNT_ATTR_NOEXEC,
        _ => 0,
    };
    attr as u32
}

/// Returns each line of a table of mounts for this type of file system, and the
/// options of the file system.
pub(crate) fn of_type<'t>(
    table: &'t [u8],
    kind: &'static str,
) -> impl Iterator<Item = (&'t [u8], &'t [u8])> {
    table.split(|byte| *byte == b'\n').filter_map(move |line| {
        let fields = line.split(|byte| *byte == b' ');
        let mut rest = fields.skip_while(|field| *field != b"-");
        // Behind type and source.
        (rest.nth(1)? == kind.as_bytes()).then(|| Some((line, rest.nth(1)?)))?
    })
}

/// The table of this process.
pub(crate) const OWN: &str = "/proc/self/mountinfo";

/// Reads the table of this process; its bytes tell whether it has changed.
///
/// # Errors
/// As open(2) and read(2): there may be no procfs.
pub(crate) fn read() -> io::Result<Vec<u8>> {
    // Otherwise a few bytes are read first: no size is known.
    let mut bytes = Vec::with_capacity(1 << 14);
    File::open(OWN)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Parent of every mount whose own parent is out of sight: no mount has this
/// id.
const OUTSIDE: u64 = u64::MAX;

/// All mounts, by the mount that each is attached to.
#[derive(Debug, Default)]
pub(crate) struct Mounts {
    children: HashMap<u64, HashMap<PathBuf, Mount>>,
    /// Those that no other one covers, by mount point; what is below a
    /// directory follows it.
    visible: BTreeMap<PathBuf, Mount>,
}

impl Mounts {
    /// Reads and parses the table of this process.
    ///
    /// # Errors
    /// As [`read`].
    pub(crate) fn now() -> io::Result<Self> {
        Ok(Self::parse(&read()?))
    }

    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let lines = bytes.split(|byte| *byte == b'\n').filter_map(Mount::parse);
        let all: HashMap<u64, Mount> = lines.map(|mount| (mount.id, mount)).collect();
        let mut mounts = Self::default();
        for mount in all.values() {
            let is_seen = mount.parent != mount.id && all.contains_key(&mount.parent);
            let parent = if is_seen { mount.parent } else { OUTSIDE };
            let siblings = mounts.children.entry(parent).or_default();
            siblings.insert(mount.point.clone(), mount.clone());
        }
        for mount in all.into_values() {
            if mounts
                .showing(&mount.point)
                .is_some_and(|m| m.id == mount.id)
            {
                mounts.visible.insert(mount.point.clone(), mount);
            }
        }
        mounts
    }

    /// Returns the mount that an absolute path ends in, on top of what it
    /// covers; none in a chroot(2) that is no mount point.
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

    /// Returns whether there is a mount of this id, covered or not.
    pub(crate) fn contains(&self, id: u64) -> bool {
        let mut all = self.children.values().flat_map(HashMap::values);
        all.any(|mount| mount.id == id)
    }

    /// Returns each mount that no other one covers.
    pub(crate) fn visible(&self) -> impl Iterator<Item = &Mount> {
        self.visible.values()
    }

    /// Returns the visible mount with this mount point.
    pub(crate) fn at(&self, point: &Path) -> Option<&Mount> {
        self.visible.get(point)
    }

    /// Returns the visible mounts below a directory, each before those below
    /// it.
    pub(crate) fn below<'s>(&'s self, dir: &'s Path) -> impl Iterator<Item = &'s Mount> {
        let from = (Bound::Excluded(dir), Bound::Unbounded);
        let after = self.visible.range::<Path, _>(from);
        let below = after.take_while(move |(point, _)| point.starts_with(dir));
        below.map(|(_, mount)| mount)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"20 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n\
        21 20 0:20 / /mnt rw,nosuid,relatime shared:2 master:1 - tmpfs x rw\n\
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
        let ids = |mounts: &mut dyn Iterator<Item = &Mount>| mounts.map(|m| m.id).collect();
        let visible: Vec<u64> = ids(&mut mounts.visible());
        assert_eq!(visible, [20, 21, 22, 25]);
        for (dir, expected) in [
            ("/", &[21, 22, 25][..]),
            ("/mnt", &[22]),
            ("/mn", &[]),
            ("/srv", &[]),
        ] {
            let below: Vec<u64> = ids(&mut mounts.below(Path::new(dir)));
            assert_eq!(below, expected, "{dir}");
        }
        assert_eq!(mounts.at(Path::new("/srv")).unwrap().id, 25);
        assert_eq!(mounts.at(Path::new("/srv/deep")), None);
        assert!(mounts.contains(23) && !mounts.contains(26));
    }

    #[test]
    fn mountinfo_options_and_optional_fields_are_told() {
        let line = |options: &str| {
            let text = format!("30 20 0:40 /sub\\040dir /x {options} - tmpfs none rw,size=1k");
            Mount::parse(text.as_bytes()).unwrap()
        };
        let mount = line("ro,nosuid,nodev,noexec,relatime shared:4");
        assert_eq!((mount.attrs, mount.idmapped), (15, false));
        assert_eq!(
            (&*mount.device, &*mount.root),
            ("0:40", Path::new("/sub dir"))
        );
        assert_eq!((line("rw").attrs, line("rw").unbindable), (0, false));
        assert!(line("rw,idmapped").idmapped && line("rw unbindable").unbindable);
    }

    #[test]
    fn mountinfo_of_a_chroot_begins_nowhere() {
        let mounts = Mounts::parse(b"22 21 0:21 / /data rw - tmpfs x rw\n");
        assert_eq!(mounts.showing(Path::new("/etc")), None);
        assert_eq!(mounts.showing(Path::new("/data/x")).unwrap().id, 22);
    }

    #[test]
    fn mountinfo_tells_the_options_of_a_type() {
        let text = b"21 1 0:20 / / rw - tmpfs tmpfs ro,size=4k\n\
            22 21 0:47 / /etc rw shared:1 - overlay overlay rw,lowerdir=l,xino=on\n\
            23 22 0:48 / /overlay rw - proc proc rw\nnot a table -";
        let found: Vec<_> = of_type(text, "overlay").collect();
        let [(line, options)] = found[..] else {
            panic!("{found:?}")
        };
        assert_eq!(options, b"rw,lowerdir=l,xino=on");
        assert_eq!(Mount::parse(line).unwrap().id, 22);
    }
}
