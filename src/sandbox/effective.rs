// SPDX-License-Identifier: MIT OR Apache-2.0
//! The settings in force in a sandbox.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;

use serde::Serialize;

use crate::backend::Lower;
use crate::error::{Error, Result, Step};
use crate::instance::{Instance, Rootfs};
use crate::parts::idmap::Ids;
use crate::parts::mounts;
use crate::parts::shown::ShownMount;
use crate::spec::{LeftOut, Network, Spec, UserNamespace, Write};
use crate::store::Store;
use crate::sys::mountinfo::of_type;
use crate::sys::pidfd;

/// The settings in force, as [`crate::Sandbox::effective`] returns them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Effective {
    /// The sandbox's name, `PID-START-HELPER.NUMBER`: process id and start time
    /// of the host, process id of the helper, a number.
    pub name: String,
    /// Host name inside.
    pub hostname: String,
    /// The back end of the root: `overlay`, `copy`, `plain`.
    pub storage: String,
    /// True if each overlay has one device, and an inode number of its own for
    /// each file (`xino=on`, or all layers on one file system). Null for other
    /// back ends, and without `/proc`.
    pub unique_inodes: Option<bool>,
    /// The namespaces that are the sandbox's own.
    pub namespaces: Vec<String>,
    /// `host` (root of the machine), `single` (only the caller's id) or
    /// `subordinate` (more ids: the subordinate ids of a user, or all ids of
    /// the user namespace whose root the caller is).
    pub ids: String,
    /// Capabilities of container root.
    pub capabilities: Vec<String>,
    /// True if a system call filter is attached.
    pub seccomp: bool,
    /// True if setuid programs gain no privileges.
    pub no_new_privs: bool,
    /// Mounts of the machine in the view `host` and in `cow` mounts, and how
    /// each is shown.
    pub mounts: Vec<ShownMount>,
    /// Paths that are hidden where they exist.
    pub masked_paths: Vec<String>,
    /// Paths that are read-only where they exist.
    pub readonly_paths: Vec<String>,
    /// Version, directories and limits of the cgroup, read back from the
    /// kernel.
    pub cgroup: serde_json::Value,
    /// Keys of the spec that are not in force, because `best_effort` names them
    /// and this machine cannot enforce them.
    pub left_out: Vec<LeftOut>,
    /// The caller's own text.
    pub labels: BTreeMap<String, String>,
    /// Words and files of the image that were dropped or changed, and why; a
    /// sentence for each.
    pub notes: Vec<String>,
}

impl Effective {
    pub(super) fn of(
        instance: &Instance,
        store: &Store,
        spec: &Spec,
        rootfs: &Rootfs,
    ) -> Result<Self> {
        let ids = &instance.spawner().ids;
        let own_users =
            ids.ordinary() || matches!(spec.namespaces.user, UserNamespace::Maps { .. });
        let namespaces = [
            (true, "mnt"),
            (true, "pid"),
            (own_users, "user"),
            (spec.namespaces.uts, "uts"),
            (spec.namespaces.ipc, "ipc"),
            (spec.network != Network::Host, "net"),
            (spec.namespaces.cgroup, "cgroup"),
        ];
        let text = |paths: Vec<std::path::PathBuf>| {
            paths.iter().map(|p| p.display().to_string()).collect()
        };
        let cgroup = serde_json::to_value(instance.cgroup().effective()?)
            .map_err(|e| Error::new(crate::Kind::Broken, Step::DescribeCgroup, e))?;
        Ok(Self {
            name: instance.name().to_owned(),
            hostname: instance.setup.hostname.clone(),
            storage: instance.setup.backend.into(),
            unique_inodes: unique_inodes(instance, store, spec, &rootfs.lower),
            namespaces: namespaces
                .iter()
                .filter(|(on, _)| *on)
                .map(|(_, name)| (*name).into())
                .collect(),
            ids: match ids {
                Ids::Host => "host",
                Ids::Single => "single",
                Ids::Many { .. } => "subordinate",
            }
            .into(),
            capabilities: instance.setup.caps.names(),
            seccomp: instance.setup.seccomp,
            no_new_privs: spec.security.no_new_privs(),
            mounts: instance.setup.shown.iter().map(ShownMount::new).collect(),
            masked_paths: text(mounts::masked(spec)),
            readonly_paths: text(mounts::read_only(spec)),
            cgroup,
            left_out: instance.left_out(),
            labels: spec.labels.clone(),
            notes: rootfs.notes().to_vec(),
        })
    }
}

/// Reads the mount table of process 1, because the kernel may ignore `xino=on`.
fn unique_inodes(instance: &Instance, store: &Store, spec: &Spec, lower: &Lower) -> Option<bool> {
    let init = pidfd::number(instance.pidfd.as_fd())?;
    let table = std::fs::read(format!("/proc/{init}/mountinfo")).ok()?;
    let writes = store.images().scratch_dir();
    let on_one = spec.write == Write::Disk && lower.is_on_device_of(&writes);
    are_unique(&table, on_one)
}

fn options(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b',')
}

/// Returns whether all overlays of a sandbox in a table of mounts have unique
/// inode numbers, those with all layers `on_one` file system anyway.
fn are_unique(table: &[u8], on_one: bool) -> Option<bool> {
    // Layers of the machine's own overlays have absolute paths; those of a
    // sandbox lie in its stage.
    let is_relative = |option: &[u8]| {
        let path = option.strip_prefix(b"upperdir=");
        path.is_some_and(|path| !path.starts_with(b"/"))
    };
    let all = of_type(table, "overlay").map(|(_, text)| text);
    let mut overlays = all.filter(|text| options(text).any(is_relative)).peekable();
    overlays.peek()?;
    Some(overlays.all(|text| on_one || options(text).any(|option| option == b"xino=on")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unique_inodes_are_told_by_the_table() {
        let with = "21 1 0:47 / / rw - overlay overlay rw,upperdir=1u,xino=on\n";
        let without = "22 1 0:48 / /mnt rw - overlay overlay rw,upperdir=2u,xino=off\n";
        let machines = "23 1 0:49 / /var rw - overlay overlay rw,upperdir=/u\n";
        for (lines, [of_many, on_one]) in [
            (&[with][..], [Some(true); 2]),
            (&[with, machines], [Some(true); 2]),
            (&[without], [Some(false), Some(true)]),
            (&[with, without], [Some(false), Some(true)]),
            // Of other back ends.
            (&[machines], [None; 2]),
            (&[], [None; 2]),
        ] {
            let table = lines.concat();
            assert_eq!(are_unique(table.as_bytes(), false), of_many, "{table}");
            assert_eq!(are_unique(table.as_bytes(), true), on_one, "{table}");
        }
    }
}
