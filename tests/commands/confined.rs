// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands are born behind their sandbox's seccomp program, except those that
//! need process 1's first thread: all else must be equal.

use std::time::Duration;

use tare::{Command, Reason, Sandbox, Size, Stdout};
use tare_oracle::need;

use crate::harness::settle::await_that;
use crate::harness::{Ground, open_default, sh, text};

/// Threads of process 1.
fn threads(sandbox: &Sandbox) -> String {
    let command = sh("grep Threads: /proc/1/status | tr -dc 0-9");
    text(sandbox, command)
}

/// A sandbox that has run some commands.
fn used(ground: &Ground, json: &str) -> Sandbox {
    let sandbox = ground.open_with(json);
    for _ in 0..4 {
        assert_eq!(text(&sandbox, sh("echo x")), "x\n");
    }
    sandbox
}

#[test]
fn confined_commands_are_as_the_first_one() {
    let (_ground, sandbox) = open_default();
    let facts = "grep -E 'Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp|Sig[BIC]' /proc/self/status; umask; echo $PPID; \
                 ls /proc/self/fd | wc -l; pwd; env; ulimit -n; cut -d ' ' -f 4-6 /proc/self/stat | \
                 sed 's/[0-9][0-9]*/N/g'; unshare -n true 2>&1 || echo refused";
    let first = text(&sandbox, sh(facts));
    assert!(
        first.contains("Seccomp:\t2") && first.contains("refused"),
        "{first}"
    );
    for _ in 0..4 {
        assert_eq!(text(&sandbox, sh(facts)), first);
    }
    assert_eq!(threads(&sandbox), "2");
}

#[test]
fn confined_init_still_does_all_it_did() {
    let ground = Ground::new();
    let sandbox = used(&ground, "{}");
    assert_eq!(threads(&sandbox), "2");
    // The second thread leaves these to the first: files, terminals, time
    // limits, kills.
    sandbox.files().write("/tmp/file", "content").unwrap();
    assert_eq!(text(&sandbox, sh("cat /tmp/file")), "content");
    let size = Size {
        rows: 3,
        columns: 7,
    };
    assert_eq!(text(&sandbox, sh("stty size").tty(size)), "3 7\r\n");
    let late = sandbox
        .run(sh("echo part; sleep 60 & sleep 60").timeout(Duration::from_millis(300)))
        .unwrap();
    assert_eq!(
        (late.status.reason, &late.stdout[..]),
        (Reason::Timeout, &b"part\n"[..])
    );
    let process = sandbox.spawn(sh("sleep 60 & sleep 60")).unwrap();
    process.kill().unwrap();
    assert_eq!(process.wait().unwrap().reason, Reason::Killed);
    // Without an own cgroup, a killed process may take a moment to die.
    await_that("something lives on", || {
        text(&sandbox, sh("ps | grep -c '[s]leep' || true")) == "0\n"
    });
    let error = sandbox.run(Command::new("no-such-program")).unwrap_err();
    assert_eq!(error.errno(), Some(libc::ENOENT));
    let error = sandbox.run(sh("true").user("no-such-user")).unwrap_err();
    assert_eq!(error.step(), "look up user");
    // More than fits into a message.
    let long = "x".repeat(200_000);
    let many: Vec<String> = (0..5).map(|_| long[..100_000].to_owned()).collect();
    let count = Command::new("sh").args(["-c", "echo $#", "sh"]).args(&many);
    assert_eq!(text(&sandbox, count), "5\n");
    let all: Vec<_> = (0..50)
        .map(|n| {
            let script = format!("echo {n}; sleep 0.2; exit {n}");
            sandbox.spawn(sh(&script).stdout(Stdout::Piped)).unwrap()
        })
        .collect();
    // All run at once.
    for (n, process) in all.iter().enumerate().rev() {
        let code = i32::try_from(n).unwrap();
        assert_eq!(process.wait().unwrap().exit_code, Some(code));
    }
    sandbox.reset().unwrap();
    assert_eq!(text(&sandbox, sh("ls /tmp | wc -l")), "0\n");
    sandbox.close().unwrap();
}

#[test]
fn confined_thread_cannot_be_ended_or_stopped_from_inside() {
    let ground = Ground::new();
    let sandbox = used(&ground, "{}");
    let kill = "for task in /proc/1/task/*; do for signal in KILL STOP SEGV TERM CHLD; do \
                kill -$signal ${task##*/} 2>/dev/null; done; done; true";
    text(&sandbox, sh(kill));
    assert_eq!(threads(&sandbox), "2");
    assert_eq!(text(&sandbox, sh("echo x")), "x\n");
}

#[test]
fn confined_only_where_the_program_lets_the_init_work() {
    need!(root);
    let ground = Ground::new();
    let rule = |name: &str| {
        format!(
            r#"{{"security": {{"seccomp": {{"defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{{"names": ["{name}"], "action": "SCMP_ACT_ERRNO"}}]}}}}}}"#
        )
    };
    for (json, expected) in [
        (rule("acct"), "2"),
        // The init itself needs these.
        (rule("sendmsg"), "1"),
        (rule("setsid"), "1"),
        (rule("clone"), "1"),
        (r#"{"security": {"seccomp": "off"}}"#.into(), "1"),
        (r#"{"security": {"no_new_privs": false}}"#.into(), "1"),
        (r#"{"security": {"profile": "privileged"}}"#.into(), "1"),
        // The second thread would be one of the few.
        (r#"{"limits": {"pids": 16}}"#.into(), "1"),
        (r#"{"limits": {"pids": 64}}"#.into(), "2"),
    ] {
        let sandbox = ground.open_with(&json);
        let shell = |script: &str| {
            let done = sandbox
                .run(Command::new("/bin/busybox").args(["cat", script]))
                .unwrap();
            String::from_utf8(done.stdout).unwrap()
        };
        for _ in 0..3 {
            shell("/proc/self/status");
        }
        let status = shell("/proc/1/status");
        let line = status.lines().find_map(|l| l.strip_prefix("Threads:\t"));
        assert_eq!(line, Some(expected), "{json}");
    }
}
