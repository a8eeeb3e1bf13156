// SPDX-License-Identifier: MIT OR Apache-2.0
//! The files of a sandbox that hold names: host name, hosts, resolvers.
#![forbid(unsafe_code)]

use std::ffi::CStr;

use crate::ops::{Ops, Slot};
use crate::spec::{ExtraHost, Network, Spec};
use crate::wire::{MAKE_FILE, NOT_IN_KERNEL_FS, OR_SKIP, Op, SAME_MOUNT};

/// Docker's lines of `/etc/hosts` below that of `localhost`, moby's
/// libnetwork/etchosts.
const HOSTS_IPV6: &str = "::1\tlocalhost ip6-localhost ip6-loopback\n\
                          fe00::\tip6-localnet\n\
                          ff00::\tip6-mcastprefix\n\
                          ff02::1\tip6-allnodes\n\
                          ff02::2\tip6-allrouters\n";

/// `/etc/hostname`, `/etc/hosts` and `/etc/resolv.conf`, bound over the image's
/// own as other engines do. An image with an unusable `/etc` (a directory
/// there, a link to a device) goes without.
pub(crate) fn files(ops: &mut Ops, root: Slot, stage: Slot, spec: &Spec, hostname: &str) {
    let own = spec.network == Network::None;
    let of_host = |path: &str| std::fs::read(path).unwrap_or_default();
    let hosts = || format!("127.0.0.1\tlocalhost {hostname}\n{HOSTS_IPV6}").into_bytes();
    let files = [
        (
            c"hostname",
            c"etc/hostname",
            format!("{hostname}\n").into_bytes(),
        ),
        (
            c"hosts",
            c"etc/hosts",
            with_extra(
                match own {
                    true => hosts(),
                    false => with_own(of_host("/etc/hosts"), hostname),
                },
                spec,
            ),
        ),
        (
            c"resolv.conf",
            c"etc/resolv.conf",
            if own {
                Vec::new()
            } else {
                of_host("/etc/resolv.conf")
            },
        ),
    ];
    for (name, target, bytes) in files {
        // Requested lines are never left out.
        let optional = match name == c"hosts" && !spec.extra_hosts.is_empty() {
            true => 0,
            false => OR_SKIP,
        };
        bind(
            ops,
            [stage, root],
            name,
            target,
            &bytes,
            SAME_MOUNT | optional,
        );
    }
}

/// Binds a new file of the stage over a file of the root.
fn bind(
    ops: &mut Ops,
    [stage, root]: [Slot; 2],
    name: &CStr,
    target: &CStr,
    bytes: &[u8],
    flags: u32,
) {
    ops.push(Op::MakeFile {
        root: stage.number(),
        path: name,
        mode: 0o644,
        bytes,
    });
    let slot = ops.slot();
    ops.push(Op::CloneTree {
        into: slot.number(),
        base: stage.number() as i32,
        path: name,
        flags: 0,
    });
    ops.attach(slot, root, target, MAKE_FILE | flags);
    ops.close(slot);
}

/// Adds a line for each of `extra_hosts`.
fn with_extra(mut hosts: Vec<u8>, spec: &Spec) -> Vec<u8> {
    for ExtraHost { name, address } in &spec.extra_hosts {
        hosts.extend_from_slice(format!("{address}\t{name}\n").as_bytes());
    }
    hosts
}

/// Text of hosts(5) with a line for a sandbox's name.
fn with_own(mut hosts: Vec<u8>, hostname: &str) -> Vec<u8> {
    if hosts.last().is_some_and(|last| *last != b'\n') {
        hosts.push(b'\n');
    }
    hosts.extend_from_slice(format!("127.0.0.1\t{hostname}\n").as_bytes());
    hosts
}

/// Adds the sandbox's own name to `/etc/hosts` of the host's view, in the
/// copy-on-write tree, because a mount would be another device. Requested lines
/// need a mount, because the tree may have no such file.
pub(crate) fn own(ops: &mut Ops, root: Slot, stage: Slot, spec: &Spec, hostname: &str) {
    if !spec.extra_hosts.is_empty() {
        let hosts = std::fs::read("/etc/hosts").unwrap_or_default();
        let bytes = with_extra(with_own(hosts, hostname), spec);
        // An ordinary user's view is of several mounts.
        let flags = NOT_IN_KERNEL_FS;
        return bind(ops, [stage, root], c"hosts", c"etc/hosts", &bytes, flags);
    }
    ops.push(Op::AddLine {
        root: root.number(),
        path: c"etc/hosts",
        stage: stage.number(),
        // The file may lack the last newline.
        line: format!("\n127.0.0.1\t{hostname}\n").as_bytes(),
    });
}
