// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sandboxes and processes held by several threads at once; a sandbox for a
//! single command.

use std::fs;
use std::path::Path;
use std::thread;

use tare::{Kind, Reason, Spec, spawn_in};

use crate::harness::settle::{SOON, is_readable};
use crate::harness::{Ground, open_default, sh, text};

#[test]
fn closed_sandbox_refuses_its_other_holders() {
    let (_ground, sandbox) = open_default();
    let process = sandbox.spawn(sh("sleep 60")).unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| process.wait_with_output().unwrap());
        sandbox.close().unwrap();
        assert_eq!(waiter.join().unwrap().status.reason, Reason::Killed);
    });
    sandbox.close().unwrap();
    let refused = [
        sandbox.spawn(sh("true")).map(drop),
        sandbox.reset(),
        sandbox.effective().map(drop),
        sandbox.pidfd().map(drop),
    ];
    for error in refused.map(Result::unwrap_err) {
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(error.to_string().contains("it was closed"), "{error}");
    }
}

#[test]
fn begun_close_says_when_nothing_is_left() {
    let (_ground, sandbox) = open_default();
    let process = sandbox.spawn(sh("sleep 60")).unwrap();
    let cgroup = sandbox.effective().unwrap().cgroup;
    let paths = cgroup["paths"].as_array().unwrap();
    let cgroups: Vec<_> = paths.iter().filter_map(|path| path.as_str()).collect();
    assert!(cgroups.iter().all(|path| Path::new(path).is_dir()));
    let left = sandbox.begin_close().unwrap().unwrap();
    assert!(sandbox.spawn(sh("true")).is_err());
    assert!(is_readable(left, SOON));
    assert!(!cgroups.iter().any(|path| Path::new(path).exists()));
    assert_eq!(process.wait().unwrap().reason, Reason::Killed);
    assert!(sandbox.begin_close().unwrap().is_none());
    sandbox.close().unwrap();
}

#[test]
fn close_beside_resets_is_final() {
    let ground = Ground::new();
    for _ in 0..10 {
        let sandbox = ground.open();
        let resets = thread::scope(|scope| {
            let resets = scope.spawn(|| (0..).take_while(|_| sandbox.reset().is_ok()).count());
            scope.spawn(|| sandbox.close().unwrap());
            resets.join().unwrap()
        });
        let error = sandbox.spawn(sh("true")).unwrap_err();
        assert!(
            error.to_string().contains("it was closed"),
            "{resets}: {error}"
        );
    }
}

#[test]
fn output_limit_of_the_command_holds_when_waited_for_later() {
    let (_ground, sandbox) = open_default();
    let process = sandbox.spawn(sh("yes").output_limit(1000)).unwrap();
    let output = process.wait_with_output().unwrap();
    assert_eq!(output.status.reason, Reason::Output);
    assert_eq!(output.stdout.len(), 1000);
    let taken = sandbox.spawn(sh("echo taken")).unwrap();
    let pipe = taken.take_stdout().unwrap();
    assert!(taken.take_stdout().is_none());
    assert_eq!(taken.wait_with_output().unwrap().stdout, b"");
    assert_eq!(
        std::io::read_to_string(fs::File::from(pipe)).unwrap(),
        "taken\n"
    );
}

#[test]
fn spawn_in_writes_to_the_root_and_ends_with_its_handle() {
    let ground = Ground::new();
    let spec = Spec::default();
    let command = sh("echo stays >/made; echo $$; exec sleep 60");
    let process = spawn_in(&ground.store, &ground.root(), &spec, command).unwrap();
    let mut first = [0; 2];
    use std::io::Read as _;
    fs::File::from(process.take_stdout().unwrap())
        .read_exact(&mut first)
        .unwrap();
    // The first number behind those of process 1's two threads.
    assert_eq!(&first, b"3\n");
    assert_eq!(
        fs::read_to_string(ground.root().join("made")).unwrap(),
        "stays\n"
    );
    let pidfd = process.pidfd().try_clone_to_owned().unwrap();
    drop(process);
    assert!(is_readable(pidfd, SOON), "the command outlives its handle");
    let error = spawn_in(&ground.store, &ground.root(), &spec, sh("true").cwd("x")).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert_eq!(text(&ground.open(), sh("cat /made")), "stays\n");
}
