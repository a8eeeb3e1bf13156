// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cures of commands with limits and capabilities of their own.

use serde_json::json;
use tare::spec::Rlimit;

use super::cure;
use crate::harness::{Ground, open_default, sh, text};

#[test]
fn command_with_a_limit_of_the_sandbox_has_it() {
    let ground = Ground::new();
    let limit: Rlimit = "1000".parse().unwrap();
    let sandbox = ground.open();
    let error = sandbox.run(sh("true").rlimit("locks", limit)).unwrap_err();
    let key = cure(&error);
    assert_eq!(
        key.strip_suffix(" of the sandbox's spec"),
        Some("limits.rlimits")
    );
    let sandbox = ground.open_with(r#"{"limits": {"rlimits": {"locks": 1000}}}"#);
    let shown = text(&sandbox, sh("grep locks /proc/self/limits"));
    assert_eq!(shown.split_whitespace().nth(4), Some("1000"), "{shown}");
}

/// No process has a limit of descriptors above `fs.nr_open`, proc_sys_fs(5).
#[test]
fn command_with_a_limit_as_its_error_has_it_runs() {
    let (_ground, sandbox) = open_default();
    let with = |hard: &str| sh("ulimit -Hn").rlimit("nofile", hard.parse().unwrap());
    let cure = cure(&sandbox.run(with("unlimited")).unwrap_err());
    let most = cure.strip_prefix("nofile of at most ").unwrap();
    let (most, _) = most.split_once(", this process's own").unwrap();
    assert_eq!(text(&sandbox, with(most)), format!("{most}\n"));
}

/// The list in a cure.
fn names(cure: &str) -> serde_json::Value {
    let list = cure.strip_prefix("security.cap_add ").unwrap();
    let (list, _) = list.split_once(']').unwrap();
    serde_json::from_str(&format!("{list}]")).unwrap()
}

#[test]
fn command_of_a_sandbox_with_a_capability_adds_it() {
    let ground = Ground::new();
    let facts = "grep CapEff /proc/self/status | cut -f 2";
    let command = || {
        sh(facts)
            .cap_drop("ALL")
            .cap_add("NET_ADMIN")
            .cap_add("BPF")
    };
    let error = ground.open().run(command()).unwrap_err();
    let more = json!({"security": {"cap_add": names(&cure(&error))}});
    let sandbox = ground.open_with(&more.to_string());
    assert_eq!(text(&sandbox, command()), "0000008000001000\n");
}

#[test]
fn command_of_a_sandbox_that_can_drop_drops() {
    let ground = Ground::new();
    let security = json!({"profile": "strict", "cap_add": ["KILL"], "no_new_privs": false});
    let facts = "grep CapEff /proc/self/status | cut -f 2";
    let command = || sh(facts).cap_drop("KILL");
    let error = ground
        .open_with(&json!({"security": security}).to_string())
        .run(command())
        .unwrap_err();
    let cure = cure(&error);
    assert!(cure.contains(" or no_new_privs true "), "{cure}");
    let mut more = security.clone();
    let added = names(&cure).as_array().unwrap().clone();
    more["cap_add"].as_array_mut().unwrap().extend(added);
    let mut without = security;
    without["no_new_privs"] = json!(true);
    for (security, left) in [(more, "100"), (without, "000")] {
        let sandbox = ground.open_with(&json!({"security": security}).to_string());
        assert_eq!(text(&sandbox, command()), format!("0000000000000{left}\n"));
    }
}
