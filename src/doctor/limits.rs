// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks each limit by making a cgroup with it.
#![forbid(unsafe_code)]

use super::Check;
use crate::error::Result;
use crate::parts::cgroup::{Cgroup, Layout, Owner, mount_v2};
use crate::spec::{ByteSize, Limits};

pub(super) fn checks() -> Vec<Check> {
    let layout = match Layout::detect() {
        Ok(layout) => layout,
        Err(error) => return vec![Check::optional("cgroups", false).tried(Err::<(), _>(error))],
    };
    let version = layout.version();
    let mut checks = vec![
        Check::optional("cgroups", version != "none")
            .found(version)
            .cure(mount_v2()),
    ];
    if version != "none" {
        checks.push(kill(&layout));
        checks.extend(limits(&layout));
    }
    checks
}

fn limits(layout: &Layout) -> Vec<Check> {
    let small = || Some(ByteSize::new(64 << 20));
    let none = Limits::default;
    let tried = [
        (
            "limits.memory",
            Limits {
                memory: small(),
                ..none()
            },
        ),
        (
            "limits.swap",
            Limits {
                memory: small(),
                swap: small(),
                ..none()
            },
        ),
        (
            "limits.cpus",
            Limits {
                cpus: Some(1.0),
                ..none()
            },
        ),
        (
            "limits.cpu_weight",
            Limits {
                cpu_weight: Some(100),
                ..none()
            },
        ),
        (
            "limits.cpuset",
            Limits {
                cpuset: Some("0".into()),
                ..none()
            },
        ),
        (
            "limits.pids",
            Limits {
                pids: Some(100),
                ..none()
            },
        ),
        (
            "limits.io",
            Limits {
                io: Some(100),
                ..none()
            },
        ),
    ];
    tried
        .into_iter()
        .map(|(key, limits)| {
            Check::optional(key, true)
                .found("can be enforced")
                .tried(make(layout, &limits).and_then(|cgroup| cgroup.remove()))
        })
        .collect()
}

/// Makes a cgroup with a name that `Store::recover` removes.
fn make(layout: &Layout, limits: &Limits) -> Result<Cgroup> {
    let id = format!("{}-0", Owner::current()?);
    Cgroup::create(layout, &id, limits, &[], None)
}

/// Checks `cgroup.kill`, which ends all processes of a cgroup at once.
fn kill(layout: &Layout) -> Check {
    let made = make(layout, &Limits::default());
    let paths = made.as_ref().map(Cgroup::paths).unwrap_or_default();
    let there = paths.iter().any(|path| path.join("cgroup.kill").exists());
    let delegated = !paths.is_empty();
    let check = Check::optional("cgroup.kill", there)
        .found(match (there, delegated) {
            (true, _) => "kills a sandbox at once",
            (false, true) => "not there; processes are frozen and killed one by one",
            (false, false) => {
                "no cgroup of one's own; the end of the sandbox's process 1 kills all"
            }
        })
        .cure(match delegated {
            true => "Linux 5.14 or newer, with cgroup v2 mounted",
            false => "run tare under systemd-run --user --scope -p Delegate=yes",
        });
    if let Ok(cgroup) = &made {
        // Empty, so that only a foreign process could keep it; `recover` would
        // retry.
        let _ = cgroup.remove();
    }
    check
}
