// SPDX-License-Identifier: MIT OR Apache-2.0
//! Refused requests of `tare rpc`, sent again as their cures say.

use std::fs;

use nix::errno::Errno;
use serde_json::{Value, json};
use tare_oracle::need;

use super::common::Tare;
use super::common::rpc::{Reply, Rpc};

#[track_caller]
fn cure_of(error: &Value) -> String {
    let cure = error["cure"].as_str();
    cure.unwrap_or_else(|| panic!("no cure: {error}"))
        .to_owned()
}

#[track_caller]
fn cure(reply: &Reply) -> String {
    cure_of(&reply.last.as_ref().unwrap()["error"])
}

#[test]
fn request_as_its_refusal_has_it_is_answered() {
    need!(root, overlay);
    let tare = Tare::new();
    let mut rpc = Rpc::new(&tare);
    let word = cure(&rpc.call("opne", json!({"sandbox": "a"})));
    rpc.call(word.trim_matches('"'), json!({"sandbox": "a"}))
        .ok();

    let sleeps = json!({"sandbox": "a", "argv": ["cat"], "timeout": 0});
    let limit = cure(&rpc.call("run", sleeps.clone()));
    assert_eq!(limit, "no timeout, for no limit");
    let mut unlimited = sleeps;
    unlimited.as_object_mut().unwrap().remove("timeout");
    rpc.call("run", unlimited).ok();

    let quiet = rpc.send("run", json!({"sandbox": "a", "argv": ["sleep", "60"]}));
    rpc.until(quiet, |reply| reply.events == ["started"]);
    let refused = rpc.call("stdin", json!({"command": quiet, "data": "x"}));
    let member = cure(&refused);
    let member = member.strip_suffix(" when it is run").unwrap();
    let mut reads: Value = serde_json::from_str(&format!("{{{member}}}")).unwrap();
    reads["sandbox"] = "a".into();
    reads["argv"] = json!(["head", "-c", "1"]);
    let reading = rpc.send("run", reads);
    rpc.call("stdin", json!({"command": reading, "data": "x"}))
        .ok();
    assert_eq!(rpc.answer(reading).out(), "x");

    // The sleeping command waits for its answer.
    let hello = |id: Value| json!({"id": id, "method": "hello"}).to_string();
    rpc.line(&hello(quiet.into()));
    let refused = rpc.next();
    assert_eq!(cure_of(&refused["error"]), "another id");
    // With its id, the error would look like the answer to the other request.
    assert_eq!(
        (&refused["id"], &refused["error"]["kind"]),
        (&Value::Null, &json!("exists"))
    );
    rpc.line(&hello("another".into()));
    assert_eq!(rpc.next()["id"], "another");
    rpc.call("kill", json!({"command": quiet})).ok();
}

#[test]
fn request_in_parts_as_its_refusal_has_it_is_answered() {
    need!(root, overlay);
    let mut rpc = Rpc::in_host();
    let write = |size: usize| json!({"sandbox": "a", "path": "/tmp/f", "data": "x".repeat(size)});
    let too_long = json!({"id": 1_000, "method": "write_file", "params": write(17 << 20)});
    rpc.line(&too_long.to_string());
    let refused = rpc.next();
    assert_eq!(refused["error"]["step"], "read requests");
    assert_eq!(cure_of(&refused["error"]), "several requests");
    for _ in 0..2 {
        rpc.call("write_file", write(1 << 20)).ok();
    }

    let piped = |argv: &[&str]| json!({"sandbox": "a", "argv": argv, "stdin": "pipe"});
    let sleeping = rpc.send("run", piped(&["sleep", "60"]));
    let block = json!({"command": sleeping, "data": "x".repeat(15 << 20)});
    let sent = [(); 3].map(|()| rpc.send("stdin", block.clone()));
    let refused = rpc.answer(sent[2]);
    assert_eq!(refused.error(), ("exhausted", "hold request", Some(11)));
    assert_eq!(cure(&refused), "wait for answers before sending more");
    rpc.call("kill", json!({"command": sleeping})).ok();
    for id in &sent[..2] {
        assert_eq!(rpc.answer(*id).error(), ("broken", "send input", Some(32)));
    }
    let reading = rpc.send("run", piped(&["cat"]));
    for _ in 0..3 {
        let id = rpc.send(
            "stdin",
            json!({"command": reading, "data": "x".repeat(8 << 20)}),
        );
        rpc.answer(id).ok();
    }
    rpc.call("kill", json!({"command": reading})).ok();
}

#[test]
fn file_that_is_too_big_comes_as_its_refusal_has_it() {
    need!(root, overlay);
    let tare = Tare::new();
    let host = tare.tempdir();
    let mut rpc = Rpc::new(&tare);
    rpc.open("a");
    rpc.script("a", "head -c 9437184 /dev/zero >/tmp/big", json!({}))
        .ok();
    for (limit, errno) in [("16m", None), ("8m", Some(Errno::EFBIG as i64))] {
        let read = json!({"sandbox": "a", "path": "/tmp/big", "limit": limit});
        let refused = rpc.call("read_file", read);
        assert_eq!(refused.error().2, errno);
        let method = cure(&refused);
        let local = host.path().join("big");
        let get = json!({"sandbox": "a", "path": "/tmp/big", "local": local});
        rpc.call(method.trim_matches('"'), get).ok();
        assert_eq!(fs::metadata(&local).unwrap().len(), 9 << 20);
    }
}

/// `tare run` uses a second command instead of health checks.
#[test]
fn second_command_in_a_sandbox_looks_after_the_first() {
    need!(root, overlay);
    let mut rpc = Rpc::in_host();
    let serves = rpc.send_script("a", ": >/tmp/healthy; sleep 60", json!({}));
    rpc.until(serves, |reply| reply.events == ["started"]);
    let check = "while ! test -e /tmp/healthy; do :; done; echo healthy";
    assert_eq!(rpc.script("a", check, json!({})).out(), "healthy\n");
    rpc.call("kill", json!({"command": serves})).ok();
}
