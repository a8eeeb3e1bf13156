// SPDX-License-Identifier: MIT OR Apache-2.0
//! Killing, freezing and thawing real process trees.

use super::*;
use crate::parts::cgroup::kill::kill_listed;

/// A tree of processes of several sessions, with an orphan.
const TREE: &str = "(sleep 60 & sleep 60) & setsid sleep 60 & (setsid sleep 60 &) ; wait";

/// I01: forks race the kill, and lose. Kernels before 5.14, and each v1
/// hierarchy, have no `cgroup.kill`.
#[test]
fn kill_reaches_every_process() {
    need!(root);
    let new = || Scratch::new(r#"{"pids": 64}"#);
    let bomb = "f() { f | f & }; f 2>/dev/null; while :; do :; done";
    let nodes = new().nodes().count();
    for (at, tree) in (0..nodes).flat_map(|at| [(at, TREE), (at, bomb)]) {
        for kill in [kill_all, kill_listed] {
            let cgroup = new();
            let mut child = cgroup.starts(tree);
            std::thread::sleep(Duration::from_millis(50));
            kill(cgroup.nodes().nth(at).unwrap()).unwrap();
            let ended = child.wait().unwrap().signal();
            // The shell of the bomb may end by itself when it cannot fork.
            assert!(tree == bomb || ended == Some(libc::SIGKILL), "{ended:?}");
            wait_until("killed", || cgroup.is_empty());
        }
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
        cgroup.kill();
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
    cgroup.kill();
    child.wait().unwrap();
}
