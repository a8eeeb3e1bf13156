// SPDX-License-Identifier: MIT OR Apache-2.0
//! A thousand sandboxes at once: memory of each, and the speed of the last
//! beside the first.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};
use tare::Sandbox;

use super::bed::{self, Bed};
use super::sample::median;

const COUNT: usize = 1000;
/// The number compared at either end.
const END: usize = 100;

/// The parts that add up, without overlap. `VmallocUsed` has the kernel stacks.
const PARTS: [&str; 6] = [
    "AnonPages",
    "Slab",
    "PageTables",
    "Percpu",
    "Shmem",
    "VmallocUsed",
];
/// Told beside them.
const BESIDE: [&str; 4] = ["KernelStack", "SUnreclaim", "MemFree", "MemAvailable"];

/// In KiB, proc_meminfo(5).
pub(crate) fn meminfo() -> BTreeMap<String, i64> {
    let text = fs::read_to_string("/proc/meminfo").unwrap();
    let field = |line: &str| {
        let (name, value) = line.split_once(':')?;
        let number = value.trim().trim_end_matches(" kB").parse().ok()?;
        Some((name.to_owned(), number))
    };
    text.lines().filter_map(field).collect()
}

/// Memory of a process in KiB, shared pages divided among their users; `None`
/// after its end.
fn proportional(process: &Path) -> Option<i64> {
    let rollup = fs::read_to_string(process.join("smaps_rollup")).ok()?;
    let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    pss.trim().trim_end_matches(" kB").parse().ok()
}

/// The number of the library's processes, and their memory together.
fn helpers() -> (usize, i64) {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let ours = processes.filter(|entry| {
        let comm = fs::read_to_string(entry.path().join("comm"));
        comm.is_ok_and(|comm| comm.starts_with("tare-"))
    });
    let taken: Vec<i64> = ours.filter_map(|p| proportional(&p.path())).collect();
    (taken.len(), taken.iter().sum())
}

/// Waits for late frees (namespaces, groups of processes), which must not
/// count.
fn settle() {
    std::thread::sleep(Duration::from_secs(2));
}

fn middle(times: &[Duration]) -> f64 {
    median(times.iter().map(Duration::as_secs_f64).collect())
}

fn close_all(sandboxes: &[Sandbox]) -> Duration {
    let began = Instant::now();
    let ending: Vec<_> = sandboxes.iter().map(|s| s.begin_close().unwrap()).collect();
    for fd in ending.into_iter().flatten() {
        let mut wanted = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
        poll(&mut wanted, PollTimeout::NONE).unwrap();
    }
    began.elapsed()
}

pub(crate) fn measure() -> Value {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let bed = Bed::new(dir.path());
    super::starts::whole(&bed);
    settle();
    let own = || proportional(Path::new("/proc/self")).unwrap();
    let (before, own_before, helpers_before) = (meminfo(), own(), helpers());
    let mut times = Vec::with_capacity(COUNT);
    let sandboxes: Vec<Sandbox> = (0..COUNT)
        .map(|_| {
            let began = Instant::now();
            let sandbox = bed.open();
            times.push(began.elapsed());
            sandbox
        })
        .collect();
    settle();
    let (after, own_after, helpers_after) = (meminfo(), own(), helpers());
    let each = |kib: i64| kib as f64 / COUNT as f64;
    let grown = |name: &str| after[name] - before[name];
    let parts: i64 = PARTS.into_iter().map(grown).sum();
    let available = -grown("MemAvailable");
    let told: BTreeMap<_, _> = PARTS
        .into_iter()
        .chain(BESIDE)
        .map(|name| (name, each(grown(name))))
        .collect();
    // They are alive, all of them.
    sandboxes.iter().for_each(bed::run);
    let closing = close_all(&sandboxes);
    json!({ "values": {
        "count": COUNT,
        "kib_each": each(parts.max(available)),
        "kib_each_parts": each(parts),
        "kib_each_available": each(available),
        "kib_each_host": each(own_after - own_before),
        "kib_each_inits": each(helpers_after.1 - helpers_before.1),
        "processes_each": each((helpers_after.0 - helpers_before.0) as i64),
        "kib_each_by_part": told,
        "open_first": middle(&times[..END]),
        "open_last": middle(&times[COUNT - END..]),
        "close_all": closing.as_secs_f64(),
    }})
}
