// SPDX-License-Identifier: MIT OR Apache-2.0
//! The limits that a cgroup can hold, and the words of refusals.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;

use nix::errno::Errno;

use crate::error::{Error, Kind, Step};
use crate::spec::Limits;

/// A limit that the spec asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Limit<'a> {
    /// Bytes.
    Memory(u64),
    /// Bytes of swap, on top of `memory`.
    Swap { swap: u64, memory: Option<u64> },
    /// Processors.
    Cpus(f64),
    /// A share from 1 to 10000, 100 being everyone's.
    CpuWeight(u16),
    /// A list as in cpuset(7).
    Cpuset(&'a str),
    /// Processes and threads.
    Pids(u64),
    /// A share from 1 to 10000, 100 being everybody's.
    Io(u16),
}

impl<'a> Limit<'a> {
    /// Returns the limits of the spec, in the order of their writes.
    pub(super) fn asked(limits: &'a Limits) -> Vec<Self> {
        let memory = limits.memory.map(|m| m.bytes());
        [
            memory.map(Self::Memory),
            limits.swap.map(|s| Self::Swap {
                swap: s.bytes(),
                memory,
            }),
            limits.cpus.map(Self::Cpus),
            limits.cpu_weight.map(Self::CpuWeight),
            limits.cpuset.as_deref().map(Self::Cpuset),
            limits.pids.map(Self::Pids),
            limits.io.map(Self::Io),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// The key in the spec.
    pub(super) fn key(&self) -> &'static str {
        match self {
            Self::Memory(_) => "limits.memory",
            Self::Swap { .. } => "limits.swap",
            Self::Cpus(_) => "limits.cpus",
            Self::CpuWeight(_) => "limits.cpu_weight",
            Self::Cpuset(_) => "limits.cpuset",
            Self::Pids(_) => "limits.pids",
            Self::Io(_) => "limits.io",
        }
    }

    /// The controller's name in v1 and in v2.
    pub(super) fn controllers(&self) -> (&'static str, &'static str) {
        match self {
            Self::Memory(_) | Self::Swap { .. } => ("memory", "memory"),
            Self::Cpus(_) | Self::CpuWeight(_) => ("cpu", "cpu"),
            Self::Cpuset(_) => ("cpuset", "cpuset"),
            Self::Pids(_) => ("pids", "pids"),
            Self::Io(_) => ("blkio", "io"),
        }
    }
}

/// A write for a limit; several writes are done in order.
#[derive(Debug, PartialEq)]
pub(super) struct Setting {
    pub(super) file: &'static str,
    pub(super) value: String,
}

/// The reason of a refusal by this machine, and its cure.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    kind: Kind,
    why: String,
    errno: Option<Errno>,
    cure: Option<Cow<'static, str>>,
}

impl Refusal {
    /// No system call failed; the machine lacks something.
    pub(super) fn new(why: impl Into<String>, cure: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind: Kind::Unsupported,
            why: why.into(),
            errno: None,
            cure: Some(cure.into()),
        }
    }

    /// A system call failed, and the cure is known.
    pub(super) fn os(
        why: impl Into<String>,
        errno: Errno,
        cure: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            errno: Some(errno),
            ..Self::new(why, cure)
        }
    }

    /// Refuses a value that no setting makes true, which `best_effort` does not
    /// excuse.
    pub(super) fn invalid(why: impl Into<String>, cure: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind: Kind::Invalid,
            ..Self::new(why, cure)
        }
    }

    /// Returns whether `best_effort` may leave the key out: a wrong value stays
    /// wrong.
    pub(super) fn may_leave_out(&self) -> bool {
        self.kind == Kind::Unsupported
    }

    /// The refusal of `key` as an error.
    pub(super) fn of(self, key: &str) -> Error {
        let step = Step::Set.named(key);
        let error = match self.errno {
            Some(errno) => Error::os(step, self.why, errno),
            None => Error::new(self.kind, step, self.why),
        };
        match self.cure {
            Some(cure) => error.with_kind(self.kind).with_cure(cure),
            None => error.with_kind(self.kind),
        }
    }
}

/// Reads a control file that a check needs.
pub(super) fn read(path: &Path) -> Result<String, Refusal> {
    std::fs::read_to_string(path).map_err(|e| {
        let errno = Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO));
        let cure = format!("as root: chmod a+r {}", path.display());
        Refusal::os(path.display().to_string(), errno, cure)
    })
}

/// The processors in a list as in cpuset(7); `limits.cpuset` was checked when
/// the spec was.
pub(super) fn cpu_list(text: &str) -> BTreeSet<u16> {
    let mut cpus = BTreeSet::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) {
            cpus.extend(first..=last);
        }
    }
    cpus
}

/// Refuses a list with processors that are not in `available`: v2 would take
/// the list, and then use other processors.
pub(super) fn check_cpu_list(asked: &str, available: &str) -> Result<(), Refusal> {
    let have = cpu_list(available);
    match cpu_list(asked).iter().find(|cpu| !have.contains(cpu)) {
        None => Ok(()),
        Some(cpu) => Err(Refusal::invalid(
            format!("processor {cpu} of {asked:?} is not available here"),
            format!("processors of {}", available.trim()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpuset_outside_the_machine_is_refused() {
        assert!(check_cpu_list("0-1,3", "0-3\n").is_ok());
        let refusal = check_cpu_list("0,8", "0-3\n").unwrap_err();
        assert!(!refusal.may_leave_out());
        assert_eq!(
            refusal.of("limits.cpuset").to_string(),
            r#"set limits.cpuset: processor 8 of "0,8" is not available here; try: processors of 0-3"#
        );
    }
}
