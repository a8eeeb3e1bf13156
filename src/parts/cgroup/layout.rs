// SPDX-License-Identifier: MIT OR Apache-2.0
//! The cgroup hierarchies of this machine: the controllers in each, and the
//! place of this process in each.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result, Step};
use crate::sys::mountinfo::{self, Mounts, of_type};

/// The cgroup hierarchies that this process can see, cgroups(7).
///
/// Read once and kept by the caller: reading costs about 0.1 ms, and a machine
/// does not change its layout while it runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Layout {
    /// The v1 hierarchies, named ones (`name=systemd`) left out. A second mount
    /// with the same controllers is dropped.
    v1: Vec<Hierarchy>,
    /// The v2 hierarchy, which may have no controllers at all (hybrid).
    v2: Option<Hierarchy>,
}

/// A mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    /// The controllers that can be used in it, as the kernel names them.
    pub(crate) controllers: Vec<String>,
    /// The mount point.
    pub(crate) mount: PathBuf,
    /// The directory of the cgroup this process is in; `mount` where that is
    /// out of sight.
    pub(crate) own: PathBuf,
}

/// The hierarchy of a controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Home {
    /// In the v1 hierarchy of this index, see [`Layout::v1`].
    V1(usize),
    /// In the v2 hierarchy.
    V2,
    /// Nowhere.
    Absent,
}

impl Layout {
    /// Reads `/proc/self/mountinfo` and `/proc/self/cgroup`. A machine without
    /// any cgroup mount is a valid, empty layout.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub(crate) fn detect() -> Result<Self> {
        let read = |path: &str| {
            fs::read_to_string(path).map_err(|e| Error::io(Step::ReadCgroups, path, e))
        };
        let mut layout = Self::parse(&read(mountinfo::OWN)?, &read("/proc/self/cgroup")?);
        if let Some(v2) = &mut layout.v2 {
            // What the top offers is the most that any cgroup below can have.
            // Unreadable is the same as none: limits are then refused, never
            // silently dropped.
            let text = fs::read_to_string(v2.mount.join("cgroup.controllers")).unwrap_or_default();
            v2.controllers = text.split_ascii_whitespace().map(str::to_owned).collect();
        }
        Ok(layout)
    }

    /// The layout that these two texts show, proc_pid_mountinfo(5) and
    /// cgroups(7); the controllers of v2 are not in them and stay empty. A
    /// hierarchy that another mount covers cannot be reached by its path.
    pub(crate) fn parse(mountinfo: &str, membership: &str) -> Self {
        let mut layout = Self::default();
        let text = mountinfo.as_bytes();
        let table = Mounts::parse(text);
        let is_seen = |mount: &Mount| {
            table
                .showing(&mount.point)
                .is_some_and(|m| m.id == mount.id)
        };
        let all = |kind| of_type(text, kind).filter_map(move |row| Mount::parse(row, kind));
        for mount in all("cgroup").chain(all("cgroup2")).filter(is_seen) {
            let Some(membership) = membership.lines().find_map(|l| mount.matches(l)) else {
                continue;
            };
            let hierarchy = Hierarchy {
                own: mount.directory(membership),
                controllers: mount.controllers,
                mount: mount.point,
            };
            if mount.v2 {
                // The first mount whose cgroup we can see; later ones are views
                // for others.
                layout.v2.get_or_insert(hierarchy);
            } else if !layout
                .v1
                .iter()
                .any(|h| h.controllers == hierarchy.controllers)
            {
                layout.v1.push(hierarchy);
            }
        }
        layout
    }

    /// The v1 hierarchies.
    pub(crate) fn v1(&self) -> &[Hierarchy] {
        &self.v1
    }

    /// The v2 hierarchy, if it is mounted.
    pub(crate) fn v2(&self) -> Option<&Hierarchy> {
        self.v2.as_ref()
    }

    /// Every directory in which a sandbox's cgroup may be made.
    pub(crate) fn parents(&self) -> Vec<&Path> {
        let v1 = self.v1.iter().map(|hierarchy| hierarchy.own.as_path());
        let v2 = self.v2.iter().flat_map(|hierarchy| {
            let in_sight = |dir: &&Path| dir.starts_with(&hierarchy.mount);
            hierarchy.own.ancestors().take_while(in_sight)
        });
        v1.chain(v2).collect()
    }

    /// Finds a controller, which is never in v1 and v2 at once.
    pub(crate) fn home(&self, controller: &str) -> Home {
        let holds = |h: &Hierarchy| h.controllers.iter().any(|c| c == controller);
        match self.v1.iter().position(holds) {
            Some(index) => Home::V1(index),
            None if self.v2.as_ref().is_some_and(holds) => Home::V2,
            None => Home::Absent,
        }
    }

    /// As if `dir` of v2 were our own cgroup, and the only one in sight.
    #[cfg(test)]
    pub(super) fn confine(&mut self, dir: &Path) {
        if let Some(v2) = &mut self.v2 {
            (v2.own, v2.mount) = (dir.to_path_buf(), dir.to_path_buf());
        }
    }

    /// `v1`, `v2`, `hybrid` (limits in v1, kill and freeze in v2) or `none`.
    pub(crate) fn version(&self) -> &'static str {
        match (&self.v2, self.v1.is_empty()) {
            (Some(_), true) => "v2",
            (Some(_), false) => "hybrid",
            (None, false) => "v1",
            (None, true) => "none",
        }
    }
}

