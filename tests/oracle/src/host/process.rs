// SPDX-License-Identifier: MIT OR Apache-2.0
//! The observed processes: this process, its descendants, and orphans of the
//! library.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// A process as proc(5) shows it.
#[derive(Debug, Clone)]
pub(super) struct Process {
    pid: u32,
    parent: u32,
    /// The real user. Files of an untraceable process would belong to root.
    uid: Option<u32>,
    comm: String,
    state: String,
    exe: String,
    network: String,
}

impl Process {
    fn read(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (head, tail) = stat.rsplit_once(')')?;
        let mut fields = tail.split_whitespace();
        let link = |name: &str| {
            fs::read_link(format!("/proc/{pid}/{name}"))
                .map_or(String::new(), |p| p.to_string_lossy().into_owned())
        };
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let uids = status.lines().find_map(|l| l.strip_prefix("Uid:"));
        let uid = uids.and_then(|ids| ids.split_whitespace().next()?.parse().ok());
        Some(Self {
            pid,
            uid,
            comm: head.split_once('(')?.1.to_owned(),
            state: fields.next()?.to_owned(),
            parent: fields.next()?.parse().ok()?,
            exe: link("exe"),
            network: link("ns/net"),
        })
    }

    /// The helper is a sealed memfd, hidden from ordinary users, and has these
    /// names.
    fn is_ours(&self) -> bool {
        let named = ["tare-spawner", "tare-init"].contains(&&*self.comm);
        named || self.exe.starts_with("/memfd:tare-init")
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pid, self.comm)?;
        if self.state == "Z" {
            write!(f, " (zombie of {})", self.parent)?;
        }
        Ok(())
    }
}

/// The owner of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// Descends from this process.
    Child,
    /// Belongs to the library, of this host or of a host that is gone.
    Orphan,
    /// Another's.
    Foreign,
}

/// Every process of the machine.
pub(super) struct Table(BTreeMap<u32, Process>);

impl Table {
    pub(super) fn read() -> Self {
        let pids = fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        Self(
            pids.filter_map(|pid| Some((pid, Process::read(pid)?)))
                .collect(),
        )
    }

    /// Descendants of this process and orphans of the library.
    pub(super) fn of_interest(&self) -> Vec<&Process> {
        self.0
            .values()
            .filter(|p| self.whose(p.pid) != Whose::Foreign)
            // Dead, and left to the adopter of orphans, which reaps at its
            // leisure.
            .filter(|p| p.state != "Z" || p.parent != reaper())
            .collect()
    }

    /// The line of a process in a list.
    pub(super) fn line(&self, process: &Process) -> String {
        match self.whose(process.pid) {
            Whose::Orphan => format!("orphan {process}"),
            _ => process.to_string(),
        }
    }

    fn whose(&self, pid: u32) -> Whose {
        let mut at = pid;
        let mut ours = false;
        while let Some(process) = self.0.get(&at) {
            if process.parent == std::process::id() {
                return Whose::Child;
            }
            ours |= process.is_ours();
            if process.parent == reaper() || process.parent == 0 {
                // Dead and adopted, waiting for process 1 alone. An ordinary
                // user sees the owner of a helper, but not its host.
                let own = nix::unistd::geteuid();
                // In a user namespace, other users' processes have no uid 0.
                let mine = crate::needs::root().is_ok() || process.uid == Some(own.as_raw());
                let counts = ours && mine && process.state != "Z";
                return match counts && !self.has_other_host(at) {
                    true => Whose::Orphan,
                    false => Whose::Foreign,
                };
            }
            at = process.parent;
        }
        // The chain broke during the read, because a process died. Look again
        // later.
        match ours {
            true => Whose::Orphan,
            false => Whose::Foreign,
        }
    }

    /// Returns whether a living process outside of this test holds the spawner
    /// `pid`: the spawner watches its host by a pidfd.
    fn has_other_host(&self, pid: u32) -> bool {
        let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fdinfo")) else {
            return false;
        };
        entries
            .filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok())
            .filter_map(|info| {
                let number = info.lines().find_map(|l| l.strip_prefix("Pid:"))?;
                number.trim().parse().ok()
            })
            .any(|host: u32| self.is_other_host(host))
    }

    fn is_other_host(&self, host: u32) -> bool {
        host != std::process::id()
            && self.0.get(&host).is_some_and(|p| !p.is_ours())
            && self.whose(host) == Whose::Foreign
    }

    /// Returns whether `pid` is alive and unrelated.
    pub(super) fn is_foreign(&self, pid: u32) -> bool {
        let known = self.0.contains_key(&pid) && pid != std::process::id();
        known && self.whose(pid) == Whose::Foreign
    }
}

