// SPDX-License-Identifier: MIT OR Apache-2.0
//! Does the pure work of a start and of an unpacking, to be counted.
#![forbid(unsafe_code)]

use std::env;
use std::hint::black_box;

use crate::image::tar::{Archive, Slice};
use crate::parts::caps::CapSet;
use crate::parts::seccomp::{self, SeccompCache};
use crate::spec::Spec;
use crate::testing::bench;

/// Name and repetitions of each work.
pub(super) const WORKS: [(&str, u64); 4] =
    [("spec", 100), ("plan", 20), ("filter", 2), ("tar", 20)];

const SPEC: &str = r#"{"hostname": "counted", "env": {"CI": "1"}, "mounts": ["tmpfs:/tmp"],
    "limits": {"memory": "256m", "pids": 64}, "security": {"cap_drop": ["NET_RAW"]}}"#;

/// Plays the role of this binary under valgrind.
#[test]
#[ignore = "a part of another test"]
fn work_is_done() {
    let Ok(role) = env::var("TARE_TEST_ROLE") else {
        return;
    };
    let times: u64 = env::var("TARE_TEST_TIMES").unwrap().parse().unwrap();
    match role.as_str() {
        "spec" => (0..times).for_each(|_| drop(black_box(Spec::from_json(SPEC).unwrap()))),
        "plan" => bench::with_plan(|plan| (0..times).for_each(|_| plan())),
        "filter" => filters(times),
        "tar" => entries(times),
        other => panic!("{other}"),
    }
}

/// Compiles the default filter, which many starts share.
fn filters(times: u64) {
    let security = Spec::default().security;
    let caps = CapSet::of(&security).unwrap();
    for _ in 0..times {
        let filter = seccomp::program(&security, caps, &SeccompCache::default());
        assert!(filter.unwrap().is_some());
    }
}

/// Reads a hundred entries of an archive.
fn entries(times: u64) {
    let bytes = archive();
    for _ in 0..times {
        let mut archive = Archive::new(Slice::new(&bytes));
        let mut seen = 0;
        while let Some(entry) = archive.next().map_err(|_| archive.site().1).unwrap() {
            black_box(entry);
            seen += 1;
        }
        assert_eq!(seen, ENTRIES);
    }
}

const ENTRIES: u64 = 100;

fn archive() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for n in 0..ENTRIES {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(0);
        header.set_entry_type(match n % 4 {
            0 => tar::EntryType::Directory,
            _ => tar::EntryType::Regular,
        });
        // A long name is an entry of its own in front.
        let len = if n % 8 == 7 { 120 } else { 10 };
        let name = format!("usr/share/{n}/{}", "n".repeat(len));
        builder.append_data(&mut header, name, &[][..]).unwrap();
    }
    builder.into_inner().unwrap()
}
