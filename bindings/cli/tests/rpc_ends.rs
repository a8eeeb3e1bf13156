// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ends `tare rpc`: by the end of input, of output, or by a signal; no process
//! is left.

mod common;

use std::time::Duration;

use common::rpc::{Rpc, none};
use common::{Tare, everybody};
use serde_json::json;
use tare_oracle::{Host, need};

#[test]
fn rpc_everything_is_closed_at_the_end_of_the_input() {
    need!(root, overlay);
    let _alone = Host::exclusive();
    let tare = Tare::new();
    let before = Host::snapshot_with(&[&tare.store.path().join("scratch")]);
    let mut rpc = Rpc::new(&tare);
    let disk = json!({"sandbox": "a", "spec": {"write": "disk"}});
    rpc.call("open", disk).ok();
    rpc.open("b");
    let ids = ["a", "b"].map(|s| rpc.send_script(s, "echo on; sleep 60", none()));
    for id in ids {
        rpc.until(id, |reply| reply.stdout == b"on\n");
    }
    // Does not begin before the end.
    let late = rpc.send_script("b", "sleep 60", none());
    let (rest, status) = rpc.finish();
    assert_eq!(status, 0);
    for id in [ids[0], ids[1], late] {
        let answers = rest
            .iter()
            .filter(|l| l["id"] == id && l["result"]["reason"] == "killed");
        assert_eq!(answers.count(), 1, "{rest:?}");
    }
    drop(tare);
    before.assert_unchanged(Duration::from_secs(20));
}

#[test]
fn rpc_without_a_reader_of_its_answers_ends() {
    need!(root, overlay);
    let _alone = Host::exclusive();
    let tare = Tare::new();
    let before = Host::snapshot();
    // Silence, a line that cannot be written, and endless output.
    for script in ["sleep 60", "echo x; sleep 60", "yes"] {
        let (sender, lines) = std::sync::mpsc::sync_channel(16);
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let mut rpc = Rpc::start(&tare, move |stdout| {
            std::thread::spawn(move || {
                use std::io::BufRead as _;
                let mut stdout = std::io::BufReader::new(stdout);
                for _ in 0..2 {
                    let mut line = String::new();
                    stdout.read_line(&mut line).unwrap();
                    sender.send(serde_json::from_str(&line).unwrap()).unwrap();
                }
                // The input stays open, the output is closed.
                stopped.recv().unwrap();
            });
            lines
        });
        rpc.open("a");
        let id = rpc.send_script("a", script, none());
        rpc.until(id, |reply| reply.events == ["started"]);
        stop.send(()).unwrap();
        assert_eq!(rpc.child.wait().unwrap().code(), Some(125), "{script}");
    }
    before.assert_unchanged(Duration::from_secs(20));
}

#[test]
fn rpc_killed_leaves_nothing() {
    need!(root, overlay, userns);
    let _alone = Host::exclusive();
    for tare in everybody() {
        let before = Host::snapshot();
        let mut rpc = Rpc::new(&tare);
        rpc.open("a");
        let id = rpc.send_script("a", "echo on; sleep 60", none());
        rpc.until(id, |reply| reply.stdout == b"on\n");
        rpc.child.kill().unwrap();
        rpc.child.wait().unwrap();
        drop(rpc);
        before.assert_unchanged(Duration::from_secs(20));
    }
}
