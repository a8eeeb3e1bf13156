// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ends of commands: exit codes, signals, time limits, output limits,
//! kills, and the end of the sandbox.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::thread;
use std::time::Duration;

use tare::{Command, Process, Reason, Sandbox, Status, Stdin, Stdout};

use crate::harness::settle::{SOON, await_that, is_readable};
use crate::harness::{Ground, line, open_default, run, sh};

/// Counts processes of the sandbox with this text in their command line.
pub(crate) fn count(sandbox: &Sandbox, what: &str) -> usize {
    let ps = line(sandbox, "ps -o args");
    ps.lines().filter(|l| *l == what).count()
}

/// Waits until there are so many.
#[track_caller]
pub(crate) fn await_count(sandbox: &Sandbox, what: &str, wanted: usize) {
    await_that(&format!("not {wanted} of {what}"), || {
        count(sandbox, what) == wanted
    });
}

#[test]
fn ending_codes_and_signals_are_told() {
    let (_ground, sandbox) = open_default();
    for (script, code, signal, reason, shell) in [
        ("exit 0", Some(0), None, Reason::Exited, 0),
        ("exit 137", Some(137), None, Reason::Exited, 137),
        ("kill -KILL $$", None, Some(9), Reason::Signaled, 137),
        ("kill -34 $$", None, Some(34), Reason::Signaled, 162),
    ] {
        let status = run(&sandbox, sh(script)).status;
        let seen = (
            status.exit_code,
            status.signal,
            status.reason,
            status.shell_code(),
        );
        assert_eq!(seen, (code, signal, reason, shell), "{script}");
        assert!(!status.core_dumped, "{script}");
        assert_eq!(status.success(), code == Some(0));
        assert!(
            status.usage.wall_ns > 0 && status.usage.memory_peak > Some(0),
            "{status:?}"
        );
    }
}

