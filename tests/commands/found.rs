// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands found again: the list of running commands, and a second process by
//! its number.

use std::ffi::OsString;
use std::thread;
use std::time::Duration;

use tare::{Command, Kind, Reason, Sandbox, Stdin};

use crate::harness::settle::{SOON, is_readable};
use crate::harness::{line, open_default, sh};

fn ids(sandbox: &Sandbox) -> Vec<u64> {
    let running = sandbox.commands().unwrap();
    running.iter().map(|command| command.id).collect()
}

#[test]
fn commands_that_run_are_listed_and_found() {
    let (_ground, sandbox) = open_default();
    assert_eq!(sandbox.commands().unwrap(), []);
    let first = sandbox.spawn(sh("read line").stdin(Stdin::Piped)).unwrap();
    let second = sandbox
        .spawn(Command::new("sleep").arg("60").env("SECRET", "x"))
        .unwrap();
    let running = sandbox.commands().unwrap();
    assert_eq!(ids(&sandbox), [first.id(), second.id()]);
    assert_eq!(running[1].argv, ["sleep", "60"].map(OsString::from));
    assert!(running[0].wall_ns > 0);
    let again = sandbox.process(second.id()).unwrap();
    assert_eq!(again.id(), second.id());
    assert!(again.take_stdout().is_none() && again.terminal().is_none());
    again.kill().unwrap();
    assert_eq!(again.wait().unwrap(), second.wait().unwrap());
    assert!(is_readable(again.pidfd(), SOON));
    assert_eq!(ids(&sandbox), [first.id()]);
    let error = sandbox.process(second.id()).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound, "{error}");
    drop(first.take_stdin());
    first.wait().unwrap();
    assert_eq!(sandbox.commands().unwrap(), []);
}

#[test]
fn command_without_a_handle_is_found_again() {
    let (_ground, sandbox) = open_default();
    let id = sandbox.spawn(sh("sleep 60")).unwrap().id();
    assert_eq!(ids(&sandbox), [id]);
    let process = sandbox.process(id).unwrap();
    process.signal(libc::SIGTERM).unwrap();
    let status = process.wait().unwrap();
    assert_eq!(
        (status.reason, status.signal),
        (Reason::Signaled, Some(libc::SIGTERM))
    );
}

#[test]
fn command_that_another_thread_runs_is_found() {
    let (_ground, sandbox) = open_default();
    // With open pipes, and without, where the wait differs.
    for command in ["sleep 60", "exec sleep 60 >/dev/null 2>&1"] {
        let output = thread::scope(|scope| {
            let runner = scope.spawn(|| sandbox.run(sh(command)).unwrap());
            let process = loop {
                if let [id] = ids(&sandbox)[..] {
                    // The command may not have started yet.
                    match sandbox.process(id) {
                        Ok(process) => break process,
                        Err(error) => assert_eq!(error.kind(), Kind::NotFound, "{error}"),
                    }
                }
                thread::sleep(Duration::from_millis(1));
            };
            assert_eq!(process.try_wait().unwrap(), None);
            process.kill().unwrap();
            let status = process.wait().unwrap();
            let output = runner.join().unwrap();
            assert_eq!(output.status, status);
            output
        });
        assert_eq!(output.status.reason, Reason::Killed);
        assert_eq!(sandbox.commands().unwrap(), []);
    }
}

#[test]
fn list_takes_no_error_from_who_waits() {
    let (_ground, sandbox) = open_default();
    let stop = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                sandbox.commands().unwrap();
            }
        });
        for _ in 0..200 {
            let error = sandbox.run(Command::new("/missing")).unwrap_err();
            assert_eq!((error.kind(), error.step()), (Kind::NotFound, "execute"));
            assert!(error.to_string().contains("/missing"), "{error}");
            assert!(sandbox.run(Command::new("true")).unwrap().status.success());
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    // A program that is not there leaves a dead child, reaped in a moment.
    let script = "while ps -o stat | grep -q '^Z'; do sleep 0.01; done; echo none";
    assert_eq!(line(&sandbox, script), "none");
}

#[test]
fn numbers_go_on_after_a_reset() {
    let (_ground, sandbox) = open_default();
    let old = sandbox.spawn(sh("sleep 60")).unwrap();
    sandbox.reset().unwrap();
    assert_eq!(sandbox.commands().unwrap(), []);
    let new = sandbox.spawn(sh("sleep 60")).unwrap();
    assert!(new.id() > old.id());
    assert_eq!(
        sandbox.process(old.id()).unwrap_err().kind(),
        Kind::NotFound
    );
    assert_eq!(old.wait().unwrap().reason, Reason::Killed);
    sandbox.close().unwrap();
    assert_eq!(sandbox.commands().unwrap_err().kind(), Kind::Invalid);
    assert_eq!(new.wait().unwrap().reason, Reason::Killed);
}
