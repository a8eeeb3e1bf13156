// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sandboxes made ahead: each is used once, by any number of takers at a time.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use tare::{Kind, Pool, PoolSize};

use crate::harness::settle::await_that;
use crate::harness::{Ground, line};

/// Waits until so many are ready.
#[track_caller]
fn await_ready(pool: &Pool, count: usize) {
    await_that(&format!("not {count} are ready"), || pool.ready() == count);
}

fn pool(ground: &Ground, min: usize, max: usize) -> Pool {
    Pool::open(&ground.store, &ground.spec(), PoolSize { min, max }).unwrap()
}

#[test]
fn pool_is_full_again_when_what_was_taken_is_closed() {
    let ground = Ground::new();
    let pool = pool(&ground, 3, 3);
    for _ in 0..5 {
        await_ready(&pool, 3);
        let sandbox = pool.take().unwrap();
        assert_eq!(pool.ready(), 2);
        sandbox.close().unwrap();
    }
    for _ in 0..5 {
        await_ready(&pool, 3);
        drop(pool.take().unwrap());
    }
}

#[test]
fn pool_does_not_wait_for_what_is_kept() {
    let ground = Ground::new();
    let pool = pool(&ground, 3, 3);
    let taken: Vec<_> = (0..12)
        .map(|_| {
            await_that("one at most is ready", || pool.ready() >= 2);
            pool.take().unwrap()
        })
        .collect();
    // A taken sandbox is its taker's, independent of the pool.
    pool.close().unwrap();
    drop(pool);
    for sandbox in taken {
        assert_eq!(line(&sandbox, "echo lives"), "lives");
    }
}

#[test]
fn pool_serves_eight_takers_at_once_and_grows() {
    let ground = Ground::new();
    let pool = pool(&ground, 1, 6);
    let together = Barrier::new(8);
    let names: BTreeSet<String> = thread::scope(|scope| {
        let takers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    together.wait();
                    let of_one = |_| {
                        let sandbox = pool.take().unwrap();
                        assert_eq!(line(&sandbox, "ls /tmp | wc -l; touch /tmp/used"), "0");
                        let effective = sandbox.effective().unwrap();
                        assert_eq!(line(&sandbox, "hostname"), effective.hostname);
                        effective.name
                    };
                    (0..4).map(of_one).collect::<Vec<_>>()
                })
            })
            .collect();
        let taken = takers.into_iter().flat_map(|t| t.join().unwrap());
        taken.collect()
    });
    assert_eq!(names.len(), 32);
    // A burst was seen: more wait for the next one.
    await_that("two at most are ready", || pool.ready() >= 3);
}

#[test]
fn pool_shrinks_with_the_demand() {
    let ground = Ground::new();
    let pool = pool(&ground, 1, 4);
    let burst: Vec<_> = (0..6).map(|_| pool.take().unwrap()).collect();
    drop(burst);
    let began = Instant::now();
    let mut ready = usize::MAX;
    while ready > 2 {
        assert!(began.elapsed() < Duration::from_secs(60), "{ready} wait");
        thread::sleep(Duration::from_millis(400));
        drop(pool.take().unwrap());
        thread::sleep(Duration::from_millis(400));
        ready = pool.ready();
    }
}

#[test]
fn pool_tells_what_is_wrong_with_its_spec_when_it_is_opened() {
    let ground = Ground::new();
    let no_file = ground.spec_with(r#"{"mounts": ["/not/there:/w"]}"#);
    let error = Pool::open(&ground.store, &no_file, PoolSize::default()).unwrap_err();
    assert_eq!((error.kind(), error.step()), (Kind::NotFound, "mount"));
    assert!(error.to_string().contains("/not/there"), "{error}");
    let bounds = PoolSize { min: 2, max: 1 };
    let error = Pool::open(&ground.store, &ground.spec(), bounds).unwrap_err();
    assert_eq!((error.kind(), error.step()), (Kind::Invalid, "open pool"));
}

#[test]
fn pool_tells_the_taker_what_no_longer_works() {
    let ground = Ground::new();
    let source = ground.dir("source");
    let json = format!(r#"{{"mounts": ["{}:/w"]}}"#, source.display());
    let size = PoolSize { min: 1, max: 1 };
    let pool = Pool::open(&ground.store, &ground.spec_with(&json), size).unwrap();
    std::fs::remove_dir(&source).unwrap();
    // The earlier sandbox still has the limit.
    drop(pool.take().unwrap());
    let error = pool.take().unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound, "{error}");
    std::fs::create_dir(&source).unwrap();
    assert_eq!(line(&pool.take().unwrap(), "ls /w | wc -l"), "0");
}