#[test]
fn ending_with_a_core_says_so() {
    let ground = Ground::new();
    let sandbox = ground.open_with(r#"{"limits": {"rlimits": {"core": "1000000000"}}}"#);
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    if pattern.starts_with('|') {
        // A program outside would get the core.
        return;
    }
    let status = run(&sandbox, sh("cd /tmp; kill -SEGV $$")).status;
    assert_eq!((status.signal, status.core_dumped), (Some(11), true));
}

#[test]
fn usage_counts_time_and_memory() {
    let (_ground, sandbox) = open_default();
    let script = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; dd if=/dev/zero of=/dev/null bs=32M count=1 2>/dev/null";
    let status = run(&sandbox, sh(script)).status;
    let usage = status.usage;
    assert!(usage.user_us > 1000, "{usage:?}");
    assert!(usage.wall_ns / 1000 >= usage.user_us / 2, "{usage:?}");
    assert!(usage.memory_peak >= Some(32 << 20), "{usage:?}");
}

#[test]
fn timeout_of_a_command_alone_comes_in_time() {
    let (_ground, sandbox) = open_default();
    for capture in [false, true] {
        let mut alone = Command::from_argv(["sleep", "60"]).timeout(Duration::from_millis(300));
        if !capture {
            alone = alone.stdout(Stdout::Null).stderr(Stdout::Null);
        }
        let output = run(&sandbox, alone);
        assert_eq!(output.status.reason, Reason::Timeout);
        assert_eq!(output.status.shell_code(), 124);
        let took = Duration::from_nanos(output.status.usage.wall_ns);
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
}

#[test]
fn timeout_of_a_fork_bomb_ends_it() {
    let (_ground, sandbox) = open_default();
    // Each generation loses its parent at once.
    let bomb =
        "f() { sleep 444 & if [ $1 -lt 40 ]; then f $(($1+1)) & fi; }; f 0 & f 0 & f 0; sleep 444";
    let output = run(&sandbox, sh(bomb).timeout(Duration::from_millis(300)));
    assert_eq!(output.status.reason, Reason::Timeout);
    await_count(&sandbox, "sleep 444", 0);
}

#[test]
fn timeouts_of_many_commands_come_in_their_order() {
    let (_ground, sandbox) = open_default();
    let spawn = |ms| {
        let command = Command::from_argv(["sleep", "60"]).timeout(Duration::from_millis(ms));
        sandbox.spawn(command).unwrap()
    };
    let processes = [spawn(600), spawn(150), spawn(300)];
    let walls: Vec<u64> = processes
        .iter()
        .map(|p| {
            let status = p.wait_timeout(Duration::MAX).unwrap().unwrap();
            assert_eq!(status.reason, Reason::Timeout);
            status.usage.wall_ns / 1_000_000
        })
        .collect();
    assert!(
        walls[0] >= 600 && walls[1] >= 150 && walls[2] >= 300,
        "{walls:?}"
    );
    assert!(walls[1] < walls[2] && walls[2] < walls[0], "{walls:?}");
}

#[test]
fn output_over_the_limit_ends_the_command() {
    let ground = Ground::new();
    let sandbox = ground.open_with(r#"{"limits": {"output": "1000"}}"#);
    // Its own limit; it has ended before that is seen.
    let cut = run(&sandbox, sh("head -c 11 /dev/zero").output_limit(10));
    let status = cut.status;
    assert_eq!(
        (status.reason, status.exit_code, status.signal),
        (Reason::Output, None, Some(9))
    );
    assert_eq!((status.shell_code(), cut.stdout.len()), (123, 10));
    // Both streams count together, and all of the limit may be used.
    let both = run(
        &sandbox,
        sh("head -c 400 /dev/zero; head -c 600 /dev/zero >&2"),
    );
    assert!(both.status.success());
    let over = run(
        &sandbox,
        sh("head -c 400 /dev/zero; head -c 601 /dev/zero >&2; sleep 60"),
    );
    assert_eq!(over.status.reason, Reason::Output);
    assert_eq!(over.stdout.len() + over.stderr.len(), 1000);
}

#[test]
fn wait_by_descriptor_by_time_and_from_many_threads() {
    let (_ground, sandbox) = open_default();
    let process = sandbox.spawn(sh("sleep 0.3; exit 9")).unwrap();
    assert!(!is_readable(process.status_fd(), Duration::ZERO));
    assert_eq!(
        process.wait_timeout(Duration::from_millis(20)).unwrap(),
        None
    );
    assert!(is_readable(process.status_fd(), SOON));
    let all: Vec<Status> = thread::scope(|scope| {
        let wait = || process.wait().unwrap();
        let waiting: Vec<_> = (0..8).map(|_| scope.spawn(wait)).collect();
        waiting.into_iter().map(|w| w.join().unwrap()).collect()
    });
    assert!(
        all.iter().all(|s| s.exit_code == Some(9) && *s == all[0]),
        "{all:?}"
    );
    assert_eq!(process.wait_timeout(Duration::MAX).unwrap(), Some(all[0]));
    assert!(is_readable(process.pidfd(), SOON));
}

#[test]
fn wait_unless_a_descriptor_is_readable_ends_with_either() {
    let (_ground, sandbox) = open_default();
    let process = sandbox.spawn(sh("read line").stdin(Stdin::Piped)).unwrap();
    let (reader, mut writer) = std::io::pipe().unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| process.wait_unless(&reader).unwrap());
        writer.write_all(b"x").unwrap();
        assert_eq!(waiting.join().unwrap(), None);
    });
    // No byte was read, so the next wait ends at once, and so does a wait
    // behind a closed pipe.
    assert_eq!(process.wait_unless(&reader).unwrap(), None);
    let (hung_up, _) = std::io::pipe().unwrap();
    assert_eq!(process.wait_unless(&hung_up).unwrap(), None);
    drop(process.take_stdin());
    let (silent, _writer) = std::io::pipe().unwrap();
    let ended = process.wait_unless(&silent).unwrap().unwrap();
    assert_eq!(ended, process.wait().unwrap());
    // An end is told, even if more is readable.
    assert_eq!(process.wait_unless(&reader).unwrap(), Some(ended));
}

fn assert_killed(process: &Process) {
    let status = process.wait().unwrap();
    assert_eq!((status.reason, status.signal), (Reason::Killed, Some(9)));
    // The sandbox is gone, and so are the processes to kill.
    let _ = process.kill();
    process.signal(libc::SIGTERM).unwrap();
    assert_eq!(process.wait().unwrap(), status);
}

#[test]
fn sandbox_end_is_the_end_of_its_commands() {
    let ground = Ground::new();
    type End = fn(Sandbox);
    let ends: [(&str, End); 2] = [("close", |s| s.close().unwrap()), ("drop", drop)];
    for (name, end) in ends {
        let sandbox = ground.open();
        let process = sandbox.spawn(sh("echo before; sleep 60")).unwrap();
        let mut out = File::from(process.take_stdout().unwrap());
        let mut first = [0; 7];
        out.read_exact(&mut first).unwrap();
        let gone = sandbox.pidfd().unwrap();
        end(sandbox);
        assert_killed(&process);
        assert!(is_readable(&gone, SOON), "{name}");
    }
}

#[test]
fn reset_beside_running_commands_breaks_none() {
    let (_ground, sandbox) = open_default();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..10 {
                    match sandbox.run(sh("echo $((6*7))")) {
                        Ok(output) if output.status.success() => assert_eq!(output.stdout, b"42\n"),
                        Ok(output) => assert_eq!(output.status.reason, Reason::Killed),
                        Err(error) => assert_eq!(error.kind(), tare::Kind::Broken, "{error}"),
                    }
                }
            });
        }
        for _ in 0..5 {
            sandbox.reset().unwrap();
        }
    });
    assert_eq!(line(&sandbox, "echo fine"), "fine");
}
