// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files of a sandbox from outside: single ones, directories, attacks from
//! inside.

#[path = "../harness/mod.rs"]
mod harness;

mod attacks;
mod dirs;
mod rights;
mod single;
mod trees;
mod users;

use tare::{Error, Sandbox};

use harness::Ground;

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

/// The errno of a failure.
#[track_caller]
fn errno<T>(outcome: Result<T, Error>) -> i32 {
    let error = outcome.err().expect("it fails");
    error.errno().unwrap_or_else(|| panic!("{error}"))
}
