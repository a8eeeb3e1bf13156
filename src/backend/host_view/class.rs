// SPDX-License-Identifier: MIT OR Apache-2.0
//! The class of a mount of the machine, by its file-system type and place
//! alone.
#![forbid(unsafe_code)]

use crate::sys::mountinfo::Mount;

/// Facts of a mount that need no touch of its mount point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Holds no files of users: not shown.
    Pseudo,
    /// Mounts others when a process enters: not shown, never touched.
    Trigger,
    /// A root of another container engine: not shown.
    Container,
    /// Overlayfs takes the file system as a lower layer.
    Local,
    /// On this machine, but overlayfs may refuse it.
    Refusable,
    /// Served by another machine or process, which may be dead.
    Remote,
}

const PSEUDO: &str = "binfmt_misc bpf cgroup cgroup2 configfs cpuset debugfs devpts \
    devtmpfs efivarfs fusectl hugetlbfs mqueue nfsd nsfs proc pstore resctrl rpc_pipefs \
    securityfs selinuxfs smackfs sysfs tracefs xenfs";
const LOCAL: &str = "bcachefs btrfs erofs ext2 ext3 ext4 f2fs iso9660 jfs ramfs squashfs \
    tmpfs xfs zfs";
const REFUSABLE: &str = "exfat hfsplus msdos ntfs ntfs3 overlay rootfs udf vfat";

/// Directories in which container engines mount the roots of their containers.
const ENGINES: [&str; 5] = [
    "/var/lib/docker/",
    "/var/lib/containers/",
    "/run/containerd/",
    "/share/containers/storage/",
    "/share/docker/",
];

impl Class {
    /// Classifies a mount; a type that is not listed may be remote.
    pub(super) fn of(mount: &Mount) -> Self {
        let kind = mount.kind.as_str();
        let is_in = |words: &str| words.split(' ').any(|word| word == kind);
        let place = mount.point.to_string_lossy();
        // Users' engines are below ~/.local; the system's at these very places.
        let is_engines = |dir: &&str| match dir.starts_with("/share/") {
            true => place.contains(dir),
            false => place.starts_with(dir),
        };
        match kind {
            "autofs" => Self::Trigger,
            _ if is_in(PSEUDO) => Self::Pseudo,
            "overlay" | "fuse.fuse-overlayfs" if ENGINES.iter().any(is_engines) => Self::Container,
            _ if is_in(LOCAL) && !mount.idmapped => Self::Local,
            _ if is_in(LOCAL) || is_in(REFUSABLE) => Self::Refusable,
            _ => Self::Remote,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_is_told_by_type_and_place() {
        let system = "/var/lib/docker/overlay2/1/merged";
        let users = "/home/u/.local/share/containers/storage/overlay/1/merged";
        for (kind, point, expected) in [
            ("proc", "/srv/chroot/proc", Class::Pseudo),
            ("autofs", "/net", Class::Trigger),
            ("overlay", system, Class::Container),
            ("overlay", users, Class::Container),
            ("overlay", "/home/u/merged", Class::Refusable),
            ("vfat", "/boot/efi", Class::Refusable),
            ("ext4", "/home", Class::Local),
            ("nfs4", "/home", Class::Remote),
            ("fuse.sshfs", "/home/u/there", Class::Remote),
            ("new-in-7.0", "/x", Class::Remote),
        ] {
            assert_eq!(Class::of(&mount(kind, point)), expected, "{kind} {point}");
        }
        let idmapped = Mount {
            idmapped: true,
            ..mount("ext4", "/home")
        };
        assert_eq!(Class::of(&idmapped), Class::Refusable);
    }

    fn mount(kind: &str, point: &str) -> Mount {
        Mount {
            id: 1,
            parent: 0,
            device: "8:1".into(),
            root: "/".into(),
            point: point.into(),
            kind: kind.into(),
            attrs: 0,
            idmapped: false,
            unbindable: false,
        }
    }
}
