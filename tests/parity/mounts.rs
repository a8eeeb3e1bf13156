// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mounts inside, and the paths that they hide: proc_pid_mountinfo(5).

use std::fs;

use tare::Sandbox;

use crate::seen::{Facts, applet, shell};

/// One line of mountinfo.
#[derive(Debug)]
pub(crate) struct Mount {
    /// The part of the file system that is shown.
    root: String,
    pub(crate) target: String,
    pub(crate) kind: String,
    pub(crate) flags: String,
    /// Size, mode and group among the options of the file system.
    options: String,
    propagates: bool,
}

impl Mount {
    /// Returns whether it shows a part of a file system, such as one file.
    pub(crate) fn is_bind(&self) -> bool {
        self.root != "/"
    }

    fn is_in(&self, dir: &str) -> bool {
        self.target.starts_with(dir) && self.target != dir.trim_end_matches('/')
    }
}

/// A group among a file system's options, which the kernel shows as the host
/// numbers it.
fn as_inside(option: &str, gid_map: &str) -> String {
    let Some(gid) = option.strip_prefix("gid=").and_then(|g| g.parse().ok()) else {
        return option.into();
    };
    let of_line = |line: &str| {
        let numbers = line.split_whitespace().map(str::parse::<u64>);
        let [inside, outside, count] = numbers.collect::<Result<Vec<_>, _>>().ok()?[..] else {
            return None;
        };
        let has = (outside..outside + count).contains(&gid);
        has.then(|| format!("gid={}", gid - outside + inside))
    };
    gid_map
        .lines()
        .find_map(of_line)
        .unwrap_or_else(|| option.into())
}

/// Reads the lines of `/proc/self/mountinfo`; other lines are left out.
/// `gid_map` is that of the sandbox.
pub(crate) fn read(text: &str, gid_map: &str) -> Vec<Mount> {
    let mut mounts = Vec::new();
    for line in text.lines() {
        let Some((left, right)) = line.trim_end().split_once(" - ") else {
            continue;
        };
        let left: Vec<&str> = left.split(' ').collect();
        let [kind, _, options] = right.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let names = ["size=", "mode=", "ptmxmode=", "gid="];
        let shown = |o: &String| names.iter().any(|name| o.starts_with(name)) && o != "gid=0";
        let options = options.split(',').map(|o| as_inside(o, gid_map));
        let mut options: Vec<String> = options.filter(shown).collect();
        options.sort_unstable();
        mounts.push(Mount {
            root: left[3].into(),
            target: left[4].into(),
            kind: kind.into(),
            flags: left[5].into(),
            options: options.join(","),
            propagates: left.len() > 6,
        });
    }
    mounts
}

/// Every mount of the sandbox.
pub(crate) fn inside(sandbox: &Sandbox) -> Vec<Mount> {
    let map = applet(sandbox, "cat /proc/self/gid_map");
    read(&applet(sandbox, "cat /proc/self/mountinfo"), &map)
}

/// Mounts except devices and masks.
pub(crate) fn facts(sandbox: &Sandbox, mounts: &[Mount], facts: &mut Facts) {
    let effective = sandbox.effective().expect("what is in force");
    let protects = |path: &String| {
        effective.masked_paths.contains(path) || effective.readonly_paths.contains(path)
    };
    for mount in mounts {
        let Mount {
            target,
            kind,
            flags,
            options,
            ..
        } = mount;
        if mount.propagates {
            facts.insert(format!("propagation from the host to {target}"));
        }
        let device = mount.is_in("/dev/") && mount.is_bind();
        let protects = protects(target);
        if !device && !protects && mount.is_bind() {
            // The options are of the file system that it is a part of.
            facts.insert(format!("mount {target} bind {flags}"));
        } else if !device && !protects {
            let fact = format!("mount {target} {kind} {flags} {options}");
            facts.insert(fact.trim_end().into());
        }
    }
}

/// Hidden and read-only paths. A path that this kernel lacks counts as hidden
/// when the sandbox would hide it.
pub(crate) fn hidden(sandbox: &Sandbox, mounts: &[Mount], facts: &mut Facts) {
    let effective = sandbox.effective().expect("what is in force");
    let at = |path: &str| mounts.iter().rfind(|m| m.target == path);
    let missing =
        |path: &str| !shell(sandbox, &format!("test -e {path} || echo missing")).is_empty();
    let mut throttled = 0;
    for path in &effective.masked_paths {
        let Some(mount) = at(path) else {
            if missing(path) {
                facts.insert(format!("masked {path}"));
            }
            continue;
        };
        let numbers = applet(sandbox, &format!("stat -c %F|%t:%T {path}"));
        if numbers.trim() == "character special file|1:3" {
            facts.insert("a masked file is a null device".into());
        } else if numbers.starts_with("directory|")
            && applet(sandbox, &format!("ls -A {path}")).is_empty()
        {
            let (kind, flags) = (&mount.kind, &mount.flags);
            facts.insert(format!("a masked directory is an empty {kind} {flags}"));
        } else {
            facts.insert(format!("a mask of {numbers}"));
        }
        if path.ends_with("/thermal_throttle") {
            throttled += 1;
        } else {
            facts.insert(format!("masked {path}"));
        }
    }
    if throttled == throttles() {
        facts.insert("masked /sys/devices/system/cpu/cpuN/thermal_throttle".into());
    }
    for path in &effective.readonly_paths {
        match at(path) {
            Some(mount) => {
                facts.insert(format!("read-only {path}"));
                facts.insert(format!("a read-only path is {}", mount.flags));
            }
            None if missing(path) => drop(facts.insert(format!("read-only {path}"))),
            None => {}
        }
    }
}

/// The number of processors of this machine with such a directory.
fn throttles() -> usize {
    let all = fs::read_dir("/sys/devices/system/cpu").expect("processors");
    all.flatten()
        .filter(|cpu| cpu.path().join("thermal_throttle").exists())
        .count()
}