/// A cgroup line of mountinfo.
struct Mount {
    id: u64,
    v2: bool,
    /// The directory of the hierarchy that is mounted: `/` but in containers.
    root: PathBuf,
    point: PathBuf,
    controllers: Vec<String>,
}

impl Mount {
    fn parse((line, options): (&[u8], &[u8]), kind: &str) -> Option<Self> {
        let v2 = kind == "cgroup2";
        let mount = mountinfo::Mount::parse(line)?;
        const NOT_CONTROLLERS: [&str; 7] = [
            "rw",
            "ro",
            "noprefix",
            "clone_children",
            "xattr",
            "none",
            "cpuset_v2_mode",
        ];
        let controllers = match v2 {
            true => Vec::new(),
            false => str::from_utf8(options)
                .ok()?
                .split(',')
                .filter(|o| !o.contains('=') && !NOT_CONTROLLERS.contains(o))
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        };
        (v2 || !controllers.is_empty()).then_some(Self {
            id: mount.id,
            v2,
            root: mount.root,
            point: mount.point,
            controllers,
        })
    }

    /// The path in a line of `/proc/self/cgroup`, if the line is about this
    /// hierarchy.
    fn matches<'a>(&self, line: &'a str) -> Option<&'a str> {
        let mut fields = line.splitn(3, ':');
        let number = fields.next()?;
        let names = fields.next()?;
        let path = fields.next()?;
        let same = match self.v2 {
            true => number == "0" && names.is_empty(),
            false => names
                .split(',')
                .any(|n| self.controllers.iter().any(|c| c == n)),
        };
        same.then_some(path)
    }

    /// The directory that shows the cgroup `path`. A path above the mount's
    /// root, or above the cgroup namespace's (`/..`), cannot be seen here: the
    /// mount itself is the nearest.
    fn directory(&self, path: &str) -> PathBuf {
        let below = Path::new(path).strip_prefix(&self.root);
        match below {
            Ok(rest) if !path.contains("/..") => {
                self.point.components().chain(rest.components()).collect()
            }
            _ => self.point.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:4 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/uni\\040fied rw,relatime - cgroup2 cgroup2 rw,nsdelegate
";

    #[test]
    fn layout_hybrid_finds_each_controller() {
        let layout = Layout::parse(
            HYBRID,
            "4:memory:/job/7\n2:cpu,cpuacct:/\n1:name=systemd:/\n0::/user.slice/a b\n",
        );
        assert_eq!(layout.version(), "hybrid");
        assert_eq!(layout.home("cpuacct"), Home::V1(0));
        assert_eq!(layout.home("pids"), Home::Absent);
        let Home::V1(memory) = layout.home("memory") else {
            panic!("memory is in v1")
        };
        assert_eq!(
            layout.v1()[memory].own,
            Path::new("/sys/fs/cgroup/memory/job/7")
        );
        assert_eq!(
            layout.v2().unwrap().own,
            Path::new("/sys/fs/cgroup/uni fied/user.slice/a b")
        );
    }

    #[test]
    fn layout_in_container_strips_the_mounts_root() {
        let info = "30 29 0:26 /docker/c1 /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        let own = |membership| Layout::parse(info, membership).v2().unwrap().own.clone();
        assert_eq!(own("0::/docker/c1"), Path::new("/sys/fs/cgroup"));
        assert_eq!(own("0::/docker/c1/x"), Path::new("/sys/fs/cgroup/x"));
        // Out of sight: another container's, or above the namespace's root.
        assert_eq!(own("0::/docker/c12"), Path::new("/sys/fs/cgroup"));
        assert_eq!(own("0::/../../x"), Path::new("/sys/fs/cgroup"));
    }

    #[test]
    fn layout_leaves_out_what_is_covered() {
        let membership = "4:memory:/\n2:cpu,cpuacct:/\n0::/\n";
        let memory = "90 35 0:50 / /sys/fs/cgroup/memory rw - tmpfs none rw\n";
        let layout = Layout::parse(&format!("{HYBRID}{memory}"), membership);
        assert_eq!(layout.home("memory"), Home::Absent);
        assert_eq!(layout.home("cpu"), Home::V1(0));
        let all = "90 31 0:50 / /sys/fs/cgroup rw - tmpfs none rw\n";
        let layout = Layout::parse(&format!("{HYBRID}{all}"), membership);
        assert_eq!(layout, Layout::default());
        // A mount on top of all is seen again.
        let again = "91 90 0:38 / /sys/fs/cgroup rw - cgroup2 none rw\n";
        let layout = Layout::parse(&format!("{HYBRID}{all}{again}"), membership);
        assert_eq!(layout.version(), "v2");
        assert_eq!(layout.v2().unwrap().own, Path::new("/sys/fs/cgroup"));
    }

    #[test]
    fn layout_of_nothing_is_none() {
        assert_eq!(Layout::parse("", "").version(), "none");
        assert_eq!(
            Layout::parse("a - cgroup2\n1 - \\", "0::").version(),
            "none"
        );
    }
}
