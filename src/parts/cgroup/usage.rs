// SPDX-License-Identifier: MIT OR Apache-2.0
//! The usage of a cgroup's processes, and the count of deaths for want of
//! memory.
#![forbid(unsafe_code)]

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::uio::pread;
use nix::unistd::write;
use serde::Serialize;

use super::node::open_file;
use super::{Cgroup, Node};

/// The use of all processes of a sandbox, now and since the open or the last
/// reset.
///
/// A figure that this machine does not count is `None`: memory, io and pids are
/// counted only with a limit of their kind, and no figure without a cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SandboxUsage {
    /// Bytes of memory in use now, page cache and tmpfs included.
    pub memory: Option<u64>,
    /// Most bytes of memory that were in use at once; v2 from kernel 5.19. A
    /// command that starts alone may begin the count anew.
    pub memory_peak: Option<u64>,
    /// Microseconds of processor time in programs; v1 counts them with
    /// `limits.cpus` only.
    pub user_us: Option<u64>,
    /// Microseconds of processor time in the kernel for them.
    pub system_us: Option<u64>,
    /// Bytes read from block devices.
    pub io_read: Option<u64>,
    /// Bytes written to block devices.
    pub io_written: Option<u64>,
    /// Processes and threads now, with the sandbox's own process 1.
    pub pids: Option<u64>,
    /// Most processes and threads there were at once; kernel 6.1.
    pub pids_peak: Option<u64>,
    /// Processes that the kernel killed for want of memory; kernel 4.13, and
    /// only with `limits.memory`.
    pub oom_kills: Option<u64>,
}

impl Cgroup {
    /// Reads the usage so far. Never fails: an unreadable figure is `None`.
    pub(crate) fn usage(&self) -> SandboxUsage {
        let (user_us, system_us) = self.cpu_time();
        let (io_read, io_written) = self.io_bytes();
        SandboxUsage {
            memory: self.figure("memory", "memory.usage_in_bytes", "memory.current"),
            memory_peak: self.memory_peak(),
            user_us,
            system_us,
            io_read,
            io_written,
            pids: self.figure("pids", "pids.current", "pids.current"),
            pids_peak: self.figure("pids", "pids.peak", "pids.peak"),
            oom_kills: self.oom_kills(),
        }
    }

    /// [`SandboxUsage::memory_peak`] alone.
    pub(crate) fn memory_peak(&self) -> Option<u64> {
        self.figure("memory", "memory.max_usage_in_bytes", "memory.peak")
    }

    /// Restarts the peak of memory. v1 has a single watermark; v2 has a
    /// watermark for each writing descriptor, which is returned:
    /// [`Cgroup::memory_peak_of`] reads the peak there.
    ///
    /// # Errors
    /// KERNEL(<6.12): v2 cannot, nor where memory is not counted.
    pub(crate) fn reset_memory_peak(&self) -> nix::Result<Option<OwnedFd>> {
        match self.v1_node("memory") {
            Some(node) => node.write("memory.max_usage_in_bytes", "0").map(|()| None),
            None => {
                let node = self.v2.as_ref().ok_or(Errno::ENOENT)?;
                let file = open_file(node.fd(), "memory.peak", OFlag::O_RDWR)?;
                write(&file, b"reset")?;
                Ok(Some(file))
            }
        }
    }

    /// Peak of memory since [`Cgroup::reset_memory_peak`] returned `file`.
    pub(crate) fn memory_peak_of(&self, file: &OwnedFd) -> Option<u64> {
        let mut text = [0; 32];
        let n = pread(file, &mut text, 0).ok()?;
        std::str::from_utf8(&text[..n]).ok()?.trim().parse().ok()
    }

    /// A number of the v1 controller's or of the v2 cgroup.
    fn figure(&self, v1: &str, v1_file: &str, v2_file: &str) -> Option<u64> {
        match self.v1_node(v1) {
            Some(node) => node.number(v1_file),
            None => self.v2.as_ref()?.number(v2_file),
        }
    }

    /// Counts kills inside for want of memory, kernel 4.13. `None` without
    /// `limits.memory`, which counts them.
    pub(crate) fn oom_kills(&self) -> Option<u64> {
        match self.v1_node("memory") {
            Some(node) => node.field("memory.oom_control", "oom_kill"),
            None => self.v2.as_ref()?.field("memory.events", "oom_kill"),
        }
    }

    /// v2 counts processor time in every cgroup, with or without the
    /// controller.
    fn cpu_time(&self) -> (Option<u64>, Option<u64>) {
        let from = |node: &Node| {
            let time = |key| node.field("cpu.stat", key);
            (time("user_usec"), time("system_usec"))
        };
        match (&self.v2, self.v1_node("cpuacct")) {
            (Some(node), _) => from(node),
            (None, Some(node)) => {
                let time = |file| node.number(file).map(|nanoseconds| nanoseconds / 1000);
                (time("cpuacct.usage_user"), time("cpuacct.usage_sys"))
            }
            (None, None) => (None, None),
        }
    }

    fn io_bytes(&self) -> (Option<u64>, Option<u64>) {
        let text = match (self.v1_node("blkio"), &self.v2) {
            (Some(node), _) => node.read("blkio.throttle.io_service_bytes_recursive").ok(),
            (None, Some(node)) => node.read("io.stat").ok(),
            (None, None) => None,
        };
        match text {
            Some(text) => (
                Some(sum_bytes(&text, "Read", "rbytes")),
                Some(sum_bytes(&text, "Write", "wbytes")),
            ),
            None => (None, None),
        }
    }
}

/// Adds up over all devices: v1 has `8:0 Read 4096`, v2 `8:0 rbytes=4096
/// wbytes=0 ...`.
fn sum_bytes(text: &str, v1_word: &str, v2_key: &str) -> u64 {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace().skip(1);
            let number = match words.next()? {
                word if word == v1_word => words.next()?,
                first => {
                    let mut pairs = std::iter::once(first).chain(words);
                    pairs.find_map(|p| p.strip_prefix(v2_key)?.strip_prefix('='))?
                }
            };
            number.parse::<u64>().ok()
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_sums_io_over_devices() {
        let v1 = "8:0 Read 4096\n8:0 Write 8192\n8:0 Sync 1\n8:0 Total 12288\n8:16 Read 1\nTotal 12289\n";
        assert_eq!(sum_bytes(v1, "Read", "rbytes"), 4097);
        assert_eq!(sum_bytes(v1, "Write", "wbytes"), 8192);
        let v2 = "8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=1 wbytes=2\n7:0 \n";
        assert_eq!(sum_bytes(v2, "Read", "rbytes"), 11);
        assert_eq!(sum_bytes(v2, "Write", "wbytes"), 22);
    }
}
