// SPDX-License-Identifier: MIT OR Apache-2.0
//! The calls of a trace, counted: exactly, or as a bound if the scheduler
//! decides.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use crate::golden::{Counts, WAITS};
use crate::host;
use crate::trace::{Call, Who};

/// Calls with a row of their own: a process, a mount, a file or a message more
/// is worth a name.
const DEAR: [&str; 30] = [
    "bpf",
    "clone",
    "clone3",
    "fork",
    "vfork",
    "execve",
    "unshare",
    "setns",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "mount",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "pivot_root",
    "umount2",
    "mkdir",
    "mkdirat",
    "mknodat",
    "unlinkat",
    "openat",
    "openat2",
    "pipe2",
    "recvmsg",
    "seccomp",
    "sendmsg",
    "socketpair",
    "syncfs",
];

/// The row of all calls together but those that chance decides on.
const SUM: &str = "sum";

/// Returns whether the scheduler decides how often the call is made: a wait, an
/// attempt that came too early, and the look for the reason of a wake-up, which
/// tells one end or several.
fn waits(call: &Call) -> bool {
    let (name, rest) = (call.name.as_str(), call.rest.as_str());
    let wakes = ["poll", "ppoll", "futex", "wait4", "restart_syscall"];
    let early = ["EAGAIN", "EINTR", "ERESTART"];
    let result = rest.rsplit_once(" = ").map_or("", |(_, result)| result);
    wakes.contains(&name)
        || early.iter().any(|errno| result.contains(errno))
        || name == "read" && rest.contains("<anon_inode:[signalfd]>")
        // A host checks for a fork each time that it asks for the end.
        || name == "getpid" && call.who == Who::Host
}

/// The fewest calls of any round, by caller and stage; for the spawner, the
/// share of a round.
pub(crate) fn of(prefix: &str, calls: &[Call]) -> Counts {
    let mut rounds: BTreeMap<(Who, &str), BTreeMap<usize, Counts>> = BTreeMap::new();
    for call in calls {
        let Some((stage, round)) = &call.stage else {
            continue;
        };
        let name = if waits(call) { WAITS } else { &call.name };
        let rounds = rounds.entry((call.who, stage)).or_default();
        let round = rounds.entry(*round).or_default();
        *round.entry(name.to_owned()).or_default() += 1;
    }
    let lives = rounds.iter().filter(|((who, _), _)| *who == Who::Init);
    let sandboxes: usize = lives.map(|(_, rounds)| rounds.len()).sum();
    let mut rows = Counts::new();
    for ((who, stage), rounds) in rounds {
        let names: BTreeSet<&String> = rounds.values().flat_map(BTreeMap::keys).collect();
        let caller = format!("{prefix} {} {stage}", format!("{who:?}").to_lowercase());
        for name in names {
            let counts = rounds.values().map(|round| round.get(name).copied());
            let fewest = counts.map(Option::unwrap_or_default).min().unwrap_or(0);
            let count = match stage {
                host::ALL => (fewest + sandboxes / 2) / sandboxes.max(1),
                _ => fewest,
            };
            if count > 0 {
                rows.insert(format!("{caller} {name}"), count);
            }
        }
    }
    rows
}

/// The held rows: a sum for each caller and stage, the waits, and dear calls by
/// name.
pub(crate) fn summed(rows: &Counts) -> Counts {
    let mut held = Counts::new();
    for (row, count) in rows {
        let (caller, name) = row.rsplit_once(' ').unwrap_or_default();
        if name != WAITS {
            *held.entry(format!("{caller} {SUM}")).or_default() += count;
        }
        if name == WAITS || DEAR.contains(&name) {
            held.insert(row.clone(), *count);
        }
    }
    held
}

#[test]
fn counts_tell_a_call_from_a_wait() {
    let call = |name: &str, rest: &str| Call {
        who: Who::Init,
        stage: Some(("life".to_owned(), 7)),
        name: name.to_owned(),
        rest: rest.to_owned(),
    };
    let mut calls = vec![
        call("ppoll", "[{fd=3}], 1, NULL) = 1"),
        call(
            "recvmsg",
            "3, 0x7f, 0) = -1 EAGAIN (Resource temporarily unavailable)",
        ),
        call("read", "8<anon_inode:[signalfd]>, \"\", 128) = 128"),
        call("openat2", "4, \"etc\", {}, 24) = 5"),
    ];
    let held = summed(&of("x", &calls));
    let row = |name: &str| held.get(&format!("x init life {name}")).copied();
    assert_eq!(
        [row("sum"), row(WAITS), row("openat2")],
        [Some(1), Some(3), Some(1)]
    );
    calls.push(call("getuid", ") = 0"));
    assert_eq!(summed(&of("x", &calls))["x init life sum"], 2);
}
