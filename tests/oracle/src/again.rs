// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs tests of this program in processes of their own: as another caller,
//! behind another program, in a role.

use std::env;
use std::path::PathBuf;
use std::process::Command;

const PLACE: &str = "TARE_TEST_PLACE";
const ROLE: &str = "TARE_TEST_ROLE";

/// Returns the path of this test program.
///
/// # Panics
/// Where there is no procfs.
pub fn this_program() -> PathBuf {
    env::current_exe().expect("a running program has a path")
}

/// Returns the name of the test that a closure stands in.
pub fn test_of<F>(_: &F) -> &'static str {
    let path = std::any::type_name::<F>();
    let path = path.split_once("::").map_or(path, |(_crate, path)| path);
    path.split_once("::{{closure}}")
        .map_or(path, |(test, _)| test)
}

/// Has a command that starts this program run one test and no other, an
/// ignored one too.
pub fn only<'c>(command: &'c mut Command, test: &str) -> &'c mut Command {
    command.args(["--exact", "--include-ignored", "--nocapture"]);
    command.args(["--test-threads=1", test])
}

/// Runs one test once more, by a command that starts this program. Returns what
/// the test wrote.
///
/// # Panics
/// When the test does not run or does not pass.
#[track_caller]
pub fn passes_again(command: &mut Command, test: &str) -> String {
    let output = only(command, test).output();
    let output = output.unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{command:?}: {said}"
    );
    said
}

/// Runs all tests of this program once more, by a command that starts this
/// program as an ordinary user, but those that call this function and those
/// that this process skips.
///
/// # Panics
/// When a test does not pass.
#[track_caller]
pub fn all_pass_again(command: &mut Command, threads: usize) {
    let output = command
        .arg(format!("--test-threads={threads}"))
        .args(["--skip", "ordinary_users_"])
        .args(skipped())
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
}

/// Returns the `--skip` words that this process was given.
fn skipped() -> Vec<String> {
    let words: Vec<String> = env::args().collect();
    let pairs = words.windows(2).filter(|pair| pair[0] == "--skip");
    pairs.flatten().cloned().collect()
}

/// Has a command that starts this program run the ignored test `test`, which
/// asks [`role`] what it is to do, and where.
pub fn in_role<'c>(
    command: &'c mut Command,
    test: &str,
    role: &str,
    place: PathBuf,
) -> &'c mut Command {
    only(command, test).env(ROLE, role).env(PLACE, place)
}

/// Returns the role of this process and its place, unless users have started
/// the test program.
pub fn role() -> Option<(String, PathBuf)> {
    Some((env::var(ROLE).ok()?, env::var_os(PLACE)?.into()))
}
