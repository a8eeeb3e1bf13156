// SPDX-License-Identifier: MIT OR Apache-2.0
//! The golden file: a name and a count on each line; a rise is an error, a fall
//! a hint.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// Counts by name; words of a name are separated by blanks.
pub(crate) type Counts = BTreeMap<String, usize>;

const HEAD: &str =
    "# What the guards count: TARE_GOLDEN=write cargo test -p libtare --test guards\n";

/// The name of a row that is a bound.
pub(crate) const WAITS: &str = "waits";
/// The allowed factor for waits: on a busy machine the awaited process comes
/// late more often.
const BOUND: usize = 2;

/// The number of counts of a rise.
const TRIES: usize = 4;

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/guards.golden")
}

fn parse(text: &str) -> Counts {
    let lines = text
        .lines()
        .filter(|l| !l.is_empty() && !l.starts_with('#'));
    let pair = |line: &str| {
        let (name, count) = line.rsplit_once(' ')?;
        Some((name.to_owned(), count.parse().ok()?))
    };
    lines
        .map(|line| pair(line).unwrap_or_else(|| panic!("{line:?}")))
        .collect()
}

/// The rises and falls; a missing name counts as zero.
fn compare(golden: &Counts, seen: &Counts) -> (Vec<String>, Vec<String>) {
    let mut names: Vec<&String> = golden.keys().chain(seen.keys()).collect();
    names.sort();
    names.dedup();
    let (mut rises, mut falls) = (Vec::new(), Vec::new());
    for name in names {
        let [was, is] = [golden, seen].map(|of| of.get(name).copied().unwrap_or(0));
        let line = format!("{name}: {is}, golden {was}");
        if is > was {
            rises.push(line);
        } else if is < was && !is_bound(name) {
            falls.push(line);
        }
    }
    (rises, falls)
}

/// Returns whether a row is a bound: the number of waits depends on the
/// scheduler.
fn is_bound(name: &str) -> bool {
    name.rsplit(' ').next() == Some(WAITS)
}

/// The lower count for each name that both have; a missing name counts as zero.
fn fewest(one: Counts, other: &Counts) -> Counts {
    let both = one
        .into_iter()
        .filter_map(|(name, n)| Some((n.min(*other.get(&name)?), name)));
    both.map(|(n, name)| (name, n)).collect()
}

/// Compares counts with the golden counts whose names begin with `prefix`, or
/// writes them there. A rise is counted again, because chance only adds. The
/// caller is alone.
#[track_caller]
pub(crate) fn hold(prefix: &str, mut count: impl FnMut() -> Counts) {
    let of_prefix = |name: &String| name.starts_with(&format!("{prefix} "));
    let mut counted = || {
        let seen = count();
        assert!(!seen.is_empty(), "{prefix}: nothing was counted");
        assert!(seen.keys().all(of_prefix), "{prefix}: {seen:?}");
        seen
    };
    let mut golden = parse(&fs::read_to_string(path()).unwrap_or_default());
    if env::var_os("TARE_GOLDEN").is_some_and(|what| what == "write") {
        golden.retain(|name, _| !of_prefix(name));
        golden.extend(counted().into_iter().map(|(name, n)| {
            let most = if is_bound(&name) { BOUND * n } else { n };
            (name, most)
        }));
        let lines = golden
            .iter()
            .map(|(name, count)| format!("{name} {count}\n"));
        fs::write(path(), HEAD.to_owned() + &lines.collect::<String>()).unwrap();
        return;
    }
    golden.retain(|name, _| of_prefix(name));
    if golden.is_empty() {
        println!(
            "SKIPPED {prefix}: nothing is recorded for this kind of machine; try: TARE_GOLDEN=write"
        );
        let strict = env::var("TARE_TESTS_REQUIRE").is_ok_and(|all| all.starts_with("all"));
        assert!(!strict, "{prefix}: nothing is recorded");
        return;
    }
    let mut seen = counted();
    for _ in 1..TRIES {
        let (rises, _) = compare(&golden, &seen);
        if rises.is_empty() {
            break;
        }
        println!("more than recorded, counted again:\n{}", rises.join("\n"));
        seen = fewest(seen, &counted());
    }
    let (rises, falls) = compare(&golden, &seen);
    if !falls.is_empty() {
        println!(
            "fewer than recorded, to be kept by TARE_GOLDEN=write:\n{}",
            falls.join("\n")
        );
    }
    assert!(
        rises.is_empty(),
        "more than recorded, {TRIES} times:\n{}",
        rises.join("\n")
    );
}

/// The same for a few counts, each under its name behind the prefix.
#[track_caller]
pub(crate) fn hold_each<const N: usize>(
    prefix: &str,
    mut count: impl FnMut() -> [(&'static str, usize); N],
) {
    hold(prefix, || {
        let named = count().map(|(name, n)| (format!("{prefix} {name}"), n));
        named.into_iter().collect()
    });
}

#[test]
fn golden_rise_is_told_from_fall() {
    let golden = parse("# comment\n\na b 2\na c 1\na d 3\na waits 4\n");
    let seen = parse("a b 3\na d 2\na e 1\na waits 1\n");
    let (rises, falls) = compare(&golden, &seen);
    assert_eq!(rises, ["a b: 3, golden 2", "a e: 1, golden 0"]);
    assert_eq!(falls, ["a c: 0, golden 1", "a d: 2, golden 3"]);
}

#[test]
fn golden_rise_is_counted_again() {
    let seen = fewest(parse("a b 3\na c 1\na d 1\n"), &parse("a b 2\na c 1\n"));
    assert_eq!(seen, parse("a b 2\na c 1\n"));
}
