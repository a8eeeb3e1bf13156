// SPDX-License-Identifier: MIT OR Apache-2.0
//! Requests of `tare rpc`, and their answers.

use std::fs;

use serde_json::json;
use tare_oracle::need;

use super::common::rpc::{Row, Rpc, none};
use super::common::{everybody, rows};

#[test]
fn rpc_requests_are_answered_as_the_table_has_it() {
    need!(root, overlay, userns);
    for tare in everybody() {
        let mut rpc = Rpc::new(&tare);
        rpc.open("a");
        let sleeping = rpc.send_script("a", "sleep 60", none());
        rpc.until(sleeping, |reply| reply.events == ["started"]);
        let host = tare.tempdir();
        fs::write(host.path().join("file"), "x").unwrap();
        let table = include_str!("requests.txt")
            .replace("LONG", &"x".repeat(257))
            .replace("SLEEPING", &sleeping.to_string())
            .replace("HOST", host.path().to_str().unwrap());
        for row in rows(&table) {
            if tare.is_root() || !Row::new(row).of_root {
                rpc.check(row);
            }
        }
        // No partial file stays.
        let names = fs::read_dir(host.path()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert!({ names }.all(|name| ["file", "all.tar"].contains(&&*name)));
        rpc.call("kill", json!({"command": sleeping})).ok();
        assert_eq!(rpc.answer(sleeping).ok()["reason"], "killed");
        assert_eq!(rpc.finish(), (vec![], 0));
    }
}
