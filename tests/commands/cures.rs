// SPDX-License-Identifier: MIT OR Apache-2.0
//! Follows the cures of errors, and tries again. `tests/cures.txt` names the
//! test of each cure.

mod files;
mod machine;
mod places;
mod rights;
mod sandboxes;
mod spec;

use tare::Error;

/// The error's cure.
#[track_caller]
fn cure(error: &Error) -> String {
    let cure = error.cure().unwrap_or_else(|| panic!("no cure: {error}"));
    cure.to_owned()
}

/// The command of a cure, behind a colon if words come first.
fn command(cure: &str) -> &str {
    cure.split_once(": ").map_or(cure, |(_, command)| command)
}

/// The texts between quotes.
fn quoted(cure: &str) -> Vec<String> {
    cure.split('"').skip(1).step_by(2).map(Into::into).collect()
}

/// The words of a list, without quotes: `a, b or c; d and e`.
fn words(cure: &str) -> Vec<String> {
    let separated = cure
        .replace(" or ", ", ")
        .replace(" and ", ", ")
        .replace("; ", ", ");
    let words = separated
        .split(", ")
        .map(|word| word.trim().trim_matches(['"', ',']));
    words
        .filter(|word| !word.is_empty())
        .map(Into::into)
        .collect()
}

/// A grammar's texts: without the parts in brackets, and with each of them.
fn expanded(grammar: &str) -> Vec<String> {
    let parts: Vec<&str> = grammar.trim_end_matches(']').split('[').collect();
    (1..=parts.len()).map(|n| parts[..n].concat()).collect()
}

#[test]
fn words_and_grammars_are_taken_apart() {
    assert_eq!(
        words("ro, rw or \"a\"; x= and y="),
        ["ro", "rw", "a", "x=", "y="]
    );
    assert_eq!(expanded("A:B[:C[:D]]"), ["A:B", "A:B:C", "A:B:C:D"]);
    assert_eq!(quoted("write \"a\" with b \"c\""), ["a", "c"]);
    assert_eq!(command("as root: mount x"), "mount x");
    assert_eq!(command("mount x"), "mount x");
}
