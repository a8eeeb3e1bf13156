// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hosts killed at random moments, alone and with their process group, leave
//! nothing, without a sweep; with their helper, nothing after the next open.

use std::env;
use std::process::{Child, Command};
use std::thread;
use std::time::Instant;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getpgid, getsid};
use tare::Store;
use tare_oracle::{Host, need};

use crate::child;
use crate::harness::{Ground, run, sh};
use crate::{SOON, assert_swept, at_rest, await_end, helper_of, is_empty};

/// Rounds of each kind; `TARE_KILLS=200` for more.
fn rounds(usual: u32) -> u32 {
    match env::var("TARE_KILLS") {
        Ok(count) => count.parse().unwrap(),
        Err(_) => usual,
    }
}

/// Processes that keep the machine busy until this is dropped.
struct Busy(Vec<Child>);

impl Busy {
    fn new() -> Self {
        let spin = || {
            let mut shell = Command::new("sh");
            shell.args(["-c", "while :; do :; done"]).spawn().unwrap()
        };
        Self((0..4).map(|_| spin()).collect())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

/// Kills `count` working hosts with `end`; returns the leftovers when their
/// helpers are done.
fn kill_hosts(ground: &Ground, before: &Host, count: u32, end: fn(&mut Child)) {
    for (round, moment) in (0..count).zip(child::moments()) {
        let mut host = child::start(ground, "loop");
        child::await_begun(ground, &mut host);
        thread::sleep(moment);
        end(&mut host);
        host.wait().unwrap();
        drop(host);
        // The next host opens the store, which would sweep.
        let left = before.settle(SOON);
        assert!(left.is_empty(), "round {round}: {}", left.join("\n"));
    }
}

fn killed(count: u32, end: fn(&mut Child)) {
    let _alone = Host::exclusive();
    let ground = Ground::new();
    // Does every part of the work once, so that state of the whole process
    // exists.
    let sandbox = ground.open_with(r#"{"write": "disk"}"#);
    run(&sandbox, sh("true"));
    sandbox.close().unwrap();
    drop(sandbox);
    let before = at_rest(&ground);
    kill_hosts(&ground, &before, count, end);
    let busy = Busy::new();
    let before = at_rest(&ground);
    kill_hosts(&ground, &before, count.div_ceil(4), end);
    drop(busy);
}

#[test]
fn hosts_killed_alone_leave_nothing_to_sweep() {
    killed(rounds(40), |host| host.kill().unwrap());
}

#[test]
fn hosts_killed_with_their_group_leave_nothing_to_sweep() {
    killed(rounds(12), |host| {
        killpg(Pid::from_raw(host.id() as i32), Signal::SIGKILL).unwrap();
    });
}

#[test]
fn host_killed_with_its_helper_leaves_nothing_after_the_next_open() {
    let _alone = Host::exclusive();
    let ground = Ground::new();
    let before = at_rest(&ground);
    let mut host = child::start(&ground, "wait");
    let helper = Pid::from_raw(child::hear(&mut host, "waits ").parse().unwrap());
    // A helper that runs would clean up after its host.
    kill(helper, Signal::SIGSTOP).unwrap();
    host.kill().unwrap();
    host.wait().unwrap();
    kill(helper, Signal::SIGKILL).unwrap();
    await_end(helper.as_raw());
    assert!(!is_empty(&ground.scratch()));
    let began = Instant::now();
    // Process 1 may take its time to die.
    while !is_empty(&ground.scratch()) {
        assert!(began.elapsed() < SOON, "the open of the store leaves files");
        drop(Store::open(&ground.path("store")).unwrap());
    }
    assert_swept(&before, &ground.store);
}

#[test]
fn helper_is_in_no_group_and_no_session_of_the_hosts() {
    let _alone = Host::exclusive();
    let ground = Ground::new();
    let sandbox = ground.open();
    let helper = Some(Pid::from_raw(helper_of(&sandbox)));
    assert_ne!(getpgid(helper).unwrap(), getpgid(None).unwrap());
    assert_ne!(getsid(helper).unwrap(), getsid(None).unwrap());
}

/// Mounts that the host made and left can be unmounted while its helper runs.
#[test]
fn helper_keeps_no_directory_of_the_hosts_busy() {
    need!(namespace_root);
    let _alone = Host::exclusive();
    let script = "mount -t tmpfs x /mnt && cd /mnt && exec \"$@\"";
    let mut unshare = Command::new("unshare");
    unshare.args(["-m", "sh", "-c", script, "sh"]);
    child::assert_success(child::spawn(&Ground::new(), "unmount", &mut unshare));
}
