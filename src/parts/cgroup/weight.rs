// SPDX-License-Identifier: MIT OR Apache-2.0
//! The share of block input and output: looks for a kernel scheduler that
//! honours a weight.
#![forbid(unsafe_code)]

use std::fs;

use super::layout::Hierarchy;
use super::limit::{Refusal, Setting};

/// In v1 only the bfq scheduler knows weights (`blkio.weight` went with cfq in
/// 5.0).
pub(super) fn v1(weight: u16) -> Result<Setting, Refusal> {
    match some_disk_uses_bfq() {
        true => Ok(Setting {
            file: "blkio.bfq.weight",
            value: bfq_weight(weight).to_string(),
        }),
        false => Err(refuse("")),
    }
}

/// In v2 the io.cost model honours a weight, too, if an administrator enabled
/// the model for a disk.
pub(super) fn v2(weight: u16, hierarchy: &Hierarchy) -> Result<Setting, Refusal> {
    // The file is in the root cgroup only; where that is out of sight, so is
    // the answer.
    let qos = fs::read_to_string(hierarchy.mount.join("io.cost.qos")).unwrap_or_default();
    if qos.contains("enable=1") {
        return Ok(Setting {
            file: "io.weight",
            value: format!("default {weight}"),
        });
    }
    match some_disk_uses_bfq() {
        true => Ok(Setting {
            file: "io.bfq.weight",
            value: bfq_weight(weight).to_string(),
        }),
        false => Err(refuse(", and the io.cost model is off")),
    }
}

fn refuse(and: &str) -> Refusal {
    Refusal::new(
        format!("no disk is scheduled by bfq{and}, so no weight has an effect"),
        "as root: echo bfq > /sys/block/DISK/queue/scheduler",
    )
}

/// The kernel takes and shows a weight even without effect, so ask the disks.
fn some_disk_uses_bfq() -> bool {
    let Ok(disks) = fs::read_dir("/sys/block") else {
        return false;
    };
    disks.flatten().any(|disk| {
        fs::read_to_string(disk.path().join("queue/scheduler")).is_ok_and(|s| s.contains("[bfq]"))
    })
}

/// 1 to 10000 onto bfq's 1 to 1000, with 100 in the middle of both.
fn bfq_weight(weight: u16) -> u32 {
    match u32::from(weight) {
        low @ ..=100 => low,
        high => 100 + (high - 100) * 900 / 9900,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_weight_maps_onto_bfq() {
        assert_eq!([1, 100, 10000].map(bfq_weight), [1, 100, 1000]);
    }
}
