// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rounds: a fault at each call, one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

use tare_oracle::{Host, need, ordinary_user};

use crate::harness::settle::SOON;
use crate::host::{self, hear, say};
use crate::place::Place;
use crate::supervisor::{Fault, Hit, Supervised, Whose};

/// Uses every kind of operation there is.
const RICH: &str = r#"{"write": "disk", "hostname": "crashes", "limits": {"memory": "64m", "pids": 50, "rlimits": {"nofile": "64:128"}},
    "mounts": ["/usr:/mnt/usr:ro", "/usr:/mnt/cow:cow", {"type": "tmpfs", "target": "/mnt/tmp"}]}"#;
/// For users who have no cgroup.
const PLAIN: &str = r#"{"write": "disk", "hostname": "crashes", "mounts": ["/usr:/mnt/usr:ro"]}"#;
const IN_MEMORY: &str = r#"{"hostname": "crashes"}"#;
const COPY: &str = r#"{"hostname": "crashes", "storage": "copy"}"#;

/// What the rounds of one kind came to.
#[derive(Default)]
struct Tally {
    /// How often a call was hit: by its caller's name and its number.
    hits: BTreeMap<(String, i64), usize>,
    /// What the errors said was being done.
    steps: BTreeSet<String>,
    /// Rounds in which the fault made no difference.
    harmless: usize,
    /// What should not be.
    wrong: Vec<String>,
}

/// A fault of the helper in each round, until a round has fewer calls than rounds went before.
#[track_caller]
fn hit_helper(place: &Place, spec: &str, fault: Fault) -> Tally {
    let supervised = Supervised::start(host::command(place, "rounds", spec), Whose::Helper);
    let rounds = Rounds::begin(place, supervised);
    let code = match fault {
        Fault::Errno(errno) => errno.into(),
        Fault::Kill => hear::KILLED,
    };
    // The first two say what is seen without a fault.
    rounds.round(hear::NOTHING, None);
    rounds.round(hear::NOTHING, None);
    let mut tally = Tally::default();
    for nth in 1.. {
        match rounds.round(code, Some((fault, nth))) {
            Some(hit) => *tally.hits.entry((hit.comm, hit.number)).or_default() += 1,
            None => break,
        }
    }
    rounds.end();
    for line in fs::read_to_string(place.path("log")).unwrap().lines() {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("step", "") => tally.harmless += 1,
            ("step", step) => drop(tally.steps.insert(step.to_owned())),
            ("wrong", why) => tally.wrong.push(why.to_owned()),
            _ => {}
        }
    }
    tally
}

/// A host between two rounds, and how everything was before the first one.
struct Rounds<'a> {
    place: &'a Place,
    supervised: Supervised,
    before: Host,
    descriptors: Vec<String>,
    /// The host waits for an answer to its `NEXT`.
    next: std::cell::Cell<tare_oracle::notify::Call>,
}

impl<'a> Rounds<'a> {
    #[track_caller]
    fn begin(place: &'a Place, supervised: Supervised) -> Self {
        let next = supervised.hear().expect("the host starts");
        assert_eq!(next.arguments[0], say::NEXT);
        Self {
            before: Host::snapshot_with(&[&place.scratch()]),
            descriptors: descriptors(supervised.host.id()),
            next: next.into(),
            place,
            supervised,
        }
    }

    /// One round; the call that was hit in it.
    #[track_caller]
    fn round(&self, code: i64, fault: Option<(Fault, usize)>) -> Option<Hit> {
        if let Some((fault, nth)) = fault {
            self.supervised.arm(fault, nth);
        }
        self.supervised.answer(&self.next.get(), code);
        let done = self.expect(say::DONE, fault);
        let hit = self.supervised.disarm();
        let number = hit.as_ref().map_or(0, |hit| hit.number);
        self.supervised.answer(&done, number);
        let began = Instant::now();
        loop {
            let swept = self.expect(say::SWEPT, fault);
            let mut left = self.before.settle(Duration::from_millis(200));
            if descriptors(self.supervised.host.id()) != self.descriptors {
                left.push(format!("{:?}", descriptors(self.supervised.host.id())));
            }
            self.supervised.answer(&swept, i64::from(!left.is_empty()));
            if left.is_empty() {
                break;
            }
            let late = began.elapsed() > SOON;
            assert!(!late, "{fault:?} {hit:?} left {}", left.join("\n"));
        }
        self.next.set(self.expect(say::NEXT, fault));
        hit
    }

    #[track_caller]
    fn expect(&self, word: u64, fault: Option<(Fault, usize)>) -> tare_oracle::notify::Call {
        match self.supervised.hear() {
            Some(call) if call.arguments[0] == word => call,
            other => {
                let log = fs::read_to_string(self.place.path("log")).unwrap();
                let log = log.rsplit("\nstep").next().unwrap_or_default();
                let hit = self.supervised.disarm();
                panic!("{fault:?}, {hit:?}: {other:?} and not {word}:\n{log}");
            }
        }
    }

    fn end(mut self) {
        self.supervised.answer(&self.next.get(), hear::END);
        assert!(self.supervised.host.wait().unwrap().success());
    }
}

fn descriptors(pid: u32) -> Vec<String> {
    let dir = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let links = dir.flatten().map(|entry| fs::read_link(entry.path()));
    let mut links: Vec<_> = links.flatten().map(|l| l.display().to_string()).collect();
    links.sort();
    links
}

#[test]
fn try_it() {
    need!(root);
    let _alone = Host::exclusive();
    let place = Place::new(None);
    let tally = hit_helper(&place, RICH, Fault::Errno(libc::EIO));
    println!("{:?} {:?} {}", tally.hits, tally.steps, tally.harmless);
    println!("{}", tally.wrong.join("\n"));
    let _ = (PLAIN, COPY, IN_MEMORY, ordinary_user(true));
}
