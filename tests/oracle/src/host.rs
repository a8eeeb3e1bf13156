// SPDX-License-Identifier: MIT OR Apache-2.0
//! The machine and this process before and after: whatever a library could leave behind.

mod kernel;
mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What is looked at, each a list of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Area {
    /// This thread's mountinfo without the mount ids.
    Mounts,
    /// Cgroup directories of ours; every directory in a wide snapshot.
    Cgroups,
    /// Descendants of this process, zombies included, and orphans of the
    /// library: those whose host is this process, or gone.
    Processes,
    /// Network namespaces that those processes, or this one, are in.
    NetworkNamespaces,
    /// This process's descriptors with what they show and their flags.
    Descriptors,
    /// Threads that this process did not have before.
    Threads,
    /// `/proc/keys`: type and description, without what counts down.
    Keyrings,
    /// Everything below the directories that were named.
    Directories,
    /// Loop devices that have a backing file.
    LoopDevices,
    /// System settings, `core_pattern` and the host name among them, and what
    /// `/dev/null` and its like are.
    Sysctls,
    /// What the contract with the host process says we never touch: working
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

/// Threads that ever called [`Host::exclusive`]: the test harness's, which
/// starts the next one as soon as a test ends.
static HARNESS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Lines with how often each was seen.
type Lines = BTreeMap<String, usize>;

/// The machine and this process at one moment.
///
/// Other tests of the same process change its descriptors and children: take
/// [`Host::exclusive`] first, in every test of that binary that uses the
/// library. What another process makes with the library does not show, unless
/// the snapshot is wide: a spawner says by its pidfd whose it is. Where nobody
/// can say it any more, what comes and goes is not held against a test, only
/// what stays.
#[derive(Debug, Clone)]
pub struct Host {
    areas: BTreeMap<Area, Lines>,
    threads: BTreeMap<i32, String>,
    directories: Vec<PathBuf>,
    wide: bool,
}

impl Host {
    /// Held while a test looks at this process; other tests wait. Take it
    /// before anything is opened.
    ///
    /// As root the calling thread moves into a mount namespace of its own, shared
    /// with what it starts: others mount and unmount elsewhere.
    ///
    /// # Panics
    /// When root may not make a mount namespace.
    pub fn exclusive() -> MutexGuard<'static, ()> {
        static ALONE: Mutex<()> = Mutex::new(());
        harness().insert(nix::unistd::gettid().as_raw());
        // A test that failed under the lock says nothing about the next one.
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        if nix::unistd::geteuid().is_root() {
            kernel::part_from_mounts().expect("make a mount namespace");
        }
        alone
    }

    /// The machine as it is now.
    pub fn snapshot() -> Self {
        Self::take(&[], false)
    }

    /// The same, and everything that is below `directories`, such as a store's scratch.
    pub fn snapshot_with(directories: &[&Path]) -> Self {
        Self::take(directories, false)
    }

    /// Every process, cgroup and network namespace of the machine, for a soak
    /// that has the machine to itself.
    pub fn snapshot_wide(directories: &[&Path]) -> Self {
        Self::take(directories, true)
    }

    fn take(directories: &[&Path], wide: bool) -> Self {
        let directories: Vec<PathBuf> = directories.iter().map(|d| (*d).to_owned()).collect();
        // First of all: looking opens descriptors too.
        let descriptors = process::descriptors();
        let processes = process::Table::read();
        let seen = processes.of_interest(wide);
        let below = directories.iter().flat_map(|dir| below(dir));
        let areas = [
            (Area::Mounts, count(kernel::mounts())),
            (Area::Cgroups, count(kernel::cgroups(&processes, wide))),
            (
                Area::Processes,
                count(seen.iter().map(|p| processes.line(p))),
            ),
            (Area::NetworkNamespaces, count(process::namespaces(&seen))),
            (Area::Descriptors, count(descriptors)),
            (Area::Keyrings, count(kernel::keys(wide))),
            (Area::Directories, count(below)),
            (Area::LoopDevices, count(kernel::loop_devices())),
            (Area::Sysctls, count(kernel::sysctls())),
            (Area::Contract, count(process::contract())),
        ];
        Self {
            areas: areas.into(),
            threads: process::threads(),
            directories,
            wide,
        }
    }

    /// Another snapshot that looks at the same things.
    #[must_use]
    pub fn again(&self) -> Self {
        let directories: Vec<&Path> = self.directories.iter().map(PathBuf::as_path).collect();
        Self::take(&directories, self.wide)
    }

    /// The lines of one area, for tests that look for a particular one.
    pub fn lines(&self, area: Area) -> impl Iterator<Item = &str> {
        self.areas
            .get(&area)
            .into_iter()
            .flat_map(|lines| lines.keys().map(String::as_str))
    }

    /// What is in `after` and not here (`+`), or here and not there (`-`). Of
    /// what may be somebody else's, only the first.
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
                // The kernel collects keys that nobody uses when it likes.
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

    /// Waits until the machine is as it was: teardown is not on the caller's path.
    ///
    /// # Panics
    /// When it still differs after `within`, listing the differences.
    #[track_caller]
    pub fn assert_unchanged(&self, within: Duration) {
        let left = self.settle(within);
        assert!(
            left.is_empty(),
            "not as before, {within:?} later:\n{}",
            left.join("\n")
        );
    }

    /// What still differs after at most `within`; empty as soon as nothing does.
    pub fn settle(&self, within: Duration) -> Vec<String> {
        let deadline = Instant::now() + within;
        let mut lasting: Option<Vec<String>> = None;
        loop {
            let mut left = self.diff(&self.again());
            left.retain(|line| {
                let mine = !Self::SHARED.iter().any(|start| line.starts_with(start));
                let lasts = lasting.as_ref().is_none_or(|all| all.contains(line));
                self.wide || mine || lasts
            });
            if left.is_empty() || Instant::now() >= deadline {
                return left;
            }
            lasting = Some(left);
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// How lines of a difference begin that another process may have caused.
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
        !self.wide && Self::SHARED.iter().any(|shared| start.starts_with(shared))
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

/// Every path below `dir`. What vanishes during the walk is not there.
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
