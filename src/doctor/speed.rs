// SPDX-License-Identifier: MIT OR Apache-2.0
//! Settings that make starts slower or faster; the library never changes them.
#![forbid(unsafe_code)]

use super::{Check, setting};
use crate::sys::mountinfo::{self, Mount};

pub(super) fn checks() -> Vec<Check> {
    let mut checks = vec![jit(), rcu()];
    checks.extend(favordynmods());
    checks
}

fn jit() -> Check {
    let value = setting("/proc/sys/net/core/bpf_jit_enable");
    // Some machines hide the file from ordinary users; without the file the
    // kernel decides.
    let off = value.as_deref() == Some("0");
    Check::speed("bpf jit", !off)
        .found(match (off, value) {
            (true, _) => "off: system call filters are interpreted",
            (false, Some(_)) => "on",
            (false, None) => "cannot be read",
        })
        .cure("sysctl net.core.bpf_jit_enable=1")
}

/// Checks RCU: unmounting and the end of namespaces wait for grace periods.
fn rcu() -> Check {
    let on = |path| setting(path).is_some_and(|value| value != "0");
    let expedited = on("/sys/kernel/rcu_expedited");
    let normal = on("/sys/kernel/rcu_normal");
    // Only a kernel with slow RCU by choice is a finding, because expedited
    // grace periods disturb other processes.
    Check::speed("rcu", !normal)
        .found(match (normal, expedited) {
            (true, _) => "rcu_normal: every unmount waits for tens of milliseconds",
            (false, true) => "expedited",
            (false, false) => "default",
        })
        .cure("echo 0 > /sys/kernel/rcu_normal")
}

/// Checks favordynmods. Without it, moving a process between cgroups stalls
/// every fork(2) on the machine. Sandboxes start inside their cgroups and do
/// not move, but clone3(2) takes the same lock.
fn favordynmods() -> Option<Check> {
    let table = mountinfo::read().ok()?;
    let (line, options) = mountinfo::of_type(&table, "cgroup2").next()?;
    let on = options.split(|b| *b == b',').any(|o| o == b"favordynmods");
    let mount = Mount::parse(line)?;
    let point = mount.point.display();
    Some(
        Check::speed("cgroup favordynmods", on)
            .found(if on {
                "on"
            } else {
                "off: slower starts while others fork"
            })
            .cure(format!("mount -o remount,favordynmods {point}")),
    )
}
