// SPDX-License-Identifier: MIT OR Apache-2.0
//! The system calls of each stage of a sandbox's life, and of each entry of an
//! archive.
#![forbid(unsafe_code)]

use std::fs;

use tare_oracle::{need, ordinary_user};

use crate::golden::{self, Counts};
use crate::place::Place;
use crate::trace::{self, Call};
use crate::{alone, counts, forbidden, host};

/// The machine's cgroup layout: layouts need different calls.
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

/// The callers in a round, and their stages.
const CALLERS: [&str; 8] = [
    "host start",
    "host first",
    "host warm",
    "host close",
    "spawner all",
    "init life",
    "command first",
    "command warm",
];

#[track_caller]
fn hold_rounds(who: &str, place: impl Fn() -> Place) {
    let _alone = alone();
    let prefix = format!("calls {who} {}", cgroups());
    golden::hold(&prefix, || {
        let calls = trace::of(&place(), "rounds");
        assert_allowed(&calls);
        let rows = counts::of(&prefix, &calls);
        // These name the cause of a risen sum.
        rows.iter()
            .for_each(|(row, count)| println!("{row} {count}"));
        let held = counts::summed(&rows);
        for caller in CALLERS {
            let row = format!("{prefix} {caller} sum");
            assert!(held.contains_key(&row), "{caller} is not traced");
        }
        held
    });
}

#[test]
fn calls_of_root_do_not_rise() {
    need!(root, program("strace"));
    hold_rounds("root", || Place::new(None));
}

#[test]
fn calls_of_an_ordinary_user_do_not_rise() {
    need!(root, program("strace"));
    hold_rounds("user", || Place::new(Some(ordinary_user(true))));
}

/// An archive of so many directories, or of files of a block each.
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
    golden::hold("unpack", calls_of_an_entry);
}

fn calls_of_an_entry() -> Counts {
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
    let stages = counts::of("unpack", &calls);
    let mut counts = Counts::new();
    for kind in ["files", "dirs"] {
        let more = per_each(
            &stages,
            [64, 128].map(|n| format!("unpack host {kind}-{n} ")),
            64,
        );
        // The number of waits between threads is chance.
        for (call, more) in more.filter(|(call, _)| *call != golden::WAITS) {
            counts.insert(format!("unpack {kind} {call}"), more);
        }
        let syncs = stages.get(&format!("unpack host {kind}-128 syncfs"));
        assert!(
            syncs.is_none_or(|n| *n <= 1),
            "{syncs:?} syncfs for one layer"
        );
    }
    println!("{counts:?}");
    counts
}

/// Returns the additional calls of the second stage for each additional file.
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
    golden::hold("layers", || {
        let calls = trace::of(&Place::new(None), "layers");
        assert_allowed(&calls);
        let stages = counts::of("layers", &calls);
        let mut counts = Counts::new();
        let [few, many] = host::LAYERS;
        for caller in ["host layers", "host closes", "init layers"] {
            let stage = |n| format!("layers {caller}-{n} ");
            for (call, each) in per_each(&stages, [stage(few), stage(many)], many - few) {
                counts.insert(format!("{} {call}", caller.replace(" layers", "")), each);
            }
        }
        let named = counts
            .into_iter()
            .map(|(row, n)| (format!("layers {row}"), n));
        let counts: Counts = named.collect();
        println!("{counts:?}");
        counts
    });
}
