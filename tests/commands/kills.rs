// SPDX-License-Identifier: MIT OR Apache-2.0
//! Killed commands, with all processes that they started, also processes that
//! tried to escape.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use tare::{Process, Reason, Sandbox, Status};

use crate::endings::{await_count, count};
use crate::harness::settle::SOON;
use crate::harness::{Ground, line, open_default, run, sh};

const LONG: Duration = Duration::from_secs(2000);

/// Leaves a process with a session of its own and no parents.
const ESCAPE: &str = "(setsid sleep 555 </dev/null >/dev/null 2>&1 &); ";

/// Processes with this text in their command line, and unreaped dead ones.
fn left(sandbox: &Sandbox, what: &str) -> usize {
    let began = Instant::now();
    loop {
        let ps = line(sandbox, "ps -o args");
        let of = |is: &dyn Fn(&str) -> bool| ps.lines().filter(|l| is(l)).count();
        let (alive, dead) = (of(&|l| l == what), of(&|l| l.starts_with('[')));
        // A dead process may be listed before its reaping.
        if alive > 0 || dead == 0 || began.elapsed() > SOON {
            return alive + dead;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn spawn_escape(sandbox: &Sandbox) -> Process {
    let before = count(sandbox, "sleep 555");
    let process = sandbox.spawn(sh(&format!("{ESCAPE}sleep 600"))).unwrap();
    await_count(sandbox, "sleep 555", before + 1);
    process
}

type End = fn(&Sandbox) -> Status;

/// Each way to kill a command, after a process escaped.
const ENDS: [(&str, Reason, End); 4] = [
    ("kill", Reason::Killed, |sandbox| {
        let process = spawn_escape(sandbox);
        process.kill().unwrap();
        process.wait().unwrap()
    }),
    ("timeout", Reason::Timeout, |sandbox| {
        let script = format!("{ESCAPE}sleep 600");
        run(sandbox, sh(&script).timeout(Duration::from_millis(500))).status
    }),
    ("output", Reason::Output, |sandbox| {
        let script = format!("{ESCAPE}sleep 0.3; yes");
        run(sandbox, sh(&script).output_limit(1000)).status
    }),
    ("output at its end", Reason::Output, |sandbox| {
        let script = format!("{ESCAPE}sleep 0.3; head -c 11 /dev/zero");
        run(sandbox, sh(&script).output_limit(10)).status
    }),
];

/// Ends a command in each way; all its processes are dead when the end is
/// reported.
fn assert_ends(sandbox: &Sandbox, place: &str) {
    for (name, reason, end) in ENDS {
        for _ in 0..3 {
            assert_eq!(end(sandbox).reason, reason, "{name}, {place}");
            assert_eq!(left(sandbox, "sleep 555"), 0, "{name}, {place}");
        }
    }
}

#[test]
fn kill_reaches_what_escaped_from_the_only_command() {
    let ground = Ground::new();
    assert_ends(&ground.open(), "alone");
}

#[test]
fn kill_reaches_what_escaped_beside_another_command() {
    let (_ground, sandbox) = open_default();
    let script = "(setsid sleep 777 </dev/null >/dev/null 2>&1 &); sleep 888";
    let other = sandbox.spawn(sh(script)).unwrap();
    await_count(&sandbox, "sleep 777", 1);
    assert_ends(&sandbox, "beside another");
    assert_eq!(other.try_wait().unwrap(), None);
    assert_eq!(count(&sandbox, "sleep 777"), 1);
    // The first command has processes without a mark, and leaves those of the
    // second alone.
    let second = spawn_escape(&sandbox);
    other.kill().unwrap();
    assert_eq!(other.wait().unwrap().reason, Reason::Killed);
    assert_eq!(left(&sandbox, "sleep 777"), 0);
    assert_eq!(left(&sandbox, "sleep 888"), 0);
    assert_eq!(second.try_wait().unwrap(), None);
    assert_eq!(count(&sandbox, "sleep 555"), 1);
    second.kill().unwrap();
    assert_eq!(second.wait().unwrap().reason, Reason::Killed);
    assert_eq!(left(&sandbox, "sleep 555"), 0);
}

#[test]
fn kill_spares_what_earlier_commands_left() {
    let (_ground, sandbox) = open_default();
    let leave = "(setsid sleep 777 </dev/null >/dev/null 2>&1 &)";
    run(&sandbox, sh(leave));
    await_count(&sandbox, "sleep 777", 1);
    assert_ends(&sandbox, "after one that left something");
    assert_eq!(count(&sandbox, "sleep 777"), 1);
    run(&sandbox, sh(leave).timeout(LONG));
    await_count(&sandbox, "sleep 777", 2);
    assert_ends(&sandbox, "after two that left something");
    assert_eq!(count(&sandbox, "sleep 777"), 2);
}

#[test]
fn kill_spares_what_its_command_left_once_that_has_ended() {
    let (_ground, sandbox) = open_default();
    let ended = sandbox.spawn(sh(ESCAPE)).unwrap();
    assert!(ended.wait().unwrap().success());
    ended.kill().unwrap();
    await_count(&sandbox, "sleep 555", 1);
}

#[test]
fn kill_reaches_what_escaped_from_a_command_with_a_time_limit() {
    let (_ground, sandbox) = open_default();
    let script = "(setsid sh -c 'sleep 111 &' &); sleep 600";
    let process = sandbox.spawn(sh(script).timeout(LONG)).unwrap();
    await_count(&sandbox, "sleep 111", 1);
    process.kill().unwrap();
    assert_eq!(process.wait().unwrap().reason, Reason::Killed);
    assert_eq!(left(&sandbox, "sleep 111"), 0);
}

#[test]
fn signal_ends_the_command_and_not_its_tree() {
    let (_ground, sandbox) = open_default();
    let signaled = sandbox.spawn(sh("sleep 222 & wait")).unwrap();
    await_count(&sandbox, "sleep 222", 1);
    let wrong = signaled.signal(-5).unwrap_err();
    assert_eq!(wrong.errno(), Some(libc::EINVAL));
    signaled.signal(libc::SIGTERM).unwrap();
    let status = signaled.wait().unwrap();
    assert_eq!((status.reason, status.signal), (Reason::Signaled, Some(15)));
    assert_eq!(count(&sandbox, "sleep 222"), 1);
    signaled.signal(libc::SIGTERM).unwrap();
}

#[test]
fn kill_reaches_what_is_just_being_forked() {
    let (_ground, sandbox) = open_default();
    for n in 0..600u64 {
        let killed = sandbox.spawn(sh("sleep 444 & sleep 444")).unwrap();
        // The shell gets as far as its forks, a little earlier or later.
        thread::sleep(Duration::from_micros(n % 40 * 25));
        killed.kill().unwrap();
        assert_eq!(killed.wait().unwrap().reason, Reason::Killed);
    }
    await_count(&sandbox, "sleep 444", 0);
}

/// Four threads that never rest, until the value is dropped.
struct Busy<'a>(&'a AtomicBool);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

#[test]
fn kill_is_told_when_all_are_dead_on_a_busy_machine() {
    let (_ground, sandbox) = open_default();
    let rested = AtomicBool::new(false);
    thread::scope(|scope| {
        let _busy = Busy(&rested);
        for _ in 0..4 {
            scope.spawn(|| {
                while !rested.load(Relaxed) {
                    std::hint::spin_loop()
                }
            });
        }
        for n in 0..10 {
            let script = "trap '' TERM; for i in $(seq 50); do sleep 60 & done; wait";
            let command = sh(script).timeout(Duration::from_millis(200 + n));
            assert_eq!(run(&sandbox, command).status.reason, Reason::Timeout);
            assert_eq!(left(&sandbox, "sleep 60"), 0);
            let many = sandbox.spawn(sh(script)).unwrap();
            thread::sleep(Duration::from_millis(50));
            many.kill().unwrap();
            assert_eq!(many.wait().unwrap().reason, Reason::Killed);
            assert_eq!(left(&sandbox, "sleep 60"), 0);
        }
    });
}
