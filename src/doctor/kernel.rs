// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks the kernel: version, system calls, namespaces, the helper, and file
//! systems by mounting.
#![forbid(unsafe_code)]

use nix::errno::Errno;
use nix::sys::utsname::uname;

use super::{Check, setting};
use crate::error::Error;
use crate::helper::Spawner;
use crate::ops::Ops;
use crate::parts::mounts::options;
use crate::sys::probe;
use crate::wire::{ListBuf, Op};

const NEWNS: u64 = 0x0002_0000;
const NEWCGROUP: u32 = 0x0200_0000;

pub(super) fn release() -> String {
    let names = uname().map(|names| names.release().to_string_lossy().into_owned());
    names.unwrap_or_default()
}

pub(super) fn version() -> Check {
    let release = release();
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|n| n.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    Check::needed("kernel", version >= (5, 10))
        .found(release)
        .cure("Linux 5.10 or newer")
}

/// Returns the checks. Attempts go through the helper, as sandboxes do.
pub(super) fn checks(started: &Result<Spawner, Error>) -> Vec<Check> {
    let mut checks = vec![helper(started), seccomp()];
    checks.extend(calls());
    if let Ok(spawner) = started {
        checks.extend(namespaces(spawner));
        checks.extend(mounts(spawner));
    }
    checks
}

/// Checks the helper: a sealed program in memory, and an ordinary user's user
/// namespace.
fn helper(started: &Result<Spawner, Error>) -> Check {
    let check = Check::needed("helper", started.is_ok());
    match started {
        Ok(_) => check.found("starts from a sealed memfd"),
        Err(error) => check.failed(error),
    }
}

fn seccomp() -> Check {
    let actions = setting("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    // A procfs with processes only (`subset=pid`) has no settings.
    let status = setting("/proc/thread-self/status").unwrap_or_default();
    let has_filters = status.lines().any(|line| line.starts_with("Seccomp:"));
    let ok = match actions.is_empty() {
        true => has_filters,
        false => actions.split(' ').any(|a| a == "errno"),
    };
    Check::needed("seccomp", ok)
        .found(match (actions.is_empty(), ok) {
            (true, true) => "the kernel has filters".to_owned(),
            (true, false) => "the kernel has no filters".to_owned(),
            (false, _) => actions,
        })
        .cure("a kernel with CONFIG_SECCOMP_FILTER=y")
}

/// Checks system calls that an outer container may hide, or that are newer than
/// the kernel.
fn calls() -> Vec<Check> {
    let needed = [
        ("openat2", libc::SYS_openat2),
        ("pidfd_open", libc::SYS_pidfd_open),
        ("memfd_create", libc::SYS_memfd_create),
    ];
    let optional = [
        ("clone3", libc::SYS_clone3),
        ("close_range", libc::SYS_close_range),
        ("mount_setattr", libc::SYS_mount_setattr),
    ];
    let found = |call| match probe::refused(call) {
        None => (true, "known".to_owned()),
        Some(errno) => (false, format!("{errno:?} ({})", errno.desc())),
    };
    let made = needed.map(|(name, call)| {
        let (ok, said) = found(call);
        Check::needed(name, ok)
            .found(said)
            .cure("a kernel, or an outer container, that allows it")
    });
    let more = optional.map(|(name, call)| {
        let (ok, said) = found(call);
        Check::optional(name, ok)
            .found(if ok {
                said
            } else {
                format!("{said}; an older call serves")
            })
            .cure("Linux 5.12 or newer, or an outer container that allows it")
    });
    made.into_iter().chain(more).collect()
}

fn namespaces(spawner: &Spawner) -> Vec<Check> {
    let nothing = Ops::default();
    let kinds = [
        ("mnt", NEWNS),
        ("pid", 0x2000_0000),
        ("net", 0x4000_0000),
        ("uts", 0x0400_0000),
        ("ipc", 0x0800_0000),
    ];
    let mut checks: Vec<Check> = kinds
        .into_iter()
        .map(|(name, flag)| {
            Check::needed(format!("namespace {name}"), true)
                .found("can be made")
                .tried(spawner.job(&nothing, flag, &[]))
        })
        .collect();
    let mut cgroup = Ops::default();
    cgroup.push(Op::Unshare { flags: NEWCGROUP });
    checks.push(
        Check::needed("namespace cgroup", true)
            .found("can be made")
            .tried(spawner.job(&cgroup, 0, &[])),
    );
    if !spawner.ids.ordinary() {
        checks.push(
            Check::optional("namespace user", true)
                .found("can be made")
                .tried(spawner.job(&nothing, 0x1000_0000, &[])),
        );
    }
    checks
}

/// Checks file systems by mounting them in a private namespace.
fn mounts(spawner: &Spawner) -> Vec<Check> {
    let ordinary = spawner.ids.ordinary();
    let mut tmpfs = Ops::default();
    tmpfs.push(Op::MakePrivate {});
    let stage = tmpfs.new_fs(c"tmpfs", &ListBuf::default(), 0);
    tmpfs.push(Op::AttachRoot {
        from: stage.number(),
    });
    let mut overlay = Ops::default();
    overlay.push(Op::MakePrivate {});
    let stage = overlay.new_fs(c"tmpfs", &ListBuf::default(), 0);
    overlay.push(Op::AttachRoot {
        from: stage.number(),
    });
    let lowers = [c"/usr"].into_iter().collect();
    crate::parts::mounts::overlay(
        &mut overlay,
        stage,
        "probe",
        lowers,
        0,
        crate::parts::mounts::overlay_flags(ordinary),
    );
    let kind = if ordinary { "userxattr" } else { "root" };
    let cure = match ordinary {
        true => "Linux 5.11 or newer and modprobe overlay; or --storage copy",
        false => "modprobe overlay; or --storage copy",
    };
    let tried = Check::needed("tmpfs", true)
        .found("can be mounted, by descriptor")
        .tried(spawner.job(&tmpfs, NEWNS, &[]));
    let mut over = Check::optional("overlay", true)
        .found(format!("can be mounted ({kind})"))
        .tried(spawner.job(&overlay, NEWNS, &[]));
    if over.cure.is_none() {
        over = over.cure(cure);
    }
    vec![tried, over, many_layers(spawner, ordinary)]
}

/// Checks for layers as separate mount options; otherwise all options share a
/// page.
fn many_layers(spawner: &Spawner, ordinary: bool) -> Check {
    let mut list = options([c"lowerdir+", c"/usr", c"lowerdir+", c"/etc"]);
    if ordinary {
        list.push(c"userxattr");
        list.push(c"");
    }
    let mut ops = Ops::default();
    ops.new_fs(c"overlay", &list, 0);
    let outcome = spawner.job(&ops, NEWNS, &[]);
    let unknown = matches!(&outcome, Err(e) if e.errno() == Some(Errno::EINVAL as i32));
    let check = Check::optional("overlay lowerdir+", outcome.is_ok());
    if unknown {
        return check
            .found("not known; short links stand for the layers")
            .cure("Linux 6.8 or newer");
    }
    check
        .found("layers are options of their own")
        .tried(outcome)
}
