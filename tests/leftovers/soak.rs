// SPDX-License-Identifier: MIT OR Apache-2.0
//! Many cycles, and many killed hosts.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use tare::{Command, Sandbox, Size};
use tare_oracle::again::{all_pass_again, this_program};
use tare_oracle::{Host, need, ordinary_user};

use crate::child;
use crate::harness::{Ground, run, sh};
use crate::{SOON, assert_rested, assert_swept, at_rest, helper_of};

/// Ways to open, use and end a sandbox, some of them failing.
fn cycle(ground: &Ground, n: usize) {
    let json = match n % 10 {
        0 => r#"{"write": "disk"}"#,
        1 => r#"{"storage": "copy"}"#,
        2 => r#"{"write": "none", "mounts": [{"type": "tmpfs", "target": "/t"}]}"#,
        3 => {
            // A mount point that is a file: fails in the middle of the start.
            let mounts = r#"[{"type": "tmpfs", "target": "/etc/passwd/x"}]"#;
            let json = format!(r#"{{"mounts": {mounts}, "write": "disk"}}"#);
            Sandbox::open(&ground.store, &ground.spec_with(&json)).unwrap_err();
            return;
        }
        _ => "{}",
    };
    let sandbox = ground.open_with(json);
    let size = Size {
        rows: 1,
        columns: 1,
    };
    match n % 7 {
        0 => drop(run(&sandbox, sh("true").timeout(SOON))),
        1 => drop(run(&sandbox, sh("tty").tty(size))),
        2 => drop(sandbox.spawn(Command::new("no-such-program")).unwrap_err()),
        3 => drop(run(&sandbox, sh("sleep 60 >&- 2>&- &").timeout(SOON))),
        4 => drop(sandbox.spawn(sh("sleep 60")).unwrap()),
        5 => sandbox.reset().unwrap(),
        _ => drop(run(&sandbox, sh("echo x >/tmp/x; cat /tmp/x"))),
    }
    match n % 3 {
        0 => drop(sandbox),
        _ => sandbox.close().unwrap(),
    }
}

/// Memory in KiB and number of descriptors of a helper. Ordinary users may not
/// list those; they see the size of the helper's descriptor table.
fn size(pid: i32) -> (usize, usize) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| -> usize {
        let value = status.lines().find_map(|l| l.strip_prefix(name)).unwrap();
        value.split_whitespace().next().unwrap().parse().unwrap()
    };
    let listed = fs::read_dir(format!("/proc/{pid}/fd"));
    let descriptors = listed.map_or_else(|_| field("FDSize:"), Iterator::count);
    (field("VmRSS:"), descriptors)
}

/// The number of keys of this user, in `/proc/key-users`.
fn keys() -> usize {
    let own = format!("{}:", nix::unistd::geteuid());
    let users = fs::read_to_string("/proc/key-users").unwrap();
    let mut fields = users.lines().map(str::split_whitespace);
    let mut user = fields.find(|f| f.clone().next() == Some(&own));
    let count = user.as_mut().and_then(|f| f.nth(2)?.split('/').next());
    count.map_or(0, |n| n.parse().unwrap())
}

/// Does every part of a cycle once, so that state of the whole process exists.
fn warm(ground: &Ground) -> i32 {
    for n in 0..30 {
        cycle(ground, n);
    }
    let sandbox = ground.open();
    let helper = helper_of(&sandbox);
    sandbox.close().unwrap();
    helper
}

#[test]
fn cycles_a_thousand_end_where_they_began() {
    let _alone = Host::exclusive();
    let ground = Ground::new();
    let helper = warm(&ground);
    let before = at_rest(&ground);
    thread::sleep(Duration::from_millis(100));
    let (small, few) = (size(helper), keys());
    let began = Instant::now();
    for n in 0..1000 {
        cycle(&ground, n);
    }
    let took = began.elapsed();
    assert_rested(&before, &ground);
    let ended = Instant::now();
    // The helper reports a sandbox's end before closing the socket of the
    // report.
    while size(helper).1 > small.1 && ended.elapsed() < SOON {
        thread::sleep(Duration::from_millis(10));
    }
    let big = size(helper);
    // The kernel collects keys at its leisure, and root sees other hosts' keys.
    while keys() > few + 50 {
        assert!(ended.elapsed() < SOON, "{} keys, not {few}", keys());
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(small.1, big.1, "descriptors of the helper");
    assert!(
        big.0 <= small.0 + 256,
        "memory of the helper: {small:?}, {big:?} KiB"
    );
    println!("1000 cycles in {took:?}; helper {small:?}, then {big:?}");
}

#[test]
fn cycles_from_many_threads_end_where_they_began() {
    let _alone = Host::exclusive();
    let ground = Ground::new();
    warm(&ground);
    let before = at_rest(&ground);
    thread::scope(|scope| {
        for t in 0..8 {
            let ground = &ground;
            scope.spawn(move || {
                for n in 0..20 {
                    cycle(ground, n * 8 + t);
                }
            });
        }
    });
    assert_rested(&before, &ground);
}

#[test]
fn hosts_a_hundred_killed_at_random_leave_nothing() {
    let _alone = Host::exclusive();
    let ground = Ground::new();
    warm(&ground);
    let before = at_rest(&ground);
    let began = Instant::now();
    for (n, moment) in (0..100).zip(child::moments()) {
        let mut host = child::start(&ground, "loop");
        if n % 2 == 1 {
            // Half of them somewhere in their work, the others perhaps before
            // it.
            child::await_begun(&ground, &mut host);
        }
        thread::sleep(moment);
        host.kill().unwrap();
        host.wait().unwrap();
    }
    let took = began.elapsed();
    // First the helpers' own cleaning; then that of the store's next open.
    let left = before.settle(Duration::from_secs(2));
    assert_swept(&before, &ground.store);
    println!("100 hosts in {took:?}; left to be swept: {left:?}");
}

/// All of this again as an ordinary user, one at a time on one machine.
#[test]
fn ordinary_users_leave_nothing() {
    need!(callers);
    let _alone = Host::exclusive();
    let lock = fs::File::create("/run/tare-tests-leftovers.lock").unwrap();
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).unwrap();
    for subids in [false, true] {
        all_pass_again(&mut ordinary_user(subids).command(this_program()), 1);
    }
}
