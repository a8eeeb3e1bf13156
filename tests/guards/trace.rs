// SPDX-License-Identifier: MIT OR Apache-2.0
//! A host under strace(1), and whose calls those are.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use crate::golden::Counts;
use crate::host;
use crate::place::Place;

/// Who makes a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    Host,
    Spawner,
    Init,
    /// A command, from its birth.
    Child,
}

/// One call, in the stage in which it began.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) who: Who,
    /// Number and name of the stage; none when nothing is counted.
    pub(crate) stage: Option<(usize, String)>,
    pub(crate) name: String,
    /// The rest of the line, arguments and result.
    pub(crate) rest: String,
}

/// Everything that a host in `role` and its children ask of the kernel.
pub(crate) fn of(place: &Place, role: &str) -> Vec<Call> {
    let log = place.path("trace");
    let traced = host::command(place, role);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-qq", "-s", "64", "--signal=none", "-o"]);
    strace.arg(&log).arg("--").arg(traced.get_program());
    strace.args(traced.get_args());
    for (key, value) in traced.get_envs() {
        match value {
            Some(value) => strace.env(key, value),
            None => strace.env_remove(key),
        };
    }
    let output = strace.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = fs::read(&log).unwrap();
    let calls = parse(&String::from_utf8_lossy(&text));
    assert!(!calls.is_empty(), "{output:?}");
    calls
}

/// Lines of `PID name(arguments) = result`; what takes long is told of twice, `PID <... name resumed>` is the second.
fn parse(text: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut born = Born::new(text);
    let (mut stage, mut counted, mut host_counts) = (0, None, false);
    for line in text.lines() {
        let (pid, call) = line.split_once(' ').unwrap_or_else(|| panic!("{line:?}"));
        let call = call.trim_start();
        let Some((name, rest)) = call.split_once('(').filter(|_| !call.starts_with('<')) else {
            continue;
        };
        if let Some(mark) = rest.strip_prefix("-1, \"").filter(|_| name == "write") {
            let mark = mark.split('"').next().unwrap_or_default();
            host_counts = mark != "end";
            if let Some(begins) = mark.strip_prefix("begin ") {
                stage += 1;
                counted = (begins != "warm-up").then(|| (stage, begins.to_owned()));
            }
            continue;
        }
        let Some(who) = born.who(pid) else {
            continue;
        };
        let in_stage = who != Who::Host || host_counts;
        calls.push(Call {
            who,
            stage: counted.clone().filter(|_| in_stage),
            name: name.to_owned(),
            rest: rest.to_owned(),
        });
    }
    calls
}

/// Who is who, by who made whom.
struct Born<'a> {
    host: BTreeSet<&'a str>,
    spawner: BTreeSet<&'a str>,
    init: BTreeSet<&'a str>,
}

impl<'a> Born<'a> {
    fn new(text: &'a str) -> Self {
        let pid = |line: &'a str| line.split(' ').next().unwrap_or_default();
        let marks = text.lines().filter(|line| line.contains(" write(-1, \""));
        let host = marks.map(pid).collect();
        let mut of = Self {
            host,
            spawner: BTreeSet::new(),
            init: BTreeSet::new(),
        };
        // Who is making a thread: the flags are in the first of two lines, the result in the second.
        let mut threading = BTreeSet::new();
        for line in text.lines().filter(|line| is_birth(line)) {
            let parent = pid(line);
            if line.contains("CLONE_THREAD") {
                threading.insert(parent);
            }
            if line.contains("<unfinished") {
                continue;
            }
            let is_thread = threading.remove(parent);
            let Some((_, child)) = line.rsplit_once(" = ") else {
                continue;
            };
            if of.host.contains(parent) && is_thread {
                of.host.insert(child);
            } else if of.host.contains(parent) {
                of.spawner.insert(child);
            } else if of.spawner.contains(parent) {
                of.init.insert(child);
            }
        }
        of
    }

    fn who(&mut self, pid: &'a str) -> Option<Who> {
        if self.host.contains(pid) {
            Some(Who::Host)
        } else if self.spawner.contains(pid) {
            Some(Who::Spawner)
        } else if self.init.contains(pid) {
            Some(Who::Init)
        } else {
            // Their numbers are told by init as it sees them: all that is left are its children.
            (!self.init.is_empty()).then_some(Who::Child)
        }
    }
}

/// A call that makes a process or a thread, its end included.
fn is_birth(line: &str) -> bool {
    ["clone", "clone3", "fork", "vfork"].iter().any(|call| {
        line.contains(&format!(" {call}(")) || line.contains(&format!("<... {call} resumed>"))
    })
}

/// Calls of the host that depend on who is first, the command's end or the host that asks for it: one that is not
/// there yet is polled for and asked for again.
const BY_CHANCE: [&str; 4] = ["getpid", "poll", "read", "recvmsg"];

/// For each stage, caller and call the fewest that any of its rounds had, and the most of those that
/// chance decides on.
pub(crate) fn counts(prefix: &str, calls: &[Call]) -> (Counts, Counts) {
    let mut rounds: BTreeMap<&str, BTreeMap<usize, Counts>> = BTreeMap::new();
    for call in calls {
        let Some((number, stage)) = &call.stage else {
            continue;
        };
        let round = rounds.entry(stage).or_default().entry(*number).or_default();
        let who = format!("{:?}", call.who).to_lowercase();
        *round
            .entry(format!("{prefix} {stage} {who} {}", call.name))
            .or_default() += 1;
    }
    let (mut fewest, mut most) = (Counts::new(), Counts::new());
    for (stage, rounds) in rounds {
        let names: BTreeSet<&String> = rounds.values().flat_map(BTreeMap::keys).collect();
        for name in names {
            let counts = rounds
                .values()
                .map(|round| round.get(name).copied().unwrap_or(0));
            let counts: Vec<usize> = counts.collect();
            let least = counts.iter().copied().min().unwrap_or(0);
            let by_chance = BY_CHANCE
                .iter()
                .any(|call| *name == format!("{prefix} {stage} host {call}"));
            if by_chance && ["first", "warm"].contains(&stage) {
                most.insert(name.clone(), counts.into_iter().max().unwrap_or(0));
            }
            if least > 0 {
                fewest.insert(name.clone(), least);
            }
        }
    }
    (fewest, most)
}
