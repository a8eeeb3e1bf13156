// SPDX-License-Identifier: MIT OR Apache-2.0
//! A sandbox as a whole: stopped and let go on, measured, limited anew. Each
//! cure is followed.

use std::time::Duration;

use tare::spec::Limits;
use tare::{Command, Kind, Reason};
use tare_oracle::need;

use crate::harness::{Ground, open_default};

#[test]
fn control_of_a_frozen_sandbox_waits_for_the_thaw() {
    need!(root, cgroup_v2);
    let (_ground, sandbox) = open_default();
    let sleep = sandbox.spawn(Command::from_argv(["sleep", "60"])).unwrap();
    sandbox.freeze().unwrap();
    let files = sandbox.files();
    let errors = [
        sandbox.run(Command::new("true")).unwrap_err(),
        sandbox.spawn(Command::new("true")).unwrap_err(),
        files.read("/etc/passwd").unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), Kind::Busy, "{error}");
        assert_eq!(error.cure(), Some("thaw it"), "{error}");
    }
    // Commands that must end do so at the thaw.
    sleep.kill().unwrap();
    assert_eq!(sleep.wait_timeout(Duration::from_millis(50)).unwrap(), None);
    sandbox.thaw().unwrap();
    assert_eq!(sleep.wait().unwrap().reason, Reason::Killed);
    assert!(sandbox.run(Command::new("true")).unwrap().status.success());
    files.read("/etc/passwd").unwrap();
}

#[test]
fn control_of_limits_follows_its_errors() {
    need!(root, controller("cpu"));
    let ground = Ground::new();
    let limits = |json: &str| Limits::from_json(json).unwrap();
    let sandbox = ground.open_with(r#"{"limits": {"pids": 50}}"#);
    let error = sandbox.set_limits(&limits(r#"{"pids": 60, "disk": "1m"}"#));
    let error = error.unwrap_err();
    assert_eq!(error.cure(), Some("leave out the other limits"), "{error}");
    sandbox.set_limits(&limits(r#"{"pids": 60}"#)).unwrap();
    let cpus = limits(r#"{"cpus": 0.5}"#);
    let error = sandbox.set_limits(&cpus).unwrap_err();
    assert_eq!(error.cure(), Some("open with limits.cpus"), "{error}");
    let sandbox = ground.open_with(r#"{"limits": {"cpus": 1}}"#);
    sandbox.set_limits(&cpus).unwrap();
    let shown = serde_json::to_value(sandbox.effective().unwrap()).unwrap();
    let quota = shown["cgroup"]["limits"][0]["value"].as_str().unwrap();
    assert!(quota.starts_with("50000"), "{shown}");
    // A reset is as the spec says.
    sandbox.reset().unwrap();
    let shown = serde_json::to_value(sandbox.effective().unwrap()).unwrap();
    let quota = shown["cgroup"]["limits"][0]["value"].as_str().unwrap();
    assert!(quota.starts_with("100000"), "{shown}");
}
