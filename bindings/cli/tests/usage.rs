// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bad input gives a line with the cure and exit status 125, and leaves no
//! partial file. Help is no bad input.

mod common;

use common::{TARE, Tare, everybody, rows, shell};
use tare_oracle::need;

#[test]
fn bad_input_is_one_line_and_125() {
    need!(root, overlay, userns);
    for tare in everybody() {
        for row in rows(include_str!("wrong_lines.txt")) {
            let (line, words) = row.split_once(" => ").expect(row);
            let words: Vec<&str> = words.split(" | ").collect();
            let said = shell(&tare, tare.store.path(), line);
            said.fails(125, &words);
            // A file that is no archive is not shown.
            assert!(!said.stderr.contains("root:x:"), "{said:?}");
        }
        assert_eq!(tare.run(&["image", "list", "--json"]).ok(), "[]");
        assert_eq!(tare.scratch(), 0);
    }
}

#[test]
fn control_characters_of_arguments_are_shown_escaped() {
    let tare = Tare::new();
    let hostile = "X\u{1b}[31m\u{9b}2J\u{202e}\n";
    for args in [
        &[hostile][..],
        &["run", &format!("--{hostile}")],
        &["run", "--memory", hostile, "host"],
        &["image", "import", hostile],
        &["image", "import", &format!("archive:{hostile}")],
        &["run", "--spec", hostile],
        &["--store", &format!("/proc/{hostile}"), "image", "list"],
    ] {
        let said = tare.run(args);
        said.fails(125, &[]);
        let line = said.stderr.trim_end_matches('\n');
        assert!(!line.contains(tare::error::Quoted::escapes), "{said:?}");
    }
}

#[test]
fn store_that_cannot_be_is_125() {
    need!(root, user("plain"));
    let tare = Tare::of(tare_oracle::ordinary_user(false));
    tare.run(&["--store", "/proc/nowhere", "run", "host", "true"])
        .fails(125, &["open store", "/proc/nowhere"]);
    tare.run(&["--store", "/etc", "run", "host", "true"])
        .fails(125, &["/etc"]);
    assert!(!std::path::Path::new("/etc/scratch").exists());
}

#[test]
fn help_and_version_are_no_failure() {
    let tare = Tare::new();
    for args in [
        &["--help"][..],
        &["run", "--help"],
        &["image", "import", "--help"],
        &["--version"],
        &["version"],
        &["completion", "bash"],
    ] {
        let said = tare.run(args);
        assert!(!said.ok().is_empty() && said.stderr.is_empty(), "{said:?}");
    }
    let json = tare.run(&["version", "--json"]).json();
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(tare.run(&[]).status, 125);
}

#[test]
fn manual_has_a_page_for_each_subcommand() {
    let tare = Tare::new();
    let dir = tare.tempdir();
    let man = dir.path().join("man1");
    tare.run(&["man", man.to_str().unwrap()]).ok();
    for page in [
        "tare.1",
        "tare-run.1",
        "tare-doctor.1",
        "tare-image-import.1",
        "tare-spec.1",
    ] {
        let text = std::fs::read_to_string(man.join(page)).expect(page);
        assert!(text.contains(".SH NAME"), "{page}");
    }
}

#[test]
fn closed_output_is_no_panic() {
    let script = format!("{TARE} run --help | true; {TARE} doctor --json | true");
    let output = std::process::Command::new("sh")
        .args(["-c", &script])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains("panicked"), "{said}");
}
