// SPDX-License-Identifier: MIT OR Apache-2.0
//! The observed machine: mounts, cgroups, keys, loop devices, settings.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::process::Table;

/// Settings that a sandbox with too much power would change first.
const SYSCTLS: [&str; 24] = [
    "fs/binfmt_misc/status",
    "fs/file-max",
    "fs/mount-max",
    "fs/protected_symlinks",
    "fs/suid_dumpable",
    "kernel/cap_last_cap",
    "kernel/core_pattern",
    "kernel/core_pipe_limit",
    "kernel/domainname",
    "kernel/hostname",
    "kernel/io_uring_disabled",
    "kernel/keys/maxkeys",
    "kernel/kptr_restrict",
    "kernel/modprobe",
    "kernel/panic",
    "kernel/pid_max",
    "kernel/randomize_va_space",
    "kernel/shmmax",
    "kernel/sysrq",
    "net/ipv4/ip_forward",
    "user/max_net_namespaces",
    "user/max_user_namespaces",
    "vm/drop_caches",
    "vm/overcommit_memory",
];

/// Devices that everybody relies on, and that are replaced all too easily by
/// root.
const DEVICES: [&str; 8] = [
    "console", "full", "null", "ptmx", "random", "tty", "urandom", "zero",
];

/// The settings, and the numbers of the device nodes.
pub(super) fn sysctls() -> Vec<String> {
    let devices = DEVICES.iter().filter_map(|name| {
        let path = Path::new("/dev").join(name);
        let found = fs::symlink_metadata(&path).ok()?;
        let (mode, device) = (found.mode(), found.rdev());
        Some(format!("{} {mode:o} {device:x}", path.display()))
    });
    SYSCTLS
        .iter()
        .filter_map(|name| {
            let value = fs::read_to_string(Path::new("/proc/sys").join(name)).ok()?;
            Some(format!("{name} = {}", value.trim()))
        })
        .chain(devices)
        .collect()
}

/// A mount namespace for this thread, with shared mounts as on the machine: a
/// mount made with too little care would still show here.
pub(super) fn part_from_mounts() -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    for propagation in [MsFlags::MS_PRIVATE, MsFlags::MS_SHARED] {
        let flags = propagation | MsFlags::MS_REC;
        mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)?;
    }
    Ok(())
}

/// mountinfo, proc(5), without the two reused ids at the front.
pub(super) fn mounts() -> Vec<String> {
    fs::read_to_string("/proc/thread-self/mountinfo")
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.splitn(3, ' ').nth(2).map(str::to_owned))
        .collect()
}

/// Returns whether a mount is gone because its directory is: others unmounted
/// it in their mount namespace and removed the directory there, which detaches
/// it in every other namespace, mount_namespaces(7). `line` is a line of
/// [`mounts`].
pub(super) fn is_detached(line: &str) -> bool {
    let point = line.split(' ').nth(2).unwrap_or_default();
    // Escapes stand for characters that no directory of a test has.
    !point.contains('\\') && fs::symlink_metadata(point).is_err()
}

/// Directories named `tare*` and their contents, except those of other users,
/// and those that carry the number of another living process, or hold a
/// process.
pub(super) fn cgroups(processes: &Table) -> Vec<String> {
    let mut found = Vec::new();
    collect(Path::new("/sys/fs/cgroup"), false, processes, &mut found);
    found
}

fn collect(dir: &Path, ours: bool, processes: &Table, found: &mut Vec<String>) {
    for path in directories(dir) {
        let named = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("tare"));
        if ours || named {
            if !is_foreign(&path, processes) {
                found.push(path.display().to_string());
                collect(&path, true, processes, found);
            }
        } else {
            collect(&path, false, processes, found);
        }
    }
}

/// Returns whether another's living process is in `dir` or below. An empty
/// group, or a group with a process of this test, may be a leftover.
fn is_foreign(dir: &Path, processes: &Table) -> bool {
    let own = nix::unistd::geteuid().as_raw();
    if fs::metadata(dir).is_ok_and(|found| found.uid() != own) {
        return true;
    }
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let host = name.split(['-', '.']).find_map(|part| part.parse().ok());
    if host.is_some_and(|pid| processes.is_foreign(pid)) {
        return true;
    }
    let listed = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    listed
        .lines()
        .filter_map(|pid| pid.parse().ok())
        .any(|pid| processes.is_foreign(pid))
        || directories(dir).iter().any(|d| is_foreign(d, processes))
}

fn directories(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|t| t.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// `/proc/keys`, proc(5): serial, type and description; without the columns
/// that count references and seconds, and the summary behind the colon. A
/// session's keyring lives as long as its processes, so processes tell enough.
pub(super) fn keys() -> Vec<String> {
    fs::read_to_string("/proc/keys")
        .unwrap_or_default()
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (serial, rest) = (fields.first()?, fields.get(7..)?.join(" "));
            let name = rest.split(':').next()?.to_owned();
            Some(format!("{serial} {name}"))
        })
        .filter(|line| !line.ends_with(" keyring _ses"))
        .collect()
}

/// Loop devices that show a file.
pub(super) fn loop_devices() -> Vec<String> {
    directories_or_links(Path::new("/sys/block"))
        .iter()
        .filter_map(|path| {
            let file = fs::read_to_string(path.join("loop/backing_file")).ok()?;
            Some(format!("{} {}", path.display(), file.trim()))
        })
        .collect()
}

fn directories_or_links(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect()
}
