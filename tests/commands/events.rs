// SPDX-License-Identifier: MIT OR Apache-2.0
//! Events of a sandbox, reported by a descriptor.

use std::time::Duration;

use tare::{Command, Event, Events, Kind};
use tare_oracle::need;

use crate::harness::settle::{SOON, is_readable, kill_init};
use crate::harness::{Ground, holds_in_a_fork, open_default, run, sh};

const SMALL: &str = r#"{"limits": {"memory": "24m", "swap": "0"}}"#;

/// Waits for the next event as an event loop does.
fn next(events: &Events) -> Event {
    loop {
        if let Some(event) = events.next().unwrap() {
            return event;
        }
        assert!(is_readable(events, SOON), "{events:?}");
    }
}

fn hungry() -> Command {
    Command::from_argv(["tail", "/dev/zero"])
}

#[test]
fn events_tell_kills_for_want_of_memory() {
    need!(root, controller("memory"));
    let ground = Ground::new();
    let sandbox = ground.open_with(SMALL);
    let both = [sandbox.events().unwrap(), sandbox.events().unwrap()];
    assert!(run(&sandbox, sh("exit 0")).status.success());
    for events in &both {
        assert!(!is_readable(events, Duration::ZERO));
        assert_eq!(events.next().unwrap(), None);
    }
    // A kill during the watch, and a kill before.
    let hungry_child = sandbox.spawn(sh("tail /dev/zero; exit 0")).unwrap();
    assert_eq!(next(&both[0]), Event::OomKills(1));
    assert!(hungry_child.wait().unwrap().success());
    run(&sandbox, hungry());
    assert_eq!(next(&both[0]), Event::OomKills(1));
    let mut kills = 0;
    while kills < 2 {
        match next(&both[1]) {
            Event::OomKills(n) => kills += n,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(both[1].next().unwrap(), None);
    // Kills from then on, without earlier kills.
    assert_eq!(sandbox.events().unwrap().next().unwrap(), None);
}

#[test]
fn events_end_with_the_sandbox() {
    need!(root, controller("memory"));
    let ground = Ground::new();
    let open = || ground.open_with(SMALL);
    let sandbox = open();
    let before = sandbox.events().unwrap();
    sandbox.reset().unwrap();
    let after = sandbox.events().unwrap();
    assert_eq!(next(&before), Event::Gone);
    assert_eq!(after.next().unwrap(), None);
    sandbox.close().unwrap();
    for events in [&before, &after, &after] {
        assert!(is_readable(events, Duration::ZERO));
        assert_eq!(events.next().unwrap(), Some(Event::Gone));
    }
    let error = sandbox.events().unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid, "{error}");
    let sandbox = open();
    let events = sandbox.events().unwrap();
    drop(sandbox);
    assert_eq!(next(&events), Event::Gone);
    let sandbox = open();
    let events = sandbox.events().unwrap();
    kill_init(&sandbox);
    assert_eq!(next(&events), Event::Gone);
}

#[test]
fn events_that_nothing_counts_are_refused_with_a_cure() {
    let (ground, sandbox) = open_default();
    let error = sandbox.events().unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported, "{error}");
    assert_eq!(error.cure(), Some("open with limits.memory"), "{error}");
    need!(root, controller("memory"));
    let sandbox = ground.open_with(SMALL);
    assert_eq!(sandbox.events().unwrap().next().unwrap(), None);
}

#[test]
fn events_belong_to_the_process_that_asked_for_them() {
    need!(root, controller("memory"));
    let ground = Ground::new();
    let sandbox = ground.open_with(SMALL);
    let events = sandbox.events().unwrap();
    run(&sandbox, hungry());
    holds_in_a_fork((), |()| {
        events.next().is_err_and(|e| e.kind() == Kind::Invalid)
    });
    assert_eq!(next(&events), Event::OomKills(1));
}
