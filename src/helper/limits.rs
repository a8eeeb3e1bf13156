// SPDX-License-Identifier: MIT OR Apache-2.0
//! Names the limit that keeps this process from more processes or namespaces,
//! and its cure.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::geteuid;

/// A limit of processes that is enough for most hosts.
const MANY: u64 = 4096;
/// The limit of namespaces that distributions give each user, or more.
const NAMESPACES: u64 = 15_000;

/// Returns the cure for EAGAIN of clone(2): a cgroup is full, or the user's
/// limit is met. The commands are for the shell that starts the program.
pub(super) fn more_processes() -> String {
    if let Some(file) = full_cgroup() {
        return format!("as root: echo max >{}", file.display());
    }
    let (soft, hard) = getrlimit(Resource::RLIMIT_NPROC).unwrap_or((MANY, MANY));
    // Twice as many, because all processes of the user count, and the user may
    // start others meanwhile.
    let more = soft.saturating_mul(2).max(MANY);
    let sudo = if geteuid().is_root() { "" } else { "sudo " };
    match soft < hard {
        true => format!("a higher limit of processes: ulimit -u {}", more.min(hard)),
        false => format!("a higher limit of processes: {sudo}prlimit --pid $$ --nproc={more}"),
    }
}

/// Returns `pids.max` of the nearest full cgroup of this process.
fn full_cgroup() -> Option<PathBuf> {
    let cgroups = fs::read_to_string("/proc/self/cgroup").ok()?;
    cgroups
        .lines()
        .find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            // Of v1 only the hierarchy of pids limits processes.
            let mount = match controllers {
                "" => "/sys/fs/cgroup",
                _ if controllers.split(',').any(|c| c == "pids") => "/sys/fs/cgroup/pids",
                _ => return None,
            };
            let own = Path::new(mount).join(path.trim_start_matches('/'));
            let above = own.ancestors().take_while(|dir| dir.starts_with(mount));
            above.map(Path::to_path_buf).find(|dir| is_full(dir))
        })
        .map(|dir| dir.join("pids.max"))
}

fn is_full(dir: &Path) -> bool {
    let pids = number(&dir.join("pids.max")).zip(number(&dir.join("pids.current")));
    // A start takes two more processes, which have ended when this is read.
    pids.is_some_and(|(max, current)| current.saturating_add(2) >= max)
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// Returns the cure for ENOSPC of clone(2): a higher limit for each kind of
/// namespace that has the lowest, namespaces(7).
pub(super) fn more_namespaces() -> String {
    const KINDS: [&str; 6] = ["user", "mnt", "pid", "net", "uts", "ipc"];
    let limit = |kind| number(format!("/proc/sys/user/max_{kind}_namespaces").as_ref());
    let limits = KINDS.map(limit);
    let lowest = limits.into_iter().flatten().min().unwrap_or(0);
    let more = lowest.saturating_mul(2).max(NAMESPACES);
    let low = KINDS
        .iter()
        .zip(limits)
        .filter(|(_, limit)| limit.is_none_or(|l| l == lowest));
    let settings: Vec<String> = low
        .map(|(kind, _)| format!("user.max_{kind}_namespaces={more}"))
        .collect();
    format!("as root: sysctl {}", settings.join(" "))
}

/// Returns the cure where a known setting of the kernel refuses ordinary users
/// user namespaces.
pub(super) fn switched_off() -> Option<String> {
    const SWITCHES: [(&str, &str); 2] = [
        ("unprivileged_userns_clone", "1"),
        ("apparmor_restrict_unprivileged_userns", "0"),
    ];
    let wrong = SWITCHES.iter().filter(|(name, allows)| {
        let now = fs::read_to_string(format!("/proc/sys/kernel/{name}"));
        now.is_ok_and(|now| now.trim() != *allows)
    });
    let settings: Vec<String> = wrong
        .map(|(name, allows)| format!("kernel.{name}={allows}"))
        .collect();
    (!settings.is_empty()).then(|| format!("as root: sysctl {}", settings.join(" ")))
}
