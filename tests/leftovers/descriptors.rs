// SPDX-License-Identifier: MIT OR Apache-2.0
//! A host that runs out of descriptors at every step.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tare::{Kind, Size};
use tare_oracle::Host;

use crate::harness::{Ground, run, sh};
use crate::{SOON, assert_rested, assert_swept, at_rest, opened_before};

/// Runs the work while every new descriptor must be below `limit`.
fn with_limit<T>(limit: u64, body: impl FnOnce() -> T) -> T {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, limit, hard).unwrap();
    let result = body();
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    result
}

#[test]
fn descriptors_that_run_out_are_told_and_nothing_is_left() {
    let (_alone, ground, before) = opened_before();
    for json in ["{}", r#"{"write": "disk"}"#] {
        let spec = ground.spec_with(json);
        let open = |limit| with_limit(limit, || tare::Sandbox::open(&ground.store, &spec));
        let mut refused = 0;
        let enough = (0..100).find(|limit| match open(*limit) {
            Ok(sandbox) => {
                sandbox.close().unwrap();
                true
            }
            Err(error) => {
                assert_eq!(error.kind(), Kind::Exhausted, "{limit}: {error}");
                refused += 1;
                // Removing needs descriptors, too; the next open of the store
                // removes the rest.
                assert_swept(&before, &ground.store);
                false
            }
        });
        assert!(enough.is_some() && refused > 3, "{enough:?}");
    }
    let sandbox = ground.open();
    let running = at_rest(&ground);
    const SIZE: Size = Size {
        rows: 1,
        columns: 1,
    };
    let commands = [
        || sh("exit 3"),
        || sh("exit 3").timeout(SOON),
        || sh("exit 3").tty(SIZE),
    ];
    for command in commands {
        let spawn = |limit| with_limit(limit, || sandbox.spawn(command()));
        let enough = (0..100).find(|limit| match spawn(*limit) {
            Ok(process) => {
                assert_eq!(process.wait().unwrap().exit_code, Some(3));
                true
            }
            Err(error) => {
                assert_eq!(error.kind(), Kind::Exhausted, "{limit}: {error}");
                running.assert_unchanged(SOON);
                false
            }
        });
        assert!(enough.is_some_and(|n| n > 3), "{enough:?}");
        running.assert_unchanged(SOON);
    }
    assert_eq!(run(&sandbox, sh("exit 4")).status.exit_code, Some(4));
    sandbox.close().unwrap();
    drop(sandbox);
    assert_rested(&before, &ground);
}

#[test]
fn helper_that_cannot_start_for_want_of_descriptors_leaves_nothing() {
    let _alone = Host::exclusive();
    let ground = Ground::new();
    let spec = ground.spec();
    let before = at_rest(&ground);
    let open = |limit| with_limit(limit, || tare::Sandbox::open(&ground.store, &spec));
    let enough = (0..100).find(|limit| match open(*limit) {
        Ok(sandbox) => {
            sandbox.close().unwrap();
            true
        }
        Err(error) => {
            assert_eq!(error.kind(), Kind::Exhausted, "{limit}: {error}");
            false
        }
    });
    assert!(enough.is_some());
    let ground = ground.without_helper();
    assert_swept(&before, &ground.store);
}
