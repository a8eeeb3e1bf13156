// SPDX-License-Identifier: MIT OR Apache-2.0
//! Properties of the machine that a figure depends on: no names, no paths.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::Read as _;

use flate2::read::MultiGzDecoder;
use serde_json::{Value, json};

pub(crate) fn describe() -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let config = kernel_config();
    json!({
        "processors": std::thread::available_parallelism().unwrap().get(),
        "model": value_of(&read("/proc/cpuinfo"), "model name"),
        "memory_kib": super::density::meminfo()["MemTotal"],
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "hz": config.lines().find_map(|line| line.strip_prefix("CONFIG_HZ=")),
        "cgroups": cgroups(&read("/proc/self/mountinfo")),
        "file_system": file_system(&read("/proc/self/mountinfo")),
    })
}

/// From the kernel itself, else from the distribution's file beside the kernel.
fn kernel_config() -> String {
    let mut config = String::new();
    if let Ok(packed) = File::open("/proc/config.gz") {
        // Half of a configuration is useless: the figure is then unknown.
        let _ = MultiGzDecoder::new(packed).read_to_string(&mut config);
        return config;
    }
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    fs::read_to_string(format!("/boot/config-{}", release.trim())).unwrap_or_default()
}

fn value_of(text: &str, key: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().into())
}

fn cgroups(mountinfo: &str) -> &'static str {
    let has = |kind: &str| mountinfo.contains(kind);
    match (has(" - cgroup "), has(" - cgroup2 ")) {
        (true, true) => "v1 with controllers, v2 beside it",
        (true, false) => "v1",
        (false, true) => "v2",
        (false, false) => "none",
    }
}

/// The root's, where temporary directories mostly are.
fn file_system(mountinfo: &str) -> Option<&str> {
    let root = mountinfo
        .lines()
        .find(|line| line.split(' ').nth(4) == Some("/"))?;
    root.split_once(" - ")?.1.split(' ').next()
}
