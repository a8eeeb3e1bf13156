// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rounds: a fault at each call in turn.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::time::{Duration, Instant};

use tare_oracle::{Host, need, ordinary_user};

use crate::harness::settle::SOON;
use crate::host::{self, hear, say};
use crate::place::Place;
use crate::supervisor::{CANARY, Fault, Hit, Supervised, holds};

/// Uses every kind of operation there is.
const RICH: &str = r#"{"write": "disk", "hostname": "crashes", "limits": {"memory": "64m", "pids": 50, "rlimits": {"nofile": "64:128"}},
    "mounts": ["/usr:/mnt/usr:ro", "/usr:/mnt/cow:cow", {"type": "tmpfs", "target": "/mnt/tmp"}]}"#;
/// A spec for users without a cgroup.
const PLAIN: &str = r#"{"write": "disk", "hostname": "crashes", "mounts": ["/usr:/mnt/usr:ro"]}"#;
const COPY: &str = r#"{"hostname": "crashes", "storage": "copy"}"#;

/// The third in a row, which is prestarted while the second is set up.
const AHEAD: &str = r#"{"hostname": "crashes", "limits": {"pids": 50}, "labels": {"before": "2"}}"#;

/// Hits a call in so many; `TARE_CRASHES=all` hits each, a number sets the
/// stride.
fn stride(usual: usize) -> usize {
    match env::var("TARE_CRASHES").as_deref() {
        Ok("all") => 1,
        Ok(each) => each.parse().expect("TARE_CRASHES is `all` or a number"),
        Err(_) => usual,
    }
}

/// The results of the rounds of a kind.
#[derive(Default)]
struct Tally {
    /// Counts the hits of a call: by its caller's name and its number.
    hits: BTreeMap<(String, i64), usize>,
    /// The steps in the errors.
    steps: BTreeSet<String>,
    /// Rounds in which the fault made no difference.
    harmless: usize,
    /// Violations.
    wrong: Vec<String>,
}

/// A fault of the helper in each round, until a round has no such call any
/// more.
#[track_caller]
fn hit_helper(place: &Place, spec: &str, fault: Fault, stride: usize) -> Tally {
    let supervised = Supervised::start(host::command(place, "rounds", spec));
    let rounds = Rounds::begin(place, supervised);
    let code = match fault {
        Fault::Errno(errno) => errno.into(),
        Fault::Kill => hear::KILLED,
    };
    let host = rounds.supervised.host.id();
    assert!(holds(host, CANARY.as_bytes()), "it would be found");
    // The first two rounds record the facts without a fault.
    rounds.round(hear::NOTHING, None);
    rounds.round(hear::NOTHING, None);
    let mut tally = Tally::default();
    for nth in (1..).step_by(stride) {
        match rounds.round(code, Some((fault, nth))) {
            Some(hit) if hit.canary => tally.wrong.push(format!("{hit:?}")),
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

/// A host between two rounds, and the machine before the first.
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

    /// Runs a round; returns the call that was hit.
    #[track_caller]
    fn round(&self, code: i64, fault: Option<(Fault, usize)>) -> Option<Hit> {
        if let Some((fault, nth)) = fault {
            self.supervised.arm(fault, nth);
        }
        self.supervised.answer(&self.next.get(), code);
        let done = self.expect(say::DONE, fault);
        let hit = self.supervised.disarm();
        let answer = hit.as_ref().map_or(0, |hit| match hit.speech {
            true => hear::SPEECH,
            false => hit.number,
        });
        self.supervised.answer(&done, answer);
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

/// Hits a call in `stride`; asserts that at least `calls` were there, and that
/// at least `steps` of the library's failed by them.
#[track_caller]
fn check(place: &Place, spec: &str, fault: Fault, stride: usize, calls: usize, steps: usize) {
    let tally = hit_helper(place, spec, fault, stride);
    let hits: usize = tally.hits.values().sum();
    println!("{hits} hits, {} harmless: {:?}", tally.harmless, tally.hits);
    println!("{:?}", tally.steps);
    assert!(tally.wrong.is_empty(), "{}", tally.wrong.join("\n"));
    assert!(hits * stride >= calls, "only {hits} calls were hit");
    assert!(tally.steps.len() >= steps, "{:?}", tally.steps);
}

/// As root, with every kind of operation.
#[test]
fn b05_any_call_of_the_helper_may_fail() {
    need!(root);
    let _alone = Host::exclusive();
    let fault = Fault::Errno(libc::EIO);
    check(&Place::new(None), RICH, fault, stride(5), 450, 20);
}

#[test]
fn b05_helper_may_be_killed_at_any_call() {
    need!(root);
    let _alone = Host::exclusive();
    check(&Place::new(None), RICH, Fault::Kill, stride(5), 450, 1);
}

#[test]
fn b05_any_call_of_a_helper_that_works_ahead_may_fail() {
    need!(root);
    let _alone = Host::exclusive();
    let fault = Fault::Errno(libc::EIO);
    check(&Place::new(None), AHEAD, fault, stride(9), 900, 20);
}

#[test]
fn b05_helper_that_works_ahead_may_be_killed_at_any_call() {
    need!(root);
    let _alone = Host::exclusive();
    check(&Place::new(None), AHEAD, Fault::Kill, stride(9), 900, 1);
}

/// With a single id and with subordinate ids: a kind of fault each, because
/// only the start of the helper and the maps differ.
#[test]
fn b05_any_call_of_an_ordinary_users_helper_may_fail() {
    need!(root, user("plain"));
    let _alone = Host::exclusive();
    let place = Place::new(Some(ordinary_user(false)));
    check(&place, PLAIN, Fault::Errno(libc::EIO), stride(5), 300, 15);
}

#[test]
fn b05_helper_of_a_user_with_subordinate_ids_may_be_killed_at_any_call() {
    need!(root, user("subids"));
    let _alone = Host::exclusive();
    let place = Place::new(Some(ordinary_user(true)));
    check(&place, PLAIN, Fault::Kill, stride(5), 300, 1);
}

/// The image is copied: some thousand calls, and a full disk at any of them.
#[test]
fn b05_any_call_of_a_copying_helper_may_fail() {
    need!(root);
    let _alone = Host::exclusive();
    let fault = Fault::Errno(libc::ENOSPC);
    check(&Place::new(None), COPY, fault, stride(50), 2000, 5);
}
