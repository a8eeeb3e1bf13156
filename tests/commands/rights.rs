// SPDX-License-Identifier: MIT OR Apache-2.0
//! Limits, capabilities and umask of a single command. tests/faces/cases.txt
//! has their values.

use std::fs;
use std::time::Duration;

use tare::spec::Rlimit;
use tare::{Kind, Reason, Size};

use crate::harness::{Ground, line, open_default, sh, text};

/// Returns whether this process may raise hard limits for a command: in the
/// machine's own user namespace, with CAP_SYS_RESOURCE.
fn raises_limits(ids: &str) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let own = status.lines().find_map(|l| l.strip_prefix("CapEff:\t"));
    ids == "host" && u64::from_str_radix(own.unwrap(), 16).unwrap() & 1 << 24 != 0
}

/// Returns this process's own hard limit of real-time priorities.
fn own_limit() -> u64 {
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let row = limits
        .lines()
        .find(|l| l.starts_with("Max realtime priority"));
    let hard = row.unwrap().split_whitespace().nth(4).unwrap();
    hard.parse().unwrap()
}

#[test]
fn rlimit_above_the_callers_hard_limit_takes_a_capability() {
    let (_ground, sandbox) = open_default();
    let hard = own_limit() + 1;
    let above = || sh("ulimit -Hr").rlimit("rtprio", Rlimit { soft: 0, hard });
    if raises_limits(&sandbox.effective().unwrap().ids) {
        assert_eq!(text(&sandbox, above()), format!("{hard}\n"));
    } else {
        // A start with a wait, and a start without.
        for error in [
            sandbox.spawn(above()).unwrap_err(),
            sandbox.run(above()).unwrap_err(),
        ] {
            assert_eq!(
                (error.kind(), error.errno(), error.step(), error.subject()),
                (
                    Kind::Permission,
                    Some(libc::EPERM),
                    "set resource limits",
                    "rtprio"
                )
            );
        }
    }
    assert_eq!(line(&sandbox, "ulimit -Hr"), own_limit().to_string());
}

/// Starts that go other ways than most: with a terminal, with a time limit, and
/// as another user.
#[test]
fn rights_hold_in_each_way_of_starting() {
    let (_ground, sandbox) = open_default();
    let facts = "umask; ulimit -n; grep CapEff /proc/self/status | cut -f 2";
    let command = || {
        sh(facts)
            .umask(0o027)
            .rlimit("nofile", "77".parse().unwrap())
            .cap_drop("ALL")
            .cap_add("CHOWN")
    };
    let seen = "0027\n77\n0000000000000001\n";
    let size = Size {
        rows: 1,
        columns: 1,
    };
    for _ in 0..2 {
        assert_eq!(text(&sandbox, command()), seen);
        let late = sandbox
            .run(command().timeout(Duration::from_secs(60)))
            .unwrap();
        assert_eq!(
            (late.status.reason, &late.stdout[..]),
            (Reason::Exited, seen.as_bytes())
        );
        let shown = text(&sandbox, command().tty(size));
        assert_eq!(shown.replace('\r', ""), seen);
    }
    assert!(text(&sandbox, sh(facts)).starts_with("0022\n"));
}

/// Without `no_new_privs`, a program with set-user-id bit gives user 0 the
/// bounding set.
#[test]
fn capability_that_was_dropped_is_gained_by_no_program() {
    let ground = Ground::new();
    let sandbox = ground.open_with(r#"{"security": {"no_new_privs": false}}"#);
    let bounding = "grep CapBnd /proc/self/status | cut -f 2";
    let command = sh(bounding).cap_drop("ALL").cap_add("SETUID");
    assert_eq!(text(&sandbox, command), "0000000000000080\n");
    assert_eq!(line(&sandbox, bounding), "00000000a80425fb");
    if sandbox.effective().unwrap().ids != "single" {
        let command = sh(bounding).cap_drop("ALL").user("alice");
        assert_eq!(text(&sandbox, command), "0000000000000000\n");
    }
}
