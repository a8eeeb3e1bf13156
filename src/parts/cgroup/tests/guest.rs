// SPDX-License-Identifier: MIT OR Apache-2.0
//! The tests of this part once more, in virtual machines with other cgroup
//! layouts.

use super::*;

/// Runs this very program in a guest with the cgroup layout `layout`, which has
/// `needs`.
fn run_in_guest(layout: &str, needs: &str) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guest.sh");
    let required = format!("TARE_TESTS_REQUIRE={needs}");
    let output = Command::new(script)
        .args(["-c", layout, "-e", &required])
        .arg(std::env::current_exe().unwrap())
        .args(["parts::cgroup", "--skip", "tests::guest"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    assert!(
        text.contains("memory_limit_kills_and_counts ... ok"),
        "{text}"
    );
}

#[test]
fn cgroups_of_v2_alone_pass_the_same_tests() {
    need!(guest);
    run_in_guest("v2", "root,cgroup_v2,pids_v2");
}

#[test]
fn cgroups_of_v1_alone_pass_the_same_tests() {
    need!(guest);
    run_in_guest("v1", "root");
}
