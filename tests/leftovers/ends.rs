// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ends of every kind: of the helper, of a sandbox's process 1, of a host that was forked.

use std::path::Path;
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tare::{Kind, Reason};
use tare_oracle::Host;

use crate::child::{self, hear, helper_of};
use crate::harness::{Ground, line, run, sh};

const SOON: Duration = Duration::from_secs(10);

#[track_caller]
fn await_gone(pid: i32) {
    let began = Instant::now();
    while Path::new(&format!("/proc/{pid}")).exists() {
        assert!(began.elapsed() < SOON, "{pid} lives");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn helper_killed_takes_its_sandboxes_along_and_is_replaced() {
    let _alone = Host::exclusive();
    let ground = Ground::new();
    // One helper is here on both sides; its number is not compared.
    let before = Host::snapshot_with(&[&ground.scratch()]);
    for json in [r#"{"write": "disk"}"#, "{}"] {
        let sandbox = ground.open_with(json);
        let process = sandbox.spawn(sh("sleep 60").timeout(SOON * 10)).unwrap();
        let helper = helper_of(&sandbox);
        kill(Pid::from_raw(helper), Signal::SIGKILL).unwrap();
        let status = process.wait().unwrap();
        assert_eq!((status.reason, status.signal), (Reason::Killed, Some(9)));
        await_gone(helper);
        assert_eq!(sandbox.run(sh("true")).unwrap_err().kind(), Kind::Broken);
        let next = ground.open_with(json);
        assert_eq!(line(&next, "echo works"), "works");
        assert_ne!(helper_of(&next), helper);
        // In place, once the new helper is there.
        sandbox.reset().unwrap();
        assert_eq!(line(&sandbox, "echo works"), "works");
    }
    // With the last handle of the store goes its helper.
    ground.store.recover().unwrap();
    let scratch = ground.scratch();
    assert_eq!(std::fs::read_dir(scratch).unwrap().count(), 0);
    drop(ground);
    before.assert_unchanged(SOON);
}

#[test]
fn process_one_killed_from_outside_leaves_nothing() {
    let _alone = Host::exclusive();
    let ground = Ground::new();
    ground.open().close().unwrap();
    let before = Host::snapshot_with(&[&ground.scratch()]);
    let sandbox = ground.open_with(r#"{"write": "disk"}"#);
    let process = sandbox.spawn(sh("sleep 60").timeout(SOON * 10)).unwrap();
    let fd = sandbox.pidfd().unwrap();
    send_kill(&fd);
    assert_eq!(process.wait().unwrap().reason, Reason::Killed);
    assert_eq!(sandbox.run(sh("true")).unwrap_err().kind(), Kind::Broken);
    sandbox.reset().unwrap();
    assert_eq!(line(&sandbox, "echo works"), "works");
    drop((fd, process));
    sandbox.close().unwrap();
    before.assert_unchanged(SOON);
}

/// Through the number that the descriptor shows, as anybody could.
fn send_kill(pidfd: &std::os::fd::OwnedFd) {
    use std::os::fd::AsRawFd as _;
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).unwrap();
    let pid = info.lines().find_map(|l| l.strip_prefix("Pid:")).unwrap();
    kill(Pid::from_raw(pid.trim().parse().unwrap()), Signal::SIGKILL).unwrap();
}

#[test]
fn host_killed_while_its_copy_lives_leaves_nothing() {
    let _alone = Host::exclusive();
    let ground = Ground::new();
    ground.open().close().unwrap();
    let before = Host::snapshot_with(&[&ground.scratch()]);
    let mut host = child::start(&ground, "fork");
    let said = hear(&mut host, "forked ");
    let [copy, helper] = *said
        .split(' ')
        .map(|n| n.parse().unwrap())
        .collect::<Vec<i32>>()
    else {
        panic!("{said}");
    };
    assert!(Path::new(&format!("/proc/{helper}")).exists());
    host.kill().unwrap();
    host.wait().unwrap();
    // The copy still holds every socket; the helper has seen its host go all the same.
    await_gone(helper);
    assert!(Path::new(&format!("/proc/{copy}")).exists());
    kill(Pid::from_raw(copy), Signal::SIGKILL).unwrap();
    before.assert_unchanged(SOON);
}

#[test]
fn hosts_with_their_own_ideas_of_children_get_exact_codes() {
    let _alone = Host::exclusive();
    let ground = Ground::new();
    ground.open().close().unwrap();
    let before = Host::snapshot_with(&[&ground.scratch()]);
    for role in ["ignore", "greedy", "subreaper"] {
        let output = child::start(&ground, role).wait_with_output().unwrap();
        let shown = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{role}: {shown}");
    }
    before.assert_unchanged(SOON);
}

#[test]
fn host_that_forks_keeps_what_is_its_own() {
    let _alone = Host::exclusive();
    let ground = Ground::new();
    ground.open().close().unwrap();
    let before = Host::snapshot_with(&[&ground.scratch()]);
    let sandbox = ground.open_with(r#"{"write": "disk"}"#);
    let running = sandbox
        .spawn(sh("sleep 0.5; exit 5").timeout(SOON))
        .unwrap();
    assert!(process::Command::new("true").status().unwrap().success());
    // SAFETY: no other thread of this process uses the library now, so no lock is held; the child ends by _exit.
    match unsafe { libc::fork() } {
        0 => {
            // The copy's drops end nothing that is the parent's.
            drop(running);
            drop(sandbox);
            // SAFETY: ends this process without running anything else of the parent's.
            unsafe { libc::_exit(0) }
        }
        copy => {
            // SAFETY: a null status is allowed.
            unsafe { libc::waitpid(copy, std::ptr::null_mut(), 0) };
        }
    }
    let swept = ground.store.recover().unwrap();
    assert_eq!(
        (swept.scratch, swept.cgroups),
        (0, 0),
        "its locks are not the copy's to drop"
    );
    assert_eq!(running.wait().unwrap().exit_code, Some(5));
    assert_eq!(run(&sandbox, sh("exit 4")).status.exit_code, Some(4));
    drop(running);
    sandbox.close().unwrap();
    before.assert_unchanged(SOON);
}
