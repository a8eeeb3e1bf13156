// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counts the waits in a start: waits for the kernel's own grace periods show
//! only here.
#![forbid(unsafe_code)]

use std::fs;

use crate::alone;
use crate::golden;
use crate::harness::Ground;
use crate::harness::settle::{children, helper_of};

const STARTS: usize = 50;

/// `voluntary_ctxt_switches` of proc_pid_status(5).
fn switches(of: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{of}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}

/// The only sandbox's init; the helper may have a prestarted init beside.
pub(crate) fn child_of(helper: i32) -> Option<String> {
    match children(helper, "tare-init")[..] {
        [init] => Some(init.to_string()),
        _ => None,
    }
}

/// Waits until the sandbox before has ended.
pub(crate) fn await_none(helper: i32) {
    while child_of(helper).is_some() {
        std::thread::yield_now();
    }
}

fn median(mut counts: Vec<usize>) -> usize {
    assert!(!counts.is_empty(), "nothing was counted");
    counts.sort_unstable();
    counts[counts.len() / 2]
}

#[test]
fn voluntary_switches_of_a_start_do_not_rise() {
    let _alone = alone();
    let ground = Ground::new();
    let first = ground.open();
    let helper = helper_of(&first);
    first.close().unwrap();
    golden::hold_each("switches", || of_a_start(&ground, helper));
}

fn of_a_start(ground: &Ground, helper: i32) -> [(&'static str, usize); 3] {
    let (mut host, mut spawner, mut init) = (vec![], vec![], vec![]);
    for _ in 0..STARTS {
        await_none(helper);
        let [own, theirs] = [switches("thread-self"), switches(&helper.to_string())];
        let sandbox = ground.open();
        host.push(switches("thread-self") - own);
        spawner.push(switches(&helper.to_string()) - theirs);
        if let Some(child) = child_of(helper) {
            init.push(switches(&child));
        }
        sandbox.close().unwrap();
    }
    let [host, spawner, init] = [host, spawner, init].map(median);
    println!("voluntary switches of a start: host {host}, spawner {spawner}, init {init}");
    [("host", host), ("spawner", spawner), ("init", init)]
}
