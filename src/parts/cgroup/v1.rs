// SPDX-License-Identifier: MIT OR Apache-2.0
//! Limits in the words of cgroup v1, kernel doc `admin-guide/cgroup-v1`.
#![forbid(unsafe_code)]

use super::layout::Hierarchy;
use super::limit::{self, Limit, Refusal, Setting, check_cpu_list};
use super::weight;

/// The period of `cpu.cfs_quota_us` that the kernel starts with, in
/// microseconds.
const PERIOD: f64 = 100_000.0;

/// The file and value of `limit` in a cgroup right below the own cgroup of
/// `hierarchy`.
///
/// # Errors
/// When this kernel's v1 lacks the limit, or the value is beyond the own
/// cgroup's.
pub(super) fn settings(limit: &Limit<'_>, hierarchy: &Hierarchy) -> Result<Vec<Setting>, Refusal> {
    let one = |file, value: String| Ok(vec![Setting { file, value }]);
    match *limit {
        Limit::Memory(bytes) => one("memory.limit_in_bytes", bytes.to_string()),
        Limit::Swap {
            swap,
            memory: Some(memory),
        } => {
            let sum = memory.saturating_add(swap).min(i64::MAX as u64);
            one("memory.memsw.limit_in_bytes", sum.to_string())
        }
        Limit::Swap { memory: None, .. } => Err(Refusal::new(
            "cgroup v1 can limit swap only together with memory",
            "set limits.memory as well",
        )),
        Limit::Cpus(cpus) => one("cpu.cfs_quota_us", format!("{:.0}", cpus * PERIOD)),
        // As systemd converts weights: the middle is 1024 here.
        Limit::CpuWeight(weight) => one("cpu.shares", (u32::from(weight) * 1024 / 100).to_string()),
        Limit::Cpuset(list) => cpuset(list, hierarchy),
        Limit::Pids(count) => one("pids.max", count.to_string()),
        Limit::Io(share) => Ok(vec![weight::v1(share)?]),
    }
}

/// A new v1 cpuset has neither processors nor memory nodes and takes no process
/// before both are written. The own cgroup has both, because this process is
/// inside.
fn cpuset(list: &str, hierarchy: &Hierarchy) -> Result<Vec<Setting>, Refusal> {
    let read = |file| limit::read(&hierarchy.own.join(file));
    check_cpu_list(list, &read("cpuset.cpus")?)?;
    let mems = read("cpuset.mems")?.trim().to_owned();
    Ok(vec![
        Setting {
            file: "cpuset.mems",
            value: mems,
        },
        Setting {
            file: "cpuset.cpus",
            value: list.to_owned(),
        },
    ])
}
