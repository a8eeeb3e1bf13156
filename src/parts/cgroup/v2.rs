// SPDX-License-Identifier: MIT OR Apache-2.0
//! Limits in the words of cgroup v2, and the search for a place where they can
//! be had.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::{fs, io};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};

use super::layout::Hierarchy;
use super::limit::{self, Limit, Refusal, Setting, check_cpu_list};
use super::weight;
use crate::sys::user;

/// The period of `cpu.max`, in microseconds.
const PERIOD: f64 = 100_000.0;

/// The file and value of `limit` in a cgroup right below `parent`, kernel doc
/// `admin-guide/cgroup-v2.rst`.
///
/// # Errors
/// When this machine would take the value without effect.
pub(super) fn settings(
    limit: &Limit<'_>,
    hierarchy: &Hierarchy,
    parent: &Path,
) -> Result<Vec<Setting>, Refusal> {
    let (file, value) = match *limit {
        Limit::Memory(bytes) => ("memory.max", bytes.to_string()),
        Limit::Swap { swap, .. } => ("memory.swap.max", swap.to_string()),
        Limit::Cpus(cpus) => ("cpu.max", format!("{:.0} {PERIOD}", cpus * PERIOD)),
        Limit::CpuWeight(weight) => ("cpu.weight", weight.to_string()),
        Limit::Cpuset(list) => {
            let available = limit::read(&parent.join("cpuset.cpus.effective"))?;
            check_cpu_list(list, &available)?;
            ("cpuset.cpus", list.to_owned())
        }
        Limit::Pids(count) => ("pids.max", count.to_string()),
        Limit::Io(share) => return Ok(vec![weight::v2(share, hierarchy)?]),
    };
    Ok(vec![Setting { file, value }])
}

/// The nearest cgroup, from the own upwards, that allows children with all of
/// `controllers`.
///
/// Only the own cgroup and its ancestors qualify: the kernel lets an ordinary
/// user start a process in a cgroup only if the common ancestor of both is
/// writable too. A cgroup whose children have the controllers already is
/// preferred.
///
/// # Errors
/// When there is none, with the nearest candidate's reason.
pub(super) fn find_parent(hierarchy: &Hierarchy, controllers: &[&str]) -> Result<PathBuf, Refusal> {
    let in_sight = |dir: &&Path| dir.starts_with(&hierarchy.mount);
    let mut candidates = Vec::new();
    let mut denied = Errno::EACCES;
    for dir in hierarchy.own.ancestors().take_while(in_sight) {
        match may_hold_children(dir) {
            Ok(()) if lists(dir, "cgroup.subtree_control", controllers) => {
                return Ok(dir.to_path_buf());
            }
            Ok(()) => candidates.push(dir),
            Err(errno) => denied = errno,
        }
    }
    let mut refused = None;
    for dir in &candidates {
        if !lists(dir, "cgroup.controllers", controllers) {
            continue;
        }
        match enable(dir, controllers) {
            Ok(()) => return Ok(dir.to_path_buf()),
            Err(errno) => refused = refused.or(Some((dir, errno))),
        }
    }
    Err(match refused {
        Some((dir, errno)) => refuse_enable(dir, controllers, errno),
        None if candidates.is_empty() => refuse_place(hierarchy, denied),
        None => refuse_delegation(candidates[0], controllers),
    })
}

/// Returns whether all of `controllers` are in a file that lists some.
fn lists(dir: &Path, file: &str, controllers: &[&str]) -> bool {
    // Unreadable is the same as absent: the next candidate is tried.
    let read = || fs::read_to_string(dir.join(file)).unwrap_or_default();
    controllers.is_empty() || {
        let text = read();
        let mut wanted = controllers.iter();
        wanted.all(|c| text.split_ascii_whitespace().any(|t| t == *c))
    }
}

/// Returns whether this process may make a cgroup in `dir` and start processes
/// below.
fn may_hold_children(dir: &Path) -> nix::Result<()> {
    let may = |path: &Path, how| faccessat(AT_FDCWD, path, how, AtFlags::AT_EACCESS);
    may(dir, AccessFlags::W_OK | AccessFlags::X_OK)?;
    may(&dir.join("cgroup.procs"), AccessFlags::W_OK)?;
    match fs::read_to_string(dir.join("cgroup.type")) {
        // The children of a threaded cgroup take threads of the cgroup's own
        // processes only.
        Ok(kind) if kind != "domain\n" => Err(Errno::EOPNOTSUPP),
        // The root has no such file.
        _ => Ok(()),
    }
}

/// Gives the children of `dir` these controllers. They stay on, because others
/// may need them later.
fn enable(dir: &Path, controllers: &[&str]) -> nix::Result<()> {
    let errno = |e: io::Error| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO));
    // The kernel itself refuses memory and io in a cgroup with processes. With
    // pids, cpu and cpuset it would turn the cgroup into a threaded one, whose
    // children take no process at all.
    let has_processes = || fs::read(dir.join("cgroup.procs")).is_ok_and(|list| !list.is_empty());
    if dir.join("cgroup.type").exists() && has_processes() {
        return Err(Errno::EBUSY);
    }
    let words: Vec<_> = controllers.iter().map(|c| format!("+{c}")).collect();
    fs::write(dir.join("cgroup.subtree_control"), words.join(" ")).map_err(errno)
}

const DELEGATE: &str = "systemd-run --user --scope -p Delegate=yes PROGRAM, or run as root";

/// EBUSY: a cgroup with processes cannot give controllers to its children.
fn refuse_enable(dir: &Path, controllers: &[&str], errno: Errno) -> Refusal {
    let why = format!("turn on {} below {}", controllers.join(" "), dir.display());
    match errno {
        Errno::EBUSY => Refusal::os(
            why,
            errno,
            format!(
                "run this program one level down: mkdir {0}/host; echo PID > {0}/host/cgroup.procs",
                dir.display()
            ),
        ),
        _ => Refusal::os(why, errno, DELEGATE),
    }
}

pub(super) fn refuse_place(hierarchy: &Hierarchy, errno: Errno) -> Refusal {
    let why = format!("make a cgroup in {} or above", hierarchy.own.display());
    let cure = match errno {
        Errno::EROFS => format!("mount -o remount,bind,rw {}", hierarchy.mount.display()),
        _ => DELEGATE.to_owned(),
    };
    Refusal::os(why, errno, cure)
}

fn refuse_delegation(dir: &Path, controllers: &[&str]) -> Refusal {
    let names = controllers.join(" ");
    let why = format!("{} was not given the controllers {names}", dir.display());
    let cure = match user::is_machine_root() {
        true => format!(
            "as root of the machine, for each DIR above this cgroup from the top: \
             echo +{} >DIR/cgroup.subtree_control",
            controllers.join(" +")
        ),
        false => {
            format!("Delegate={names} in the [Service] section of systemctl edit user@.service")
        }
    };
    Refusal::new(why, cure)
}
