// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files of a sandbox from outside: single ones, directories, attacks from
//! inside.

#[path = "../harness/mod.rs"]
mod harness;

#[allow(dead_code, reason = "tests/layer uses the rest")]
#[path = "../layer/tar.rs"]
mod archive;
mod attacks;
mod dirs;
mod rights;
mod single;
mod trees;
mod users;

use tare::{Error, Output, Sandbox};

use harness::{Ground, line, run, sh};

/// Runs `body` on each back end and each place of writes.
#[track_caller]
fn everywhere(body: impl Fn(&Ground, &Sandbox)) {
    for json in [
        "{}",
        r#"{"write": "disk"}"#,
        r#"{"storage": "copy"}"#,
        r#"{"storage": "copy", "write": "disk"}"#,
        r#"{"security": {"profile": "strict"}}"#,
    ] {
        let ground = Ground::new();
        let sandbox = ground.open_with(json);
        body(&ground, &sandbox);
        sandbox.close().unwrap_or_else(|e| panic!("{json}: {e}"));
    }
}

/// Returns whether a single id is there to own files.
fn single_id() -> bool {
    std::env::var_os("USER").is_some_and(|user| user == "tare-t-plain")
}

/// Asserts the errno of a failure.
#[track_caller]
fn fails<T>(outcome: Result<T, Error>, expected: i32) {
    assert_eq!(errno(outcome), expected);
}

/// Runs a line of shell.
#[track_caller]
fn shell(sandbox: &Sandbox, line: &str) -> Output {
    run(sandbox, sh(line))
}

/// Asserts the output of a line of shell.
#[track_caller]
fn says(sandbox: &Sandbox, command: &str, expected: &str) {
    assert_eq!(line(sandbox, command), expected, "{command}");
}

/// The errno of a failure.
#[track_caller]
fn errno<T>(outcome: Result<T, Error>) -> i32 {
    let error = outcome.err().expect("it fails");
    error.errno().unwrap_or_else(|| panic!("{error}"))
}
