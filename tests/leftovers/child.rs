// SPDX-License-Identifier: MIT OR Apache-2.0
//! Host processes to be killed and misused: this binary again, in several
//! roles.

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::iter;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{self, Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, pause};
use tare::{Sandbox, Spec, Stdin, Store};
use tare_oracle::again::{in_role, role, this_program};

use crate::harness::{Ground, run, sh};
use crate::{SOON, await_end, helper_of};

/// Starts a host in `role`, with the ground's store and tree, in a separate
/// process group.
pub(crate) fn start(ground: &Ground, role: &str) -> Child {
    let mut env = Command::new("env");
    spawn(ground, role, env.process_group(0))
}

/// The same as process 1 of a new pid namespace.
pub(crate) fn start_as_first(ground: &Ground, role: &str) -> Child {
    let mut unshare = Command::new("unshare");
    unshare.args(["--pid", "--fork", "--mount-proc"]);
    spawn(ground, role, &mut unshare)
}

/// The same by a command that starts the program behind its words.
pub(crate) fn spawn(ground: &Ground, role: &str, command: &mut Command) -> Child {
    let command = command.arg(this_program());
    let host = in_role(command, "child::host_in_a_role", role, ground.path(""));
    host.stdin(Stdio::null()).stdout(Stdio::piped());
    host.spawn().unwrap()
}

/// Waits for a host, which must succeed.
#[track_caller]
pub(crate) fn assert_success(host: Child) {
    let output = host.wait_with_output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{shown}");
}

/// Waits until the host has said `word` and returns the rest of the line.
pub(crate) fn hear(host: &mut Child, word: &str) -> String {
    let lines = BufReader::new(host.stdout.take().unwrap()).lines();
    let mut lines = lines.map(Result::unwrap);
    let found = lines.find_map(|line| Some(line.split_once(word)?.1.trim().to_owned()));
    found.unwrap_or_else(|| panic!("the host never said {word}"))
}

/// Moments in the work of a host, at random.
pub(crate) fn moments() -> impl Iterator<Item = Duration> {
    // xorshift: the moments depend on the machine's mood anyway.
    let mut random = u64::from(process::id()) << 20 | 1;
    let next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        Duration::from_micros(random % 30_000)
    };
    iter::repeat_with(next)
}

/// Waits until a host that loops has begun with a sandbox.
#[track_caller]
pub(crate) fn await_begun(ground: &Ground, host: &mut Child) {
    let begun = ground.path(&format!("begun-{}", host.id()));
    let began = Instant::now();
    while !begun.exists() {
        assert_eq!(host.try_wait().unwrap(), None, "it ended by itself");
        assert!(began.elapsed() < SOON);
        thread::sleep(Duration::from_micros(200));
    }
    fs::remove_file(begun).unwrap();
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
    if ["subreaper", "childless", "bereaved"].contains(&&*role) {
        prctl::set_child_subreaper(true).unwrap();
    }
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
                    let _ = waitpid(None, None);
                    thread::sleep(Duration::from_micros(50));
                }
            });
            exact_codes(&store, ground);
        }
        "subreaper" => exact_codes(&store, ground),
        "childless" => {
            exact_codes(&store, ground);
            drop(store);
            assert_childless();
        }
        "bereaved" => {
            let sandbox = Sandbox::open(&store, &spec(ground, "{}")).unwrap();
            let helper = Pid::from_raw(helper_of(&sandbox));
            kill(helper, Signal::SIGKILL).unwrap();
            await_end(helper.as_raw());
            drop((sandbox, store));
            assert_childless();
        }
        "unmount" => unmount_the_working_directory(&store, ground),
        other => panic!("{other}"),
    }
}

fn unmount_the_working_directory(store: &Store, ground: &Path) {
    let here = env::current_dir().unwrap();
    let sandbox = Sandbox::open(store, &spec(ground, "{}")).unwrap();
    env::set_current_dir("/").unwrap();
    let done = Command::new("umount").arg(&here).status().unwrap();
    assert!(done.success(), "{here:?}");
    let helper = format!("/proc/{}", helper_of(&sandbox));
    assert!(Path::new(&helper).exists());
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
            let sleeping = sh("sleep 60 & sleep 60").stdin(Stdin::Piped);
            let _running = sandbox.spawn(sleeping).unwrap();
            let left = sh("echo x >/tmp/x; setsid sleep 60 >&- 2>&- &");
            run(&sandbox, left.timeout(Duration::from_secs(60)));
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
        pause();
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
        pause();
    }
}

/// A wait for all children ends: no child exists, not even a dead one.
fn assert_childless() {
    let waited = waitpid(None, Some(WaitPidFlag::WNOHANG));
    assert_eq!(waited, Err(Errno::ECHILD));
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
