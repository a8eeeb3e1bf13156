// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is seen of processes: this one, its descendants, and orphans of the library.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::fs;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

/// One process as proc(5) shows it.
#[derive(Debug, Clone)]
pub(super) struct Process {
    pid: u32,
    parent: u32,
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
        Some(Self {
            pid,
            comm: head.split_once('(')?.1.to_owned(),
            state: fields.next()?.to_owned(),
            parent: fields.next()?.parse().ok()?,
            exe: link("exe"),
            network: link("ns/net"),
        })
    }

    /// The helper is a sealed memfd; its names begin as ours do.
    fn is_ours(&self) -> bool {
        self.exe.starts_with("/memfd:tare") || self.comm.starts_with("tare-")
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

    /// Descendants of this process and orphans of the library; all but this one when `wide`.
    pub(super) fn of_interest(&self, wide: bool) -> Vec<&Process> {
        self.0
            .values()
            .filter(|p| match wide {
                // Kernel threads, children of process 2, come and go as they like.
                true => p.pid != std::process::id() && p.parent != 2,
                false => self.concerns_us(p.pid),
            })
            .collect()
    }

    /// Whether `pid` descends from this process, or is the library's and its
    /// host is gone.
    pub(super) fn concerns_us(&self, pid: u32) -> bool {
        let mut at = pid;
        let mut ours = false;
        while let Some(process) = self.0.get(&at) {
            if process.parent == std::process::id() {
                return true;
            }
            if process.parent == reaper() || process.parent == 0 {
                return ours || process.is_ours();
            }
            ours |= process.is_ours();
            at = process.parent;
        }
        // The chain broke while it was read: somebody died. Look again later.
        ours
    }

    /// Whether `pid` is alive and none of our concern.
    pub(super) fn is_foreign(&self, pid: u32) -> bool {
        self.0.contains_key(&pid) && pid != std::process::id() && !self.concerns_us(pid)
    }
}

/// Who adopts orphans here: process 1, or a subreaper above this process.
fn reaper() -> u32 {
    static REAPER: OnceLock<u32> = OnceLock::new();
    *REAPER.get_or_init(|| {
        let script = "(until read -r _ _ _ parent _ </proc/self/stat; [ \"$parent\" != $$ ]; do :; done; \
                      exec cat /proc/self/stat) & exit";
        // The shell ends at once; its child is adopted and then says by whom.
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

/// This process's descriptors: number, what it is, flags of fdinfo.
pub(super) fn descriptors() -> Vec<String> {
    let numbers: Vec<String> = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    // The one that read the directory is closed by now and has no target.
    numbers
        .iter()
        .filter_map(|n| {
            let target = fs::read_link(format!("/proc/self/fd/{n}")).ok()?;
            let info = fs::read_to_string(format!("/proc/self/fdinfo/{n}")).ok()?;
            let flags = info.lines().find_map(|l| l.strip_prefix("flags:"))?;
            Some(format!("{n} {target:?} {}", flags.trim()))
        })
        .collect()
}

/// How many threads this process has. A thread that was joined may still be
/// on its way out, hence the second look.
pub(super) fn threads() -> usize {
    let now = || fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    let first = now();
    std::thread::sleep(Duration::from_micros(200));
    first.min(now())
}

/// What the contract with the host process forbids us to change.
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
