// SPDX-License-Identifier: MIT OR Apache-2.0
//! The machine and this process before and after: all traces that a library
//! could leave behind.

mod kernel;
mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The observed areas, each a list of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Area {
    /// This thread's mountinfo without the mount ids.
    Mounts,
    /// Cgroup directories of the library.
    Cgroups,
    /// Descendants of this process, zombies included, and orphans of the
    /// library: those of this host, or of an ended host.
    Processes,
    /// Network namespaces of those processes and of this process.
    NetworkNamespaces,
    /// This process's descriptors with their targets and flags.
    Descriptors,
    /// Threads that this process did not have before.
    Threads,
    /// `/proc/keys`: type and description, without countdowns.
    Keyrings,
    /// Everything below the directories that were named.
    Directories,
    /// Loop devices that have a backing file.
    LoopDevices,
    /// System settings, `core_pattern` and the host name among them, and the
    /// numbers of `/dev/null` and its like.
    Sysctls,
    /// State that the contract with the host process protects: working
    /// directory, umask, environment, signals, limits, ids, namespaces.
    Contract,
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mounts => "mount",
            Self::Cgroups => "cgroup",
            Self::Processes => "process",
            Self::NetworkNamespaces => "network namespace",
            Self::Descriptors => "descriptor",
            Self::Threads => "thread",
            Self::Keyrings => "key",
            Self::Directories => "directory",
            Self::LoopDevices => "loop device",
            Self::Sysctls => "sysctl",
            Self::Contract => "host process",
        })
    }
}

/// Threads that ever called [`Host::exclusive`], because the test harness
/// starts the next test at once.
static HARNESS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Lines with how often each was seen.
type Lines = BTreeMap<String, usize>;

/// The machine and this process at a moment.
///
/// Other tests of the same process change its descriptors and children: take
/// [`Host::exclusive`] first, in every test of that binary that uses the
/// library. Traces of another process with the library do not show: a spawner's
/// pidfd names its host. For traces without a known owner, only those that stay
/// count against a test.
#[derive(Debug, Clone)]
pub struct Host {
    areas: BTreeMap<Area, Lines>,
    threads: BTreeMap<i32, String>,
    directories: Vec<PathBuf>,
}

