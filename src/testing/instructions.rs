// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counts the instructions of the host with valgrind(1), against
//! `tests/data/instructions.golden`.
//!
//! Runs each work N and 2N times: the difference excludes the start and the end
//! of a process. The build is the unoptimized one of the tests, so compare a
//! count only with itself. A start of a sandbox is not counted, because
//! valgrind 3.19 answers pidfd_open(2) with ENOSYS. `TARE_GOLDEN=write cargo
//! test -p libtare --lib instructions` records new counts.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "figures for --nocapture")]

mod works;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tare_oracle::need;

/// Rise in percent that counts as chance, because each process seeds its hash
/// tables anew.
const BAND: u64 = 2;

const HEAD: &str =
    "# Instructions each: TARE_GOLDEN=write cargo test -p libtare --lib instructions\n";

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/instructions.golden")
}

/// Runs of a count above the band: the least of several is free of chance.
const TRIES: usize = 4;

/// Returns the instructions of this binary doing `work`, without its children.
fn counted(place: &Path, work: &str, times: u64) -> u64 {
    let out = place.join("cachegrind");
    let output = Command::new("valgrind")
        .args(["--tool=cachegrind", "--cache-sim=no"])
        .arg(format!("--cachegrind-out-file={}", out.display()))
        .arg(env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--test-threads=1"])
        .arg("testing::instructions::works::work_is_done")
        .env("TARE_TEST_ROLE", work)
        .env("TARE_TEST_TIMES", times.to_string())
        .output()
        .unwrap();
    assert!(output.status.success(), "{work}: {output:?}");
    let text = fs::read_to_string(&out).unwrap();
    let sum = text.lines().find_map(|line| line.strip_prefix("summary: "));
    sum.unwrap_or_else(|| panic!("{work}: no sum"))
        .trim()
        .parse()
        .unwrap()
}

/// Returns the instructions of a single `work`.
fn each(place: &Path, work: &str, times: u64) -> u64 {
    let [one, two] = [times, 2 * times].map(|times| counted(place, work, times));
    assert!(two > one, "{work}: {one} once, {two} twice");
    let each = (two - one) / times;
    println!("{work}: {each} instructions each");
    assert!(each > 0, "{work}: nothing was counted");
    each
}

fn golden() -> BTreeMap<String, u64> {
    let text = fs::read_to_string(path()).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (work, count) = line.split_once(' ').unwrap();
            (work.to_owned(), count.parse().unwrap())
        })
        .collect()
}

/// Compares a count with the golden count: an error if higher, a message if
/// lower.
fn judge(work: &str, is: u64, was: Option<&u64>) -> Result<Option<String>, String> {
    let line = format!(
        "{work}: {is} instructions each, golden {}",
        was.unwrap_or(&0)
    );
    match was {
        None => Err(line),
        Some(was) if is * 100 > was * (100 + BAND) => Err(line),
        Some(was) if is * 100 < was * (100 - BAND) => Ok(Some(line)),
        Some(_) => Ok(None),
    }
}

#[test]
fn instructions_of_the_host_do_not_rise() {
    need!(root, program("valgrind"));
    let place = tempfile::tempdir().unwrap();
    let mut seen = BTreeMap::new();
    let golden = golden();
    for (work, times) in works::WORKS {
        let mut least = u64::MAX;
        for _ in 0..TRIES {
            least = least.min(each(place.path(), work, times));
            if judge(work, least, golden.get(work)).is_ok() {
                break;
            }
        }
        seen.insert(work.to_owned(), least);
    }
    if env::var_os("TARE_GOLDEN").is_some_and(|what| what == "write") {
        let lines = seen.iter().map(|(work, count)| format!("{work} {count}\n"));
        fs::write(path(), HEAD.to_owned() + &lines.collect::<String>()).unwrap();
        return;
    }
    let mut rises = Vec::new();
    for (work, count) in &seen {
        match judge(work, *count, golden.get(work)) {
            Ok(None) => {}
            Ok(Some(fall)) => println!("{fall}: fewer, to be kept by TARE_GOLDEN=write"),
            Err(rise) => rises.push(rise),
        }
    }
    assert!(
        rises.is_empty(),
        "more than recorded:\n{}",
        rises.join("\n")
    );
}

#[test]
fn instructions_within_the_band_are_chance() {
    assert_eq!(judge("a", 102, Some(&100)), Ok(None));
    assert_eq!(judge("a", 98, Some(&100)), Ok(None));
    assert!(judge("a", 103, Some(&100)).is_err());
    assert!(judge("a", 97, Some(&100)).unwrap().is_some());
    assert!(judge("a", 1, None).is_err());
}
