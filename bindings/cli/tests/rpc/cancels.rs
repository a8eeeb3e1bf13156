// SPDX-License-Identifier: MIT OR Apache-2.0
//! Requests of `tare rpc` that call another request off.

use std::io::Write as _;

use serde_json::json;
use tare_oracle::{image, need};

use super::common::rpc::Rpc;
use super::common::{Tare, everybody};

/// Kind, step and errno in the answer to a request that was called off.
const CALLED_OFF: (&str, &str, Option<i64>) = ("os", "wait for request", Some(125));

#[test]
fn rpc_cancel_ends_the_wait_for_a_command_that_runs_on() {
    need!(root, overlay, userns);
    for tare in everybody() {
        let mut rpc = Rpc::new(&tare);
        rpc.open("a");
        let script = "read x; yes | head -c 1000000; echo $x >/tmp/seen; read x";
        let more = json!({"stdin": "pipe", "output_limit": "1k"});
        let run = rpc.send_script("a", script, more);
        rpc.until(run, |reply| reply.events == ["started"]);
        rpc.call("cancel", json!({"request": run})).ok();
        let reply = rpc.answer(run);
        assert_eq!(reply.error(), CALLED_OFF);
        // Output is dropped and not counted; the id stays the command's name.
        rpc.call("stdin", json!({"command": run, "data": "told\n"}))
            .ok();
        let wait = "until [ -s /tmp/seen ]; do sleep 0.01; done; cat /tmp/seen";
        assert_eq!(rpc.script("a", wait, json!({})).out(), "told\n");
        rpc.line(&json!({"id": run, "method": "hello"}).to_string());
        assert_eq!(rpc.next()["error"]["kind"], "exists");
        rpc.call("kill", json!({"command": run})).ok();
        rpc.call("close", json!({"sandbox": "a"})).ok();
        assert_eq!(rpc.finish(), (vec![], 0));
        assert_eq!(tare.scratch(), 0);
    }
}

#[test]
fn rpc_cancel_of_what_has_not_begun_leaves_it_undone() {
    need!(root, overlay);
    let tare = Tare::new();
    let mut rpc = Rpc::new(&tare);
    rpc.open("a");
    let pipe = tare.tempdir();
    let fifo = pipe.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let put = json!({"sandbox": "a", "dir": "/tmp", "archive": fifo});
    let put = rpc.send("put_tar", put);
    // Opening returns once the worker has opened the pipe too, and so has
    // begun. The worker then waits for an archive.
    let mut archive = std::fs::File::options().write(true).open(&fifo).unwrap();
    let run = rpc.send_script("a", "echo x >/tmp/made", json!({"stdin": "pipe"}));
    let stdin = rpc.send("stdin", json!({"command": run, "data": "x", "eof": true}));
    let signal = rpc.send("signal", json!({"command": run, "signal": "TERM"}));
    for request in [signal, stdin] {
        rpc.call("cancel", json!({"request": request})).ok();
        assert_eq!(rpc.answer(request).error(), CALLED_OFF);
    }
    // Input may end again.
    let stdin = rpc.send("stdin", json!({"command": run, "eof": true}));
    rpc.call("cancel", json!({"request": run})).ok();
    assert_eq!(rpc.answer(run).error(), CALLED_OFF);
    assert_eq!(
        rpc.answer(stdin).error(),
        ("broken", "send input", Some(32))
    );
    let busy = rpc.call("cancel", json!({"request": put}));
    assert_eq!(busy.error(), ("busy", "cancel request", None));
    archive.write_all(&[0; 1024]).unwrap();
    drop(archive);
    rpc.answer(put).ok();
    let script = "test -e /tmp/made || echo undone";
    assert_eq!(rpc.script("a", script, json!({})).out(), "undone\n");
    for gone in [json!(run), json!(put), json!(999), json!("x")] {
        let reply = rpc.call("cancel", json!({"request": gone}));
        assert_eq!(reply.error(), ("not_found", "find request", Some(3)));
    }
}

#[test]
fn rpc_cancel_stops_an_import() {
    need!(root, overlay, image("debian"));
    for tare in everybody() {
        let mut rpc = Rpc::new(&tare);
        let spec = json!({"image": format!("oci:{}", image("debian").display())});
        let open = rpc.send("open", json!({"sandbox": "a", "spec": spec}));
        rpc.call("cancel", json!({"request": open})).ok();
        let reply = rpc.answer(open);
        let (kind, _, errno) = reply.error();
        assert_eq!((kind, errno), ("os", Some(125)), "{reply:?}");
        assert_eq!(tare.scratch(), 0);
        // The name is free.
        rpc.open("a");
        assert_eq!(rpc.script("a", "echo fine", json!({})).out(), "fine\n");
    }
}

#[test]
fn rpc_cancel_ends_a_watch() {
    need!(root, overlay, controller("memory"));
    let tare = Tare::new();
    let mut rpc = Rpc::new(&tare);
    let spec = json!({"limits": {"memory": "64m"}});
    rpc.call("open", json!({"sandbox": "a", "spec": spec})).ok();
    let watches = [0, 1].map(|_| rpc.send("watch", json!({"sandbox": "a"})));
    for watch in watches {
        rpc.until(watch, |reply| reply.events == ["watching"]);
    }
    rpc.call("cancel", json!({"request": watches[0]})).ok();
    assert_eq!(rpc.answer(watches[0]).error(), CALLED_OFF);
    rpc.call("close", json!({"sandbox": "a"})).ok();
    rpc.answer(watches[1]).ok();
    assert_eq!(rpc.finish(), (vec![], 0));
}