impl Host {
    /// Held while a test examines this process; other tests wait. Take the lock
    /// before anything is opened.
    ///
    /// As root the calling thread moves into a mount namespace shared with its
    /// children, because others mount and unmount elsewhere.
    ///
    /// # Panics
    /// When root may not make a mount namespace.
    pub fn exclusive() -> MutexGuard<'static, ()> {
        static ALONE: Mutex<()> = Mutex::new(());
        harness().insert(nix::unistd::gettid().as_raw());
        // A test that failed under the lock tells nothing about the next test.
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        if nix::unistd::geteuid().is_root() {
            kernel::part_from_mounts().expect("make a mount namespace");
        }
        alone
    }

    /// Takes a snapshot of the machine.
    pub fn snapshot() -> Self {
        Self::snapshot_with(&[])
    }

    /// The same, and everything that is below `directories`, such as a store's
    /// scratch.
    pub fn snapshot_with(directories: &[&Path]) -> Self {
        let directories: Vec<PathBuf> = directories.iter().map(|d| (*d).to_owned()).collect();
        let _quiet = crate::needs::no_probes();
        // First of all: looking opens descriptors too.
        let descriptors = process::descriptors();
        let processes = process::Table::read();
        let seen = processes.of_interest();
        let below = directories.iter().flat_map(|dir| below(dir));
        let areas = [
            (Area::Mounts, count(kernel::mounts())),
            (Area::Cgroups, count(kernel::cgroups(&processes))),
            (
                Area::Processes,
                count(seen.iter().map(|p| processes.line(p))),
            ),
            (Area::NetworkNamespaces, count(process::namespaces(&seen))),
            (Area::Descriptors, count(descriptors)),
            (Area::Keyrings, count(kernel::keys())),
            (Area::Directories, count(below)),
            (Area::LoopDevices, count(kernel::loop_devices())),
            (Area::Sysctls, count(kernel::sysctls())),
            (Area::Contract, count(process::contract())),
        ];
        Self {
            areas: areas.into(),
            threads: process::threads(),
            directories,
        }
    }

    /// Another snapshot that looks at the same things.
    #[must_use]
    pub fn again(&self) -> Self {
        let directories: Vec<&Path> = self.directories.iter().map(PathBuf::as_path).collect();
        Self::snapshot_with(&directories)
    }

    /// Lines in `after` and not here (`+`), or here and not there (`-`). Lines
    /// that may be of others count only as the first kind.
    pub fn diff(&self, after: &Self) -> Vec<String> {
        let mut found = Vec::new();
        for (area, before) in &self.areas {
            let now = &after.areas[area];
            for (line, times) in now {
                for _ in before.get(line).copied().unwrap_or(0)..*times {
                    found.push(format!("+ {area}: {line}"));
                }
            }
            if *area == Area::Keyrings {
                // The kernel collects unused keys at its leisure.
                continue;
            }
            for (line, times) in before {
                let is_foreign = match *area {
                    Area::Mounts => kernel::is_detached(line),
                    _ => self.may_be_foreign(*area, line),
                };
                if is_foreign {
                    continue;
                }
                for _ in now.get(line).copied().unwrap_or(0)..*times {
                    found.push(format!("- {area}: {line}"));
                }
            }
        }
        // The test harness itself ends threads; a library can only add some.
        let harness = harness();
        for (tid, name) in &after.threads {
            if !self.threads.contains_key(tid) && !harness.contains(tid) {
                found.push(format!("+ {}: {tid} {name}", Area::Threads));
            }
        }
        found
    }

    /// Waits until the machine is unchanged, because teardown is not on the
    /// caller's path.
    ///
    /// # Panics
    /// When the machine still differs after `within`, listing the differences.
    #[track_caller]
    pub fn assert_unchanged(&self, within: Duration) {
        let left = self.settle(within);
        assert!(
            left.is_empty(),
            "not as before, {within:?} later:\n{}",
            left.join("\n")
        );
    }

    /// The differences after at most `within`; empty as soon as there are none.
    pub fn settle(&self, within: Duration) -> Vec<String> {
        let deadline = Instant::now() + within;
        let mut lasting: Option<Vec<String>> = None;
        loop {
            let mut left = self.diff(&self.again());
            left.retain(|line| {
                let mine = !Self::SHARED.iter().any(|start| line.starts_with(start));
                let lasts = lasting.as_ref().is_none_or(|all| all.contains(line));
                mine || lasts
            });
            if left.is_empty() || Instant::now() >= deadline {
                return left;
            }
            lasting = Some(left);
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Beginnings of lines of a difference that another process may have
    /// caused.
    const SHARED: [&str; 7] = [
        "+ mount: ",
        "- mount: ",
        "+ cgroup: ",
        "+ process: orphan ",
        "+ network namespace: ",
        "+ key: ",
        "+ loop device: ",
    ];

    fn may_be_foreign(&self, area: Area, line: &str) -> bool {
        let start = format!("+ {area}: {line}");
        Self::SHARED.iter().any(|shared| start.starts_with(shared))
    }
}

fn harness() -> MutexGuard<'static, BTreeSet<i32>> {
    HARNESS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn count(lines: impl IntoIterator<Item = String>) -> Lines {
    let mut counted = Lines::new();
    for line in lines {
        *counted.entry(line).or_default() += 1;
    }
    counted
}

/// Every path below `dir`. Files that vanish during the walk are left out.
fn below(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        found.push(format!("{path:?}"));
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            found.extend(below(&path));
        }
    }
    found
}
