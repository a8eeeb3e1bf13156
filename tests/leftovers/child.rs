// SPDX-License-Identifier: MIT OR Apache-2.0
//! Host processes to be killed and misused: this binary again, in several
//! roles.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{self, Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tare::{Sandbox, Spec, Stdin, Store};
use tare_oracle::again::{in_role, role, this_program};

use crate::harness::{Ground, run, sh};
use crate::{await_end, helper_of};

/// Starts a host in `role`, with the ground's store and tree.
pub(crate) fn start(ground: &Ground, role: &str) -> Child {
    host(ground, role, Command::new(this_program()))
        .spawn()
        .unwrap()
}

/// The same in a separate process group.
pub(crate) fn start_in_group(ground: &Ground, role: &str) -> Child {
    host(ground, role, Command::new(this_program()))
        .process_group(0)
        .spawn()
        .unwrap()
}

/// The same as process 1 of a new pid namespace.
pub(crate) fn start_as_first(ground: &Ground, role: &str) -> Child {
    let mut unshare = Command::new("unshare");
    unshare.args(["--pid", "--fork", "--mount-proc"]);
    unshare.arg(this_program());
    host(ground, role, unshare).spawn().unwrap()
}

fn host(ground: &Ground, role: &str, mut command: Command) -> Command {
    in_role(&mut command, "child::host_in_a_role", role, ground.path(""))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    command
}

/// Waits until the host has said `word` and returns the rest of the line.
pub(crate) fn hear(host: &mut Child, word: &str) -> String {
    let mut lines = BufReader::new(host.stdout.take().unwrap()).lines();
    let found = lines.find_map(|l| {
        l.unwrap()
            .split_once(word)
            .map(|(_, rest)| rest.trim().to_owned())
    });
    found.unwrap_or_else(|| panic!("the host never said {word}"))
}

fn spec(ground: &Path, json: &str) -> Spec {
    Spec {
        image: format!("dir:{}", ground.join("root").display()),
        ..Spec::from_json(json).unwrap()
    }
}

#[test]
#[ignore = "a part of other tests"]
fn host_in_a_role() {
    let Some((role, ground)) = role() else {
        return;
    };
    let ground = &ground;
    let store = Store::open(&ground.join("store")).unwrap();
    match role.as_str() {
        "loop" => work_for_ever(&store, ground),
        "fork" => fork_and_wait(&store, ground),
        "wait" => wait_with_owners(&store, ground),
        "ignore" => {
            // SAFETY: no handler is installed; this process is ours alone.
            unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
            exact_codes(&store, ground);
        }
        "greedy" => {
            thread::spawn(|| {
                loop {
                    // SAFETY: a null status is allowed.
                    unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) };
                    thread::sleep(Duration::from_micros(50));
                }
            });
            exact_codes(&store, ground);
        }
        "subreaper" => {
            // SAFETY: takes numbers only.
            unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
            exact_codes(&store, ground);
        }
        "childless" => {
            // SAFETY: takes numbers only.
            unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
            exact_codes(&store, ground);
            drop(store);
            assert_childless();
        }
        "bereaved" => {
            // SAFETY: takes numbers only.
            unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
            let sandbox = Sandbox::open(&store, &spec(ground, "{}")).unwrap();
            let helper = Pid::from_raw(helper_of(&sandbox));
            kill(helper, Signal::SIGKILL).unwrap();
            await_end(helper.as_raw());
            drop((sandbox, store));
            assert_childless();
        }
        other => panic!("{other}"),
    }
}

/// Makes every kind of trace outside, over and over, until killed.
fn work_for_ever(store: &Store, ground: &Path) {
    let specs = [
        r#"{"write": "disk"}"#,
        "{}",
        r#"{"storage": "copy"}"#,
        r#"{"write": "none"}"#,
    ];
    loop {
        for json in specs {
            let sandbox = Sandbox::open(store, &spec(ground, json)).unwrap();
            // Reports a sandbox.
            fs::write(ground.join(format!("begun-{}", process::id())), "").unwrap();
            let _running = sandbox
                .spawn(sh("sleep 60 & sleep 60").stdin(Stdin::Piped))
                .unwrap();
            run(
                &sandbox,
                sh("echo x >/tmp/x; setsid sleep 60 >&- 2>&- &").timeout(Duration::from_secs(60)),
            );
            sandbox.close().unwrap();
        }
    }
}

/// Waits to be killed beside a tree on disk that another id owns, where the
/// user has ids to give.
fn wait_with_owners(store: &Store, ground: &Path) {
    let sandbox = Sandbox::open(store, &spec(ground, r#"{"write": "disk"}"#)).unwrap();
    let script = "mkdir -m 700 /tmp/x; touch /tmp/x/y; chown -R alice /tmp/x 2>/dev/null; true";
    assert!(run(&sandbox, sh(script)).status.success());
    println!("waits {}", helper_of(&sandbox));
    loop {
        // SAFETY: waits for a signal that ends the process.
        unsafe { libc::pause() };
    }
}

/// A copy of this process keeps every descriptor open.
fn fork_and_wait(store: &Store, ground: &Path) {
    let sandbox = Sandbox::open(store, &spec(ground, r#"{"write": "disk"}"#)).unwrap();
    let _running = sandbox.spawn(sh("sleep 60")).unwrap();
    // SAFETY: the child only sleeps.
    let copy = unsafe { libc::fork() };
    if copy != 0 {
        println!("forked {copy} {}", helper_of(&sandbox));
    }
    loop {
        // SAFETY: waits for a signal that ends the process.
        unsafe { libc::pause() };
    }
}

/// A wait for all children ends: no child exists, not even a dead one.
fn assert_childless() {
    // SAFETY: a null status is allowed.
    let waited = unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) };
    assert_eq!((waited, Errno::last()), (-1, Errno::ECHILD));
}

fn exact_codes(store: &Store, ground: &Path) {
    for round in 0..3 {
        let sandbox = Sandbox::open(store, &spec(ground, "{}")).unwrap();
        for code in 0..20 {
            let status = run(&sandbox, sh(&format!("exit {code}"))).status;
            assert_eq!(status.exit_code, Some(code), "round {round}");
        }
        sandbox.close().unwrap();
    }
}
