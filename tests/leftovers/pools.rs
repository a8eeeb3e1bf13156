// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pools: waiting sandboxes end with the pool, with its helper, and with the
//! host.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tare::{Pool, PoolSize, Store};
use tare_oracle::Host;

use crate::harness::{Ground, line};
use crate::{assert_rested, assert_swept, at_rest, await_end, children, helper_of, is_empty};

const SIZE: PoolSize = PoolSize { min: 4, max: 4 };

fn pool(ground: &Ground, store: &Store) -> Pool {
    let spec = ground.spec_with(r#"{"write": "disk"}"#);
    Pool::open(store, &spec, SIZE).unwrap()
}

#[test]
fn pool_closed_or_dropped_leaves_nothing() {
    let _alone = Host::exclusive();
    let ground = Ground::new();
    for close in [true, false] {
        let store = Store::open(&ground.path("store")).unwrap();
        let before = at_rest(&ground);
        let pool = pool(&ground, &store);
        pool.take().unwrap().close().unwrap();
        if close {
            pool.close().unwrap();
            assert!(is_empty(&ground.scratch()));
        }
        drop((pool, store));
        assert_rested(&before, &ground);
    }
}

#[test]
fn pool_adds_no_thread_to_the_host() {
    let _alone = Host::exclusive();
    let ground = Ground::new();
    let before = Host::snapshot();
    let pool = pool(&ground, &ground.store);
    let taken = pool.take().unwrap();
    let added = before.diff(&before.again());
    let is_thread = |line: &String| line.starts_with("+ thread");
    assert!(!added.iter().any(is_thread), "{added:?}");
    drop((taken, pool));
}

#[test]
fn pool_outlives_its_helper() {
    let _alone = Host::exclusive();
    let ground = Ground::new();
    let before = at_rest(&ground);
    let pool = pool(&ground, &ground.store);
    let taken = pool.take().unwrap();
    let helper = helper_of(&taken);
    let inits = children(helper, "tare-init");
    kill(Pid::from_raw(helper), Signal::SIGKILL).unwrap();
    await_end(helper);
    // Until the waiting sandboxes have died, too, they can be taken.
    inits.into_iter().for_each(await_end);
    for _ in 0..2 * SIZE.max {
        let fresh = pool.take().unwrap();
        assert_eq!(line(&fresh, "echo works"), "works");
        assert_ne!(helper_of(&fresh), helper);
    }
    pool.close().unwrap();
    drop((taken, pool));
    let next = ground.without_helper();
    assert_swept(&before, &next.store);
    assert!(is_empty(&next.scratch()));
}
