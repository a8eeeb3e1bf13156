// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counts the pages that a sandbox's init and its commands touch for the first
//! time: each is a fault, a page of memory, and time.
#![forbid(unsafe_code)]

use std::fs;

use tare_oracle::need;

use crate::alone;
use crate::bed::{self, Bed};
use crate::golden;
use crate::harness::settle::helper_of;
use crate::switches::{await_none, child_of};

const SANDBOXES: usize = 30;

/// minflt and cminflt of proc_pid_stat(5), of the process and of awaited
/// children.
fn faults(of: &str) -> usize {
    let stat = fs::read_to_string(format!("/proc/{of}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let field = |n: usize| fields[n - 3].parse::<usize>().unwrap();
    field(10) + field(11)
}

#[test]
fn page_faults_of_a_command_do_not_rise() {
    need!(root);
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let bed = Bed::new(dir.path());
    let first = bed.open();
    let helper = helper_of(&first);
    first.close().unwrap();
    golden::hold_each("faults", || fewest(&bed, helper));
}

fn fewest(bed: &Bed, helper: i32) -> [(&'static str, usize); 2] {
    let (mut cold, mut warm) = (vec![], vec![]);
    for _ in 0..SANDBOXES {
        await_none(helper);
        let sandbox = bed.open();
        let init = child_of(helper).expect("an open sandbox has an init");
        let ran = || {
            let before = faults(&init);
            bed::run(&sandbox);
            faults(&init) - before
        };
        cold.push(ran());
        for _ in 0..4 {
            ran();
        }
        warm.push(ran());
        sandbox.close().unwrap();
    }
    // The beginning of a stack is chance, and so is a page more.
    let [cold, warm] = [cold, warm].map(|all| all.into_iter().min().unwrap());
    println!("page faults of a command: {cold} the first, {warm} a later one");
    [("first", cold), ("warm", warm)]
}
