// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pools over the protocol: each sandbox is used once, and every request is
//! answered once.

use serde_json::json;
use tare_oracle::need;

use super::common::rpc::{Rpc, none};
use super::common::{Tare, everybody};

const CLEAN: &str = "ls /dev/shm; echo >/dev/shm/used";

#[test]
fn rpc_pool_gives_only_fresh_sandboxes() {
    need!(root, overlay, userns);
    for tare in everybody() {
        let mut rpc = Rpc::new(&tare);
        // Sent together: a request for a sandbox waits until the pool is open.
        let pool = json!({"pool": "p", "spec": {"image": "host"}, "min": 1, "max": 4});
        let opened = rpc.send("open_pool", pool);
        let taken: Vec<u64> = (0..4)
            .map(|n| rpc.send("open", json!({"sandbox": format!("s{n}"), "pool": "p"})))
            .collect();
        rpc.answer(opened).ok();
        for (n, id) in taken.into_iter().enumerate() {
            rpc.answer(id).ok();
            let name = format!("s{n}");
            assert_eq!(rpc.script(&name, CLEAN, none()).out(), "");
            assert_ne!(rpc.script(&name, CLEAN, none()).out(), "");
            rpc.call("close", json!({"sandbox": name})).ok();
        }
        rpc.call("open", json!({"sandbox": "kept", "pool": "p"}))
            .ok();
        rpc.call("close_pool", json!({"pool": "p"})).ok();
        assert_eq!(rpc.script("kept", CLEAN, none()).out(), "");
        let refused = rpc.call("open", json!({"sandbox": "late", "pool": "p"}));
        assert_eq!(refused.error().0, "not_found");
        // The name is free again.
        rpc.call("open_pool", json!({"pool": "p", "min": 0})).ok();
    }
}

#[test]
fn rpc_pool_that_cannot_be_is_refused_and_its_name_stays_free() {
    need!(root, overlay);
    let tare = Tare::new();
    let mut rpc = Rpc::new(&tare);
    let bad = json!({"pool": "p", "spec": {"image": "dir:/not/there"}});
    let opened = rpc.send("open_pool", bad);
    let taken = rpc.send("open", json!({"sandbox": "a", "pool": "p"}));
    let closed = rpc.send("close_pool", json!({"pool": "p"}));
    let again = rpc.send("open_pool", json!({"pool": "p"}));
    assert_eq!(rpc.answer(opened).error().0, "not_found");
    assert_eq!(rpc.answer(taken).error().0, "not_found");
    assert_eq!(rpc.answer(closed).error().0, "not_found");
    rpc.answer(again).ok();
    rpc.call("open", json!({"sandbox": "a", "pool": "p"})).ok();
}
