// SPDX-License-Identifier: MIT OR Apache-2.0
//! The default sandbox beside Docker's documented default:
//! `tests/data/parity.golden`.
#![forbid(unsafe_code)]

#[path = "../attacks/mod.rs"]
mod attacks;
mod golden;
mod mounts;
mod seen;

use std::fs;
use std::path::Path;
use std::process::Command as Host;

use attacks::{Stage, compiled, everybody, is_root, is_single, probing, said};
use golden::{Golden, explained};
use tare_oracle::need;

/// The heading in `docs/design.md` above the reasons.
const HEADING: &str = "\n## Where does the default differ from Docker's?\n";

fn text(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn golden() -> Golden {
    Golden::parse(&text("tests/data/parity.golden")).unwrap()
}

/// The user of this run, and the machine's cgroups: the words that the golden
/// text knows.
fn place() -> [&'static str; 2] {
    let who = match (is_root(), is_single()) {
        (true, _) => "root",
        (false, true) => "plain",
        (false, false) => "subids",
    };
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let cgroups = match (
        mounts.contains(" - cgroup "),
        mounts.contains(" - cgroup2 "),
    ) {
        (true, true) => "hybrid",
        (true, false) => "v1",
        (false, _) => "v2",
    };
    [who, cgroups]
}

/// Facts that take a sandbox without a filter, or a program that asks for every
/// call.
fn of_calls(stage: &Stage, facts: &mut seen::Facts) {
    let open = stage.open(r#"{"security": {"seccomp": "off"}}"#);
    let inside = said(&open, probing("keyring"));
    let serial = inside.lines().find_map(|l| l.strip_prefix("serial "));
    let own = Host::new("keyctl").args(["id", "@s"]).output().unwrap();
    let own = String::from_utf8(own.stdout).unwrap();
    if serial.is_some_and(|serial| serial != own.trim()) {
        facts.insert("session keyring of its own".into());
    }
    stage.copy(compiled("syscalls"), "bin/syscalls");
    let answers = said(&stage.open("{}"), attacks::command(["syscalls"]));
    // 20 is getpid(2) of i386, 39 that of x32.
    let unknown = |line: &str| answers.contains(&format!("{line} {}\n", libc::ENOSYS));
    if unknown("i386 20") && unknown("x32 39") {
        facts.insert("calls of i386 and x32 are unknown".into());
    }
}

#[test]
fn default_is_dockers_but_for_what_is_explained() {
    need!(program("cc"), program("keyctl"));
    tare_oracle::foreground();
    let golden = golden();
    everybody(|| {
        let stage = Stage::new();
        let mut facts = seen::facts(&stage.open("{}"));
        of_calls(&stage, &mut facts);
        let place = place();
        let expected = golden.expected(&place).unwrap();
        let seen = facts.iter().map(String::as_str).collect();
        let differences: Vec<String> = expected
            .difference(&seen)
            .map(|fact| format!("not seen: {fact}"))
            .chain(
                seen.difference(&expected)
                    .map(|fact| format!("seen: {fact}")),
            )
            .collect();
        assert!(
            differences.is_empty(),
            "{place:?}:\n{}",
            differences.join("\n")
        );
    });
}

#[test]
fn view_of_the_host_is_confined_as_an_image_is() {
    everybody(|| {
        let stage = Stage::new();
        let image = seen::confinement(&stage.open("{}"));
        let host = tare::Sandbox::open(&stage.store, &tare::Spec::default()).unwrap();
        assert_eq!(seen::confinement(&host), image);
        assert!(image.len() > 50, "{image:?}");
    });
}

#[test]
fn reasons_are_those_of_the_document() {
    let (golden, document) = (golden(), text("docs/design.md"));
    assert_eq!(golden.reasons(), explained(&document, HEADING));
}

#[test]
fn golden_that_is_not_sound_is_refused() {
    for wrong in [
        "  fact  # reason",
        "- fact",
        "+ fact",
        "fact",
        "  [root fact",
        "  fact ",
        "- ",
    ] {
        assert!(Golden::parse(wrong).is_err(), "{wrong:?}");
    }
    for twice in ["  a\n  a", "  a\n+ a  # why", "- a  # why\n+ a  # why"] {
        let golden = Golden::parse(twice).unwrap();
        assert!(golden.expected(&[]).is_err(), "{twice:?}");
    }
}

#[test]
fn golden_lines_hold_where_they_say() {
    let text = "# a comment\n\n  all\n  [root] own\n- [plain|subids v1] theirs  # why\n+ [plain|subids v1] ours  # why\n";
    let golden = Golden::parse(text).unwrap();
    let of = |words: &[&str]| {
        let facts = golden.expected(words).unwrap();
        facts.into_iter().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(of(&["root", "v1"]), "all own");
    assert_eq!(of(&["plain", "v1"]), "all ours");
    assert_eq!(of(&["subids", "v2"]), "all");
    assert!(golden.reasons().into_iter().eq(["why"]));
    let document = "x\n## Why?\n\n| key | why |\n|---|---|\n| `a` | b |\n| `c` | d |\n\n## Next\n| `e` | f |\n";
    assert!(
        explained(document, "\n## Why?\n")
            .into_iter()
            .eq(["a", "c"])
    );
    assert!(explained(document, "\n## Whether?\n").is_empty());
}
