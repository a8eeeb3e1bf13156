// SPDX-License-Identifier: MIT OR Apache-2.0
//! Refusals of `tare rpc`, with their words.

mod common;

use common::Tare;
use common::rpc::Rpc;
use serde_json::{Value, json};
use tare_oracle::need;

fn none() -> Value {
    json!({})
}

/// Method and parameters, then kind, step and errno of the refusal. SLEEPING is
/// a running command, in the only sandbox.
const WRONG: &str = r#"
hello {"protocol": 2} => unsupported; greet
open {"sandbox": "a"} => exists; check request: sandbox
open {"sandbox": ""} => invalid; check request: sandbox
open {"sandbox": "LONG"} => invalid; check request: sandbox
open {"sandbox": "b", "spec": {"limits": {"memroy": 1}}} => invalid; parse spec: limits.memroy
open ["b"] => invalid; parse open request
open {"sandbox": "b", "spec": ["host"]} => invalid; parse spec
open {"sandbox": "b", "spec": {"image": "dir:/none"}} => not_found; open image; 2
run {"sandbox": "b", "argv": ["true"]} => not_found; find sandbox
run {"sandbox": "a"} => invalid; find command
run {"sandbox": "a", "argv": []} => invalid; check command: argv
run {"sandbox": "a", "argv": ["a"], "cwd": "x"} => invalid; check command: cwd
run {"sandbox": "a", "argv": ["true"], "timeout": 0} => invalid; parse run request: timeout
run {"sandbox": "a", "argv": ["true"], "timeout": "0s"} => invalid; parse run request: timeout
run {"sandbox": "a", "argv": ["true"], "umask": "1000"} => invalid; check command: umask
run {"sandbox": "a", "argv": ["true"], "umask": "9"} => invalid; parse run request: umask
run {"sandbox": "a", "argv": ["true"], "rlimits": {"nofile": "2:1"}} => invalid; check command: rlimits
run {"sandbox": "a", "argv": ["true"], "cap_add": ["BPF"]} => invalid; check command: cap_add
run {"sandbox": "a", "argv": ["nope"]} => not_found; execute; 2
run {"sandbox": "a", "argv": ["/etc/passwd"]} => permission; execute; 13
run {"sandbox": "a", "argv": ["cat"], "input": "", "stdin": "pipe"} => invalid; check command: stdin
stdin {"command": SLEEPING, "data": "x"} => invalid; send input
stdin {"command": 999, "data": "x"} => not_found; find command; 3
kill {"command": "x"} => not_found; find command; 3
resize {"command": SLEEPING, "rows": 1, "columns": 1} => invalid; resize terminal
close {"sandbox": "b"} => not_found; find sandbox
"#;

#[test]
fn rpc_wrong_requests_are_refused_and_nothing_else_happens() {
    need!(root, overlay);
    let tare = Tare::new();
    let mut rpc = Rpc::new(&tare);
    rpc.open("a");
    let sleeping = rpc.send_script("a", "sleep 60", none());
    rpc.until(sleeping, |reply| reply.events == ["started"]);
    let table = WRONG.replace("LONG", &"x".repeat(257));
    let table = table.replace("SLEEPING", &sleeping.to_string());
    let rows = table.lines().filter(|line| !line.is_empty());
    for row in rows {
        let (request, refusal) = row.split_once(" => ").unwrap();
        let (method, params) = request.split_once(' ').unwrap();
        let refusal: Vec<&str> = refusal.split("; ").collect();
        let errno = refusal.get(2).map(|number| number.parse().unwrap());
        let reply = rpc.call(method, serde_json::from_str(params).unwrap());
        assert_eq!(reply.error(), (refusal[0], refusal[1], errno), "{row}");
        assert!(reply.events.is_empty(), "{row}");
    }
    rpc.line("no json");
    assert_eq!(rpc.next()["id"], Value::Null);
    // A second request with the id of an unanswered request.
    rpc.line(&json!({"id": sleeping, "method": "hello"}).to_string());
    let line = rpc.next();
    assert_eq!(
        (&line["id"], &line["error"]["kind"]),
        (&Value::Null, &json!("exists"))
    );
    rpc.call("kill", json!({"command": sleeping})).ok();
    assert_eq!(rpc.answer(sleeping).ok()["reason"], "killed");
    assert_eq!(rpc.script("a", "echo fine", none()).out(), "fine\n");
}

#[test]
fn rpc_too_much_at_once_is_refused_not_kept() {
    need!(root, overlay);
    let tare = Tare::new();
    let mut rpc = Rpc::new(&tare);
    rpc.open("a");
    let id = rpc.send(
        "run",
        json!({"sandbox": "a", "argv": ["sleep", "60"], "stdin": "pipe"}),
    );
    let block = "x".repeat(15 << 20);
    let sent: Vec<u64> = (0..3)
        .map(|_| rpc.send("stdin", json!({"command": id, "data": block})))
        .collect();
    assert_eq!(
        rpc.answer(sent[2]).error(),
        ("exhausted", "hold request", Some(11))
    );
    rpc.line(&format!(
        "{{\"id\": 1, \"method\": \"{}\"}}",
        "x".repeat(17 << 20)
    ));
    let line = rpc.next();
    assert_eq!(line["error"]["step"], "read requests", "{line}");
    rpc.call("kill", json!({"command": id})).ok();
    for id in &sent[..2] {
        assert_eq!(rpc.answer(*id).error(), ("broken", "send input", Some(32)));
    }
    assert_eq!(rpc.script("a", "echo fine", none()).out(), "fine\n");
}
