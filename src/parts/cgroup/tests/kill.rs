// SPDX-License-Identifier: MIT OR Apache-2.0
//! Killing, freezing and thawing real process trees.

use super::*;
use crate::parts::cgroup::kill::kill_listed;

/// A tree of processes of several sessions, with an orphan.
const TREE: &str = "(sleep 60 & sleep 60) & setsid sleep 60 & (setsid sleep 60 &) ; wait";

#[test]
fn kill_reaches_every_process() {
    need!(root);
    let cgroup = Scratch::new(r#"{"pids": 99}"#);
    let mut child = cgroup.starts(TREE);
    cgroup.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
    wait_until("killed", || cgroup.is_empty());
}

/// As on kernels before 5.14, and in each v1 hierarchy.
#[test]
fn kill_without_cgroup_kill_reaches_every_process() {
    need!(root);
    let cgroup = Scratch::new(r#"{"pids": 99}"#);
    for node in cgroup.nodes() {
        let mut child = cgroup.starts(TREE);
        kill_listed(node).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
        assert!(cgroup.is_empty());
    }
}

/// I01: forks race the kill, and lose.
#[test]
fn kill_ends_a_fork_bomb() {
    need!(root);
    let cgroup = Scratch::new(r#"{"pids": 64}"#);
    let bomb = "f() { f | f & }; f 2>/dev/null; while :; do :; done";
    for listed in [false, true] {
        let mut child = cgroup.starts(bomb);
        std::thread::sleep(Duration::from_millis(50));
        match listed {
            true => kill_listed(cgroup.nodes().next().unwrap()).unwrap(),
            false => cgroup.kill().unwrap(),
        }
        wait_until("killed", || cgroup.is_empty());
        child.wait().unwrap();
    }
}

#[test]
fn freeze_stops_and_thaw_lets_go_on() {
    need!(root);
    let cgroup = Scratch::new(r#"{"pids": 99}"#);
    let mut child = cgroup.starts("while :; do :; done");
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        let user: u64 = stat.split(' ').nth(13).unwrap().parse().unwrap();
        user
    };
    if cgroup.v2.is_none() {
        assert_eq!(cgroup.freeze().unwrap_err().kind(), Kind::Unsupported);
        cgroup.kill().unwrap();
        child.wait().unwrap();
        return;
    }
    cgroup.freeze().unwrap();
    let frozen = ticks();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(ticks(), frozen);
    cgroup.thaw().unwrap();
    wait_until("running again", || ticks() > frozen + 2);
    cgroup.freeze().unwrap();
    cgroup.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn child_kill_spares_the_sandbox() {
    need!(root, cgroup_v2);
    let cgroup = Scratch::new(r#"{"pids": 99}"#);
    let child = cgroup.child("1").unwrap().unwrap();
    let mut outer = cgroup.starts("sleep 60");
    let mut command = cgroup.shell(&format!(
        "echo 0 > {}/cgroup.procs; sleep 60 & exec sleep 60",
        child.path().display()
    ));
    let mut inner = command.spawn().unwrap();
    wait_until("inside", || child.processes().len() == 2);
    child.kill().unwrap();
    assert_eq!(inner.wait().unwrap().signal(), Some(libc::SIGKILL));
    child.remove().unwrap();
    assert!(outer.try_wait().unwrap().is_none());
    cgroup.kill().unwrap();
    outer.wait().unwrap();
}
