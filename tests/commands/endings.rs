// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ends of commands: exit codes, signals, time limits, output limits,
//! kills, and the end of the sandbox.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::BorrowedFd;
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tare::{Command, Process, Reason, Sandbox, Status, Stdin, Stdout};
use tare_oracle::need;

use crate::harness::{Ground, line, run, sh};

const LONG: Duration = Duration::from_secs(20);

/// Counts processes of the sandbox with this text in their command line.
pub(crate) fn count(sandbox: &Sandbox, what: &str) -> usize {
    let ps = line(sandbox, "ps -o args");
    ps.lines().filter(|l| *l == what).count()
}

/// Waits until there are so many.
#[track_caller]
pub(crate) fn await_count(sandbox: &Sandbox, what: &str, wanted: usize) {
    let deadline = Instant::now() + LONG;
    while count(sandbox, what) != wanted {
        assert!(Instant::now() < deadline, "{what}: {}", line(sandbox, "ps"));
        thread::sleep(Duration::from_millis(5));
    }
}

fn is_ready(fd: BorrowedFd<'_>, timeout: Duration) -> bool {
    let ms = PollTimeout::try_from(timeout).unwrap();
    poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], ms).unwrap() == 1
}

#[test]
fn ending_codes_and_signals_are_told() {
    let ground = Ground::new();
    let sandbox = ground.open();
    for (script, code, signal, reason, shell) in [
        ("exit 0", Some(0), None, Reason::Exited, 0),
        ("exit 42", Some(42), None, Reason::Exited, 42),
        ("exit 255", Some(255), None, Reason::Exited, 255),
        ("exit 137", Some(137), None, Reason::Exited, 137),
        ("kill -TERM $$", None, Some(15), Reason::Signaled, 143),
        ("kill -KILL $$", None, Some(9), Reason::Signaled, 137),
        ("kill -SEGV $$", None, Some(11), Reason::Signaled, 139),
        ("kill -34 $$", None, Some(34), Reason::Signaled, 162),
        (
            "sh -c 'kill -KILL $$'; exit $?",
            Some(137),
            None,
            Reason::Exited,
            137,
        ),
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
    let ground = Ground::new();
    let sandbox = ground.open();
    let script = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; dd if=/dev/zero of=/dev/null bs=32M count=1 2>/dev/null";
    let status = run(&sandbox, sh(script)).status;
    let usage = status.usage;
    assert!(usage.user_us > 1000, "{usage:?}");
    assert!(usage.wall_ns / 1000 >= usage.user_us / 2, "{usage:?}");
    assert!(usage.memory_peak >= Some(32 << 20), "{usage:?}");
}

#[test]
fn timeout_keeps_output_and_ends_the_whole_tree() {
    let ground = Ground::new();
    let sandbox = ground.open();
    run(
        &sandbox,
        sh("setsid sleep 777 </dev/null >/dev/null 2>&1 &"),
    );
    let script = "echo partial; echo err >&2; setsid sleep 555 & sleep 555 & sh -c 'trap \"\" TERM; sleep 555' & wait";
    let began = Instant::now();
    let output = run(&sandbox, sh(script).timeout(Duration::from_millis(300)));
    let took = began.elapsed();
    assert_eq!(output.status.reason, Reason::Timeout);
    assert_eq!(output.status.shell_code(), 124);
    assert_eq!(
        (&output.stdout[..], &output.stderr[..]),
        (&b"partial\n"[..], &b"err\n"[..])
    );
    assert!(
        took >= Duration::from_millis(300) && took < LONG,
        "{took:?}"
    );
    await_count(&sandbox, "sleep 555", 0);
    // Remains of an earlier command are spared.
    assert_eq!(count(&sandbox, "sleep 777"), 1);
}

#[test]
fn timeout_of_a_command_alone_comes_in_time() {
    let ground = Ground::new();
    let sandbox = ground.open();
    for capture in [false, true] {
        let mut alone = Command::from_argv(["sleep", "60"]).timeout(Duration::from_millis(300));
        if !capture {
            alone = alone.stdout(Stdout::Null).stderr(Stdout::Null);
        }
        let output = run(&sandbox, alone);
        assert_eq!(output.status.reason, Reason::Timeout);
        let took = Duration::from_nanos(output.status.usage.wall_ns);
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
}

#[test]
fn timeout_not_reached_changes_nothing() {
    let ground = Ground::new();
    let sandbox = ground.open();
    let script = "setsid sleep 555 </dev/null >/dev/null 2>&1 & exit 3";
    for _ in 0..3 {
        let output = run(&sandbox, sh(script).timeout(LONG));
        assert_eq!(
            (output.status.reason, output.status.exit_code),
            (Reason::Exited, Some(3))
        );
    }
    // Leftovers of a command that ended live on.
    await_count(&sandbox, "sleep 555", 3);
    sandbox.close().unwrap();
}

#[test]
fn timeout_of_a_fork_bomb_ends_it() {
    let ground = Ground::new();
    let sandbox = ground.open();
    // Each generation loses its parent at once.
    let bomb =
        "f() { sleep 444 & if [ $1 -lt 40 ]; then f $(($1+1)) & fi; }; f 0 & f 0 & f 0; sleep 444";
    let output = run(&sandbox, sh(bomb).timeout(Duration::from_millis(300)));
    assert_eq!(output.status.reason, Reason::Timeout);
    await_count(&sandbox, "sleep 444", 0);
}

#[test]
fn timeouts_of_many_commands_come_in_their_order() {
    let ground = Ground::new();
    let sandbox = ground.open();
    let spawn = |ms| {
        let command = Command::from_argv(["sleep", "60"]).timeout(Duration::from_millis(ms));
        sandbox.spawn(command).unwrap()
    };
    let processes = [spawn(600), spawn(150), spawn(300)];
    let walls: Vec<u64> = processes
        .iter()
        .map(|p| {
            let status = p.wait().unwrap();
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
    let output = run(&sandbox, Command::new("yes"));
    assert_eq!(output.status.reason, Reason::Output);
    assert_eq!(output.stdout.len(), 1000);
    let own = run(&sandbox, Command::new("yes").output_limit(10));
    assert_eq!((own.status.reason, own.stdout.len()), (Reason::Output, 10));
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
fn output_that_is_cut_is_no_success_even_if_the_command_ended_first() {
    let ground = Ground::new();
    let sandbox = ground.open();
    for _ in 0..10 {
        let cut = run(&sandbox, sh("head -c 11 /dev/zero").output_limit(10)).status;
        assert_eq!(
            (cut.reason, cut.exit_code, cut.signal, cut.shell_code()),
            (Reason::Output, None, Some(9), 123)
        );
        assert!(!cut.success());
    }
}

#[test]
fn run_whose_sandbox_ends_is_killed_and_keeps_its_output() {
    let ground = Ground::new();
    let script = "echo begun; : >/tmp/begun; sleep 666";
    type End = fn(&Sandbox) -> tare::Result<()>;
    let ends: [End; 2] = [Sandbox::reset, Sandbox::close];
    for end in ends {
        let sandbox = ground.open();
        let output = thread::scope(|scope| {
            let running = scope.spawn(|| run(&sandbox, sh(script)));
            await_count(&sandbox, "sleep 666", 1);
            end(&sandbox).unwrap();
            running.join().unwrap()
        });
        assert_eq!(
            (output.status.reason, output.status.signal),
            (Reason::Killed, Some(9))
        );
        assert_eq!(output.stdout, b"begun\n");
    }
}

#[test]
fn stop_of_a_child_that_asked_to_be_traced_is_no_end() {
    need!(program("python3"));
    let ground = Ground::new();
    let sandbox = ground.open_host();
    let script = r#"
import ctypes, signal, threading, time

def go_on(first):
    time.sleep(0.1)
    signal.pthread_kill(first, signal.SIGSTOP)
    time.sleep(0.1)
    print("alive", flush=True)
    time.sleep(600)

libc = ctypes.CDLL(None)
assert libc.ptrace(0, 0, 0, 0) == 0
threading.Thread(target=go_on, args=[threading.get_ident()]).start()
libc.pause()
"#;
    let traced = || Command::from_argv(["python3", "-c", script]);
    let output = run(&sandbox, traced().timeout(Duration::from_secs(1)));
    assert_eq!(
        (output.status.reason, &output.stdout[..]),
        (Reason::Timeout, &b"alive\n"[..])
    );
    let killed = sandbox.spawn(traced().stdout(Stdout::Piped)).unwrap();
    let mut out = File::from(killed.take_stdout().unwrap());
    out.read_exact(&mut [0; 6]).unwrap();
    assert_eq!(killed.try_wait().unwrap(), None);
    killed.kill().unwrap();
    assert_eq!(killed.wait().unwrap().reason, Reason::Killed);
}

#[test]
fn output_of_leftovers_is_not_waited_for() {
    let ground = Ground::new();
    let sandbox = ground.open();
    let began = Instant::now();
    let output = run(&sandbox, sh("sleep 60 & echo done"));
    assert_eq!(output.stdout, b"done\n");
    assert!(began.elapsed() < LONG);
}

#[test]
fn wait_by_descriptor_by_time_and_from_many_threads() {
    let ground = Ground::new();
    let sandbox = ground.open();
    let process = sandbox.spawn(sh("sleep 0.3; exit 9")).unwrap();
    assert!(!is_ready(process.status_fd(), Duration::ZERO));
    assert_eq!(
        process.wait_timeout(Duration::from_millis(20)).unwrap(),
        None
    );
    assert!(is_ready(process.status_fd(), LONG));
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
    assert!(is_ready(process.pidfd(), LONG));
}

#[test]
fn wait_unless_a_descriptor_is_readable_ends_with_either() {
    let ground = Ground::new();
    let sandbox = ground.open();
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

#[test]
fn wait_without_end_of_time_waits() {
    let ground = Ground::new();
    let sandbox = ground.open();
    let process = sandbox.spawn(sh("sleep 0.1")).unwrap();
    let status = process.wait_timeout(Duration::MAX).unwrap().unwrap();
    assert!(status.success());
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
        use std::os::fd::AsFd as _;
        assert!(is_ready(gone.as_fd(), LONG), "{name}");
    }
}

#[test]
fn reset_ends_commands_and_brings_the_image_back() {
    let ground = Ground::new();
    let sandbox = ground.open();
    run(
        &sandbox,
        sh("echo x >/new; rm /etc/group; sleep 99 </dev/null >/dev/null 2>&1 &"),
    );
    let process = sandbox.spawn(sh("sleep 60")).unwrap();
    sandbox.reset().unwrap();
    assert_killed(&process);
    assert_eq!(
        line(&sandbox, "ls /new 2>/dev/null; ls /etc/group"),
        "/etc/group"
    );
    assert_eq!(count(&sandbox, "sleep 99"), 0);
}

#[test]
fn reset_beside_running_commands_breaks_none() {
    let ground = Ground::new();
    let sandbox = ground.open();
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
