// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hides paths and makes paths read-only: Docker's defaults, or the spec's.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::error::Result;
use crate::ops::{Ops, Slot, c_inside};
use crate::spec::{Profile, Spec};
use crate::wire::Op;

/// Docker's masked paths, moby/profiles; per-processor thermal throttling is
/// added by [`masked`].
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Docker's read-only paths.
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Returns whether a path is one of Docker's defaults, hidden or read-only.
pub(super) fn is_default(path: &str) -> bool {
    let is_throttle = || THROTTLES.iter().any(|one| one.as_os_str() == path);
    READ_ONLY.contains(&path) || MASKED.contains(&path) || is_throttle()
}

/// Hides the first and protects the second, each with a given place.
pub(super) fn restrict(
    ops: &mut Ops,
    dev: Slot,
    stage: Slot,
    [hidden, protected]: [&[PathBuf]; 2],
    place: impl Fn(&Path) -> Option<(Slot, &Path)>,
) -> Result<()> {
    for (root, path) in hidden.iter().filter_map(|path| place(path)) {
        ops.push(Op::Mask {
            root: root.number(),
            path: &c_inside(path)?,
            dev: dev.number(),
            stage: stage.number(),
        });
    }
    for (root, path) in protected.iter().filter_map(|path| place(path)) {
        ops.push(Op::MakeReadOnly {
            root: root.number(),
            path: &c_inside(path)?,
        });
    }
    Ok(())
}

/// The paths that are hidden.
pub(crate) fn masked(spec: &Spec) -> Vec<PathBuf> {
    if let Some(paths) = &spec.security.masked_paths {
        return paths.clone();
    }
    if spec.security.profile == Profile::Privileged {
        return Vec::new();
    }
    let mut paths: Vec<PathBuf> = MASKED.iter().map(PathBuf::from).collect();
    paths.extend_from_slice(&THROTTLES);
    paths
}

/// The thermal throttling of each present processor, if any has throttling: an
/// offline processor may come back.
static THROTTLES: LazyLock<Vec<PathBuf>> = LazyLock::new(|| {
    let cpus = (0..).map(|n| PathBuf::from(format!("/sys/devices/system/cpu/cpu{n}")));
    let cpus = cpus.take_while(|cpu| cpu.exists());
    let all: Vec<PathBuf> = cpus.map(|cpu| cpu.join("thermal_throttle")).collect();
    if all.iter().any(|path| path.exists()) {
        all
    } else {
        Vec::new()
    }
});

/// The paths that are read-only.
pub(crate) fn read_only(spec: &Spec) -> Vec<PathBuf> {
    match &spec.security.readonly_paths {
        Some(paths) => paths.clone(),
        None if spec.security.profile == Profile::Privileged => Vec::new(),
        None => READ_ONLY.iter().map(PathBuf::from).collect(),
    }
}
