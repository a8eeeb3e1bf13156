// SPDX-License-Identifier: MIT OR Apache-2.0
//! Says which limit keeps this process from having more processes or namespaces, and what raises it.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::geteuid;

/// As many as a shell may be told to allow where it has far less.
const MANY: u64 = 4096;
/// What distributions give each user of a kind of namespace, or more.
const NAMESPACES: u64 = 15_000;

/// The cure for EAGAIN of clone(2): a cgroup is full, or the user's limit is
/// met. The commands are for the shell that the program is started from.
pub(super) fn more_processes() -> String {
    if let Some(file) = full_cgroup() {
        return format!("as root: echo max >{}", file.display());
    }
    let (soft, hard) = getrlimit(Resource::RLIMIT_NPROC).unwrap_or((MANY, MANY));
    let more = soft.saturating_mul(2).max(MANY);
    let sudo = if geteuid().is_root() { "" } else { "sudo " };
    match soft < hard {
        true => format!("a higher limit of processes: ulimit -u {}", more.min(hard)),
        false => format!("a higher limit of processes: {sudo}prlimit --pid $$ --nproc={more}"),
    }
}

/// `pids.max` of the nearest cgroup of this process that has as many as it may.
fn full_cgroup() -> Option<PathBuf> {
    let cgroups = fs::read_to_string("/proc/self/cgroup").ok()?;
    cgroups
        .lines()
        .find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
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
    let number = |file| -> Option<u64> {
        let text = fs::read_to_string(dir.join(file)).ok()?;
        text.trim().parse().ok()
    };
    // The helper's own start takes two, which have ended when this is read.
    let full = |max: u64, current: u64| current.saturating_add(2) >= max;
    number("pids.max")
        .zip(number("pids.current"))
        .is_some_and(|(max, current)| full(max, current))
}

/// The cure for ENOSPC of clone(2): more of each kind of namespace that has the
/// lowest limit, namespaces(7).
pub(super) fn more_namespaces() -> String {
    const KINDS: [&str; 6] = ["user", "mnt", "pid", "net", "uts", "ipc"];
    let limits = KINDS.map(|kind| {
        let text = fs::read_to_string(format!("/proc/sys/user/max_{kind}_namespaces"));
        text.ok().and_then(|text| text.trim().parse::<u64>().ok())
    });
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

/// The cure where a setting of the kernel keeps ordinary users from having user
/// namespaces; none if none of those that are known does.
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
