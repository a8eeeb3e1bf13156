// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls that no stage may make, in any golden file: each costs more than a
//! whole start.
#![forbid(unsafe_code)]

use crate::trace::{Call, Who};

/// The reason against this call, if any.
pub(crate) fn reason(call: &Call) -> Option<&'static str> {
    let (name, rest) = (call.name.as_str(), call.rest.as_str());
    let opens = name.starts_with("open");
    let makes = ["clone", "clone3", "fork"].contains(&name);
    if call.who == Who::Host && makes && !rest.contains("CLONE_VM") {
        return Some("copies the page tables of the host");
    }
    if opens && (rest.contains("/mountinfo\"") || rest.contains("/mounts\"")) {
        return Some("reads as much as the host has mounts");
    }
    if ["fsync", "fdatasync", "sync", "sync_file_range"].contains(&name) {
        return Some("waits for the disk");
    }
    if name == "write" && call.who != Who::Command && is_pid_of_another(rest) {
        return Some("moves another process between cgroups, which waits for a grace period");
    }
    None
}

/// A pid as cgroup.procs takes it: a number alone, except the "0" for the
/// writer. Limits end in a newline or are written under other names.
fn is_pid_of_another(rest: &str) -> bool {
    let text = rest.split('"').nth(1).unwrap_or_default();
    let path = rest.split('"').next().unwrap_or_default();
    path.contains("cgroup.procs>") && text != "0"
}

#[test]
fn forbidden_calls_are_told_from_others() {
    let call = |who, name: &str, rest: &str| Call {
        who,
        stage: None,
        name: name.to_owned(),
        rest: rest.to_owned(),
    };
    for (who, name, rest) in [
        (
            Who::Host,
            "clone3",
            "{flags=0, exit_signal=SIGCHLD}, 88) = 7",
        ),
        (Who::Host, "fork", ") = 7"),
        (
            Who::Init,
            "openat",
            "3, \"/proc/self/mountinfo\", O_RDONLY) = 4",
        ),
        (Who::Host, "openat2", "3, \"1/mountinfo\", {}, 24) = 4"),
        (Who::Host, "fsync", "3) = 0"),
        (
            Who::Spawner,
            "write",
            "5</sys/fs/cgroup/x/cgroup.procs>, \"123\", 3) = 3",
        ),
    ] {
        assert!(reason(&call(who, name, rest)).is_some(), "{name}({rest}");
    }
    for (who, name, rest) in [
        (Who::Host, "clone3", "{flags=CLONE_VM|CLONE_VFORK}, 88) = 7"),
        (Who::Init, "clone", "child_stack=NULL, flags=SIGCHLD) = 2"),
        (Who::Host, "syncfs", "3) = 0"),
        (
            Who::Spawner,
            "write",
            "5</sys/fs/cgroup/x/cgroup.procs>, \"0\", 1) = 1",
        ),
        (
            Who::Spawner,
            "write",
            "5</sys/fs/cgroup/x/pids.max>, \"50\", 2) = 2",
        ),
    ] {
        assert!(reason(&call(who, name, rest)).is_none(), "{name}({rest}");
    }
}