/// The process that adopts orphans here: process 1, or a subreaper above this
/// process.
fn reaper() -> u32 {
    static REAPER: OnceLock<u32> = OnceLock::new();
    *REAPER.get_or_init(|| {
        let script = "(until read -r _ _ _ parent _ </proc/self/stat; [ \"$parent\" != $$ ]; do :; done; \
                      exec cat /proc/self/stat) & exit";
        // The shell ends at once; its adopted child then names the adopter.
        let output = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output();
        let stat = output.map_or(Vec::new(), |o| o.stdout);
        let text = String::from_utf8_lossy(&stat).into_owned();
        text.rsplit_once(')')
            .and_then(|(_, tail)| tail.split_whitespace().nth(1)?.parse().ok())
            .unwrap_or(1)
    })
}

/// The network namespaces of this process and of `processes`.
pub(super) fn namespaces(processes: &[&Process]) -> Vec<String> {
    let own = fs::read_link("/proc/self/ns/net")
        .map_or(String::new(), |p| p.to_string_lossy().into_owned());
    let mut found: Vec<String> = processes.iter().map(|p| p.network.clone()).collect();
    found.push(own);
    found.retain(|name| !name.is_empty());
    found.sort();
    found.dedup();
    found
}

/// The directory that glibc's allocator opens for a moment to give back memory
/// of an ended thread (`check_may_shrink_heap`), at an unpredictable moment.
const ALLOCATOR: &str = "/proc/sys/vm/overcommit_memory";

/// This process's descriptors: number, target, flags of fdinfo.
pub(super) fn descriptors() -> Vec<String> {
    let numbers: Vec<String> = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    // The descriptor of the directory listing is closed by now and has no
    // target.
    numbers
        .iter()
        .filter_map(|n| {
            let target = fs::read_link(format!("/proc/self/fd/{n}")).ok()?;
            if target == Path::new(ALLOCATOR) {
                return None;
            }
            let info = fs::read_to_string(format!("/proc/self/fdinfo/{n}")).ok()?;
            let flags = info.lines().find_map(|l| l.strip_prefix("flags:"))?;
            Some(format!("{n} {target:?} {}", flags.trim()))
        })
        .collect()
}

/// This process's threads by number, with their names.
pub(super) fn threads() -> BTreeMap<i32, String> {
    fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let name = fs::read_to_string(path.join("comm")).ok()?;
            let number = path.file_name()?.to_str()?.parse().ok()?;
            Some((number, name.trim().to_owned()))
        })
        .collect()
}

/// State that the contract with the host process forbids to change.
pub(super) fn contract() -> Vec<String> {
    let mut lines = vec![format!("cwd {:?}", env::current_dir().unwrap_or_default())];
    lines.extend(env::vars_os().map(|(name, value)| format!("env {name:?}={value:?}")));
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let told = [
        "Umask",
        "Uid",
        "Gid",
        "Groups",
        "SigBlk",
        "SigIgn",
        "SigCgt",
        "CapInh",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        "NoNewPrivs",
        "Seccomp",
        "Cpus_allowed_list",
    ];
    lines.extend(
        status
            .lines()
            .filter(|l| {
                l.split_once(':')
                    .is_some_and(|(name, _)| told.contains(&name))
            })
            .map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")),
    );
    for file in [
        "limits",
        "cgroup",
        "oom_score_adj",
        "uid_map",
        "setgroups",
        "sessionid",
    ] {
        let text = fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default();
        lines.extend(text.lines().map(|l| format!("{file} {}", l.trim_end())));
    }
    for entry in fs::read_dir("/proc/thread-self/ns")
        .into_iter()
        .flatten()
        .flatten()
    {
        let target = fs::read_link(entry.path()).unwrap_or_default();
        lines.push(format!("namespace {:?} {target:?}", entry.file_name()));
    }
    lines
}
