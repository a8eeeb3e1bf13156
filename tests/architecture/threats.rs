// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ids of attacks: each id that a test carries is defined in
//! `docs/threat-model.md`, and each id defined there has a test.

use super::File;
use std::collections::{BTreeMap, BTreeSet};

const PAGE: &str = "docs/threat-model.md";

/// Returns the ids at the head of a function's name: `e08_e09_x` has two.
fn in_name(name: &str) -> impl Iterator<Item = String> {
    name.split('_').map_while(id)
}

/// Returns a letter and two digits as an id, in capitals.
fn id(word: &str) -> Option<String> {
    let bytes = word.as_bytes();
    let is = bytes.len() == 3
        && bytes[0].is_ascii_alphabetic()
        && bytes[1..].iter().all(u8::is_ascii_digit);
    is.then(|| word.to_ascii_uppercase())
}

/// Returns the ids that a line of a test carries.
fn carried(line: &str) -> Vec<String> {
    let line = line.trim();
    if let Some(comment) = line.strip_prefix("//") {
        // The language standard C99 is no attack.
        let words = comment.split(|c: char| !c.is_ascii_alphanumeric());
        return words
            .filter(|word| word.starts_with(char::is_uppercase) && *word != "C99")
            .filter_map(id)
            .collect();
    }
    let name = line.split("fn ").nth(1).unwrap_or_default();
    in_name(name.split('(').next().unwrap_or_default()).collect()
}

/// Returns the ids that the page defines, each a row of a table.
fn defined(page: &str) -> BTreeSet<String> {
    let cells = page.lines().filter_map(|line| line.strip_prefix("| "));
    cells
        .filter_map(|line| id(line.split(' ').next()?))
        .collect()
}

fn check_threats(files: &[File]) -> Vec<String> {
    let page = files.iter().find(|f| f.path == PAGE);
    let defined = defined(page.map_or("", |f| &f.text));
    let mut seen = BTreeMap::new();
    let holds_tests = |path: &str| path.contains("tests/") || path.ends_with("tests.rs");
    let tests = files
        .iter()
        .filter(|f| f.is("rs") && holds_tests(&f.path) && !f.path.starts_with("tests/arch"));
    for file in tests {
        for (number, line) in (1..).zip(file.text.lines()) {
            for id in carried(line) {
                seen.entry(id)
                    .or_insert_with(|| format!("{}:{number}", file.path));
            }
        }
    }
    let undefined = seen.iter().filter(|(id, _)| !defined.contains(*id));
    let undefined = undefined.map(|(id, at)| format!("{at}: {id} is not defined in {PAGE}"));
    let untested = defined.iter().filter(|id| !seen.contains_key(*id));
    let untested = untested.map(|id| format!("{PAGE}: no test carries {id}"));
    undefined.chain(untested).collect()
}

#[test]
fn threats_of_tests_are_defined() {
    super::assert_clean(check_threats);
}

#[test]
fn threat_without_definition_or_test_is_refused() {
    let page = |ids: &[&str]| {
        let rows: Vec<_> = ids.iter().map(|id| format!("| {id} | a link |")).collect();
        File::new(PAGE, &rows.join("\n"))
    };
    let test = |text: &str| File::new("tests/attacks.rs", text);
    for (ids, text, wrong) in [
        (&["A01"][..], "fn a01_link_is_refused() {", 0),
        (&[], "fn a01_link_is_refused() {", 1),
        (&["A01"], "fn a01_b02_link_is_refused() {", 1),
        (&["A01", "B02"], "//! A01, B02: links.", 0),
        (&["A01"], "fn link_is_refused() { // C99", 1),
        (&[], "// From C99 on.\nfn link_a01_is_refused() {", 0),
    ] {
        let told = check_threats(&[page(ids), test(text)]);
        assert_eq!(told.len(), wrong, "{ids:?} {text}: {told:?}");
    }
}
