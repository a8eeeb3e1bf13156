// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kernel parameters of the sandbox's own namespaces: the two of the network
//! that Docker's default changes, `ip-sysctl.rst` of the kernel's
//! documentation, and those that the spec asks for.
#![forbid(unsafe_code)]

use std::ffi::CString;
use std::path::Path;
use std::sync::LazyLock;

use crate::ops::{Ops, Slot};
use crate::parts::idmap::Ids;
use crate::spec::{IdMap, Network, Spec, UserNamespace, sysctl_path};
use crate::wire::Op;

/// True if this kernel has IPv4, and so both parameters.
static IPV4: LazyLock<bool> =
    LazyLock::new(|| Path::new("/proc/sys/net/ipv4/ip_unprivileged_port_start").exists());

/// The largest id that `ping_group_range` takes.
const LAST: u32 = i32::MAX as u32;

/// Lets every group ping without a capability, and every user listen on every
/// port. The settings of a network that others use are theirs.
pub(crate) fn network(ops: &mut Ops, proc: Slot, spec: &Spec, ids: &Ids) {
    if spec.network != Network::None {
        return;
    }
    let (first, last) = groups(spec, ids);
    let range = format!("{first} {last}");
    if *IPV4 {
        set(ops, proc, "net/ipv4/ping_group_range", &range);
        set(ops, proc, "net/ipv4/ip_unprivileged_port_start", "0");
    }
}

/// Sets the parameters of the spec, above the defaults.
pub(crate) fn of_spec(ops: &mut Ops, proc: Slot, spec: &Spec) {
    for (name, value) in &spec.sysctls {
        set(ops, proc, &sysctl_path(name), value);
    }
}

fn set(ops: &mut Ops, proc: Slot, path: &str, value: &str) {
    ops.push(Op::SetSysctl {
        proc: proc.number(),
        path: &CString::new(format!("sys/{path}")).expect("the spec was checked"),
        value: value.as_bytes(),
    });
}

/// The first and the last group id inside: the kernel refuses an unmapped id.
fn groups(spec: &Spec, ids: &Ids) -> (u32, u32) {
    let ends = |map: &[IdMap]| {
        let first = map.iter().map(|line| line.inside).min().unwrap_or(0);
        // The kernel judges the ids of the caller's own map.
        let end = |line: &IdMap| line.inside.saturating_add(line.count.saturating_sub(1));
        let last = map.iter().map(end).max();
        (first.min(LAST), last.unwrap_or(0).min(LAST))
    };
    match (&spec.namespaces.user, ids) {
        (UserNamespace::Maps { gids, .. }, _) => ends(gids),
        (_, Ids::Host) => (0, LAST),
        (_, Ids::Single) => (0, 0),
        (_, Ids::Many { gids, .. }) => ends(gids),
    }
}
