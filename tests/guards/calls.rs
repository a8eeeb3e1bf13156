// SPDX-License-Identifier: MIT OR Apache-2.0
//! The system calls of each stage of a sandbox's life, and of each entry of an archive.
#![forbid(unsafe_code)]

use std::fs;

use tare_oracle::{need, ordinary_user};

use crate::golden::{self, Counts};
use crate::place::Place;
use crate::trace::{self, Call};
use crate::{alone, forbidden, host};

/// Which cgroups the machine has: they are made in different ways.
fn cgroups() -> &'static str {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    match [" - cgroup ", " - cgroup2 "].map(|kind| mounts.contains(kind)) {
        [true, true] => "hybrid",
        [true, false] => "v1",
        [false, _] => "v2",
    }
}

#[track_caller]
fn assert_allowed(calls: &[Call]) {
    let counted = calls.iter().filter(|call| call.stage.is_some());
    let wrong = counted.filter_map(|call| {
        let why = forbidden::reason(call)?;
        let (_, stage) = call.stage.as_ref()?;
        Some(format!(
            "{stage} {:?} {}({}: {why}",
            call.who, call.name, call.rest
        ))
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[track_caller]
fn hold_rounds(who: &str, place: &Place) {
    let _alone = alone();
    let calls = trace::of(place, "rounds");
    assert_allowed(&calls);
    let prefix = format!("calls {who} {}", cgroups());
    let (counts, most) = trace::counts(&prefix, &calls);
    for stage in ["start", "first", "warm", "close"] {
        let of_stage = counts
            .iter()
            .filter(|(name, _)| name.starts_with(&format!("{prefix} {stage} ")));
        let sum: usize = of_stage.map(|(_, count)| count).sum();
        println!("{who} {stage}: {sum} calls");
        assert!(sum > 0, "{stage} is not traced");
    }
    golden::hold(&prefix, &counts, &most);
}

#[test]
fn calls_of_root_do_not_rise() {
    need!(root, program("strace"));
    hold_rounds("root", &Place::new(None));
}

#[test]
fn calls_of_an_ordinary_user_do_not_rise() {
    need!(root, program("strace"));
    hold_rounds("user", &Place::new(Some(ordinary_user(true))));
}

/// An archive of so many directories, or files of one block below one.
fn archive(place: &Place, name: &str, kind: tar::EntryType, count: usize) {
    let mut tar = tar::Builder::new(fs::File::create(place.path(name)).unwrap());
    for number in 0..count {
        let bytes: &[u8] = if kind.is_dir() { b"" } else { &[7; 512] };
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        tar.append_data(&mut header, format!("{number:05}"), bytes)
            .unwrap();
    }
    tar.finish().unwrap();
}

#[test]
fn calls_of_an_entry_do_not_rise() {
    need!(root, program("strace"));
    let _alone = alone();
    let place = Place::new(None);
    archive(&place, "warm-up", tar::EntryType::Regular, 1);
    for count in [64, 128] {
        archive(
            &place,
            &format!("files-{count}"),
            tar::EntryType::Regular,
            count,
        );
        archive(
            &place,
            &format!("dirs-{count}"),
            tar::EntryType::Directory,
            count,
        );
    }
    let calls = trace::of(&place, "unpack");
    assert_allowed(&calls);
    let (stages, _) = trace::counts("unpack", &calls);
    let mut counts = Counts::new();
    for kind in ["files", "dirs"] {
        let more = per_each(
            &stages,
            [64, 128].map(|n| format!("unpack {kind}-{n} host ")),
            64,
        );
        // How often the two threads wait for one another is chance.
        for (call, more) in more.filter(|(call, _)| *call != "futex") {
            counts.insert(format!("unpack {kind} {call}"), more);
        }
        let syncs = stages.get(&format!("unpack {kind}-128 host syncfs"));
        assert!(
            syncs.is_none_or(|n| *n <= 1),
            "{syncs:?} syncfs for one layer"
        );
    }
    println!("{counts:?}");
    golden::hold("unpack", &counts, &Counts::new());
}

/// How many more calls the second stage has than the first, for each of so many things that it has more.
fn per_each(
    stages: &Counts,
    [fewer, more]: [String; 2],
    things: usize,
) -> impl Iterator<Item = (&str, usize)> {
    stages.iter().filter_map(move |(name, count)| {
        let call = name.strip_prefix(&more)?;
        let before = stages.get(&format!("{fewer}{call}")).copied();
        let each = (count.saturating_sub(before.unwrap_or(0)) + things / 2) / things;
        (each > 0).then_some((call, each))
    })
}

#[test]
fn calls_of_a_layer_do_not_rise() {
    need!(root, program("strace"));
    let _alone = alone();
    let calls = trace::of(&Place::new(None), "layers");
    assert_allowed(&calls);
    let (stages, _) = trace::counts("layers", &calls);
    let mut counts = Counts::new();
    for who in ["host", "child"] {
        let stage = |n| format!("layers layers-{n} {who} ");
        let [few, many] = host::LAYERS;
        for (call, each) in per_each(&stages, [stage(few), stage(many)], many - few) {
            counts.insert(format!("layers {who} {call}"), each);
        }
    }
    println!("{counts:?}");
    golden::hold("layers", &counts, &Counts::new());
}
