// SPDX-License-Identifier: MIT OR Apache-2.0
//! The pages about the code and the tree: each path that
//! `docs/architecture.md` names exists, and each top module, crate and face is
//! on the page. `docs/design.md` has short answers.

use super::File;
use std::collections::BTreeSet;

const PAGE: &str = "docs/architecture.md";
const ROOTS: [&str; 6] = [
    "src/",
    "crates/",
    "bindings/",
    "tests/",
    "docs/",
    "scripts/",
];

/// Returns the paths that the page names: words in backticks that begin at a
/// directory of the project.
fn named(page: &str) -> BTreeSet<&str> {
    let quoted = page.split('`').skip(1).step_by(2);
    quoted
        .filter(|word| ROOTS.iter().any(|root| word.starts_with(root)))
        .collect()
}

/// Returns the rooms that the tree has: top modules as `src/plan`, the members
/// of `crates` and `bindings`.
fn rooms(files: &[File]) -> BTreeSet<String> {
    let modules = files.iter().filter_map(|f| f.module());
    let modules = modules.map(|module| format!("src/{}", module[0]));
    let members = files.iter().filter_map(|f| {
        let mut parts = f.path.split('/');
        let (top, member, below) = (parts.next()?, parts.next()?, parts.next());
        let is_member = ["crates", "bindings"].contains(&top) && below.is_some();
        is_member.then(|| format!("{top}/{member}"))
    });
    modules.chain(members).collect()
}

fn check_map(files: &[File]) -> Vec<String> {
    let page = files.iter().find(|f| f.path == PAGE);
    let named = named(page.map_or("", |f| &f.text));
    let exists = |name: &str| {
        let dir = format!("{}/", name.trim_end_matches('/'));
        files
            .iter()
            .any(|f| f.path == name || f.path.starts_with(&dir))
    };
    let gone = named.iter().filter(|name| !exists(name));
    let gone = gone.map(|name| format!("{PAGE}: {name} does not exist"));
    let shown = |room: &String| {
        named.iter().any(|name| {
            let name = name.strip_suffix(".rs").unwrap_or(name);
            name.trim_end_matches('/') == room
        })
    };
    let rooms = rooms(files);
    let missing = rooms.iter().filter(|room| !shown(room));
    let missing = missing.map(|room| format!("{PAGE}: {room} is not on the page"));
    gone.chain(missing).collect()
}

const ANSWERS: &str = "docs/design.md";
/// The most lines of an answer: a screen.
const SCREEN: usize = 60;

/// Returns the questions of the page, each with the number of its lines.
fn questions(page: &str) -> Vec<(&str, usize)> {
    let mut found: Vec<(&str, usize)> = Vec::new();
    for line in page.lines() {
        if let Some(question) = line.strip_prefix("## ") {
            found.push((question, 0));
        } else if let Some((_, lines)) = found.last_mut() {
            *lines += 1;
        }
    }
    found
}

fn check_answers(files: &[File]) -> Vec<String> {
    let page = files.iter().find(|f| f.path == ANSWERS);
    let questions = questions(page.map_or("", |f| &f.text));
    let mut wrong = Vec::new();
    for (question, lines) in &questions {
        if !question.ends_with('?') || *lines > SCREEN {
            wrong.push(format!("{ANSWERS}: {question}: {lines} lines"));
        }
    }
    wrong
}

#[test]
fn answers_are_short() {
    super::assert_clean(check_answers);
}

#[test]
fn long_answer_is_refused() {
    let long = format!("## Why?\n{}", "line\n".repeat(SCREEN + 1));
    for (page, wrong) in [("## Why so?\n\nSo.", 0), ("## Because\n", 1), (&*long, 1)] {
        let told = check_answers(&[File::new(ANSWERS, page)]);
        assert_eq!(told.len(), wrong, "{page:.20}: {told:?}");
    }
}

#[test]
fn map_names_what_the_tree_has() {
    super::assert_clean(check_map);
}

#[test]
fn map_with_a_stale_or_missing_name_is_refused() {
    let tree = |page: &str| {
        [
            File::new(PAGE, page),
            File::new("src/lib.rs", ""),
            File::new("src/plan.rs", ""),
            File::new("src/sys/fd.rs", ""),
            File::new("bindings/c/src/lib.rs", ""),
        ]
    };
    let all = "`src/plan.rs` `src/sys/` `bindings/c`";
    for (page, wrong) in [
        (all.to_owned(), 0),
        (format!("{all} `src/sys/fd.rs` `src`, `Plan`"), 0),
        (format!("{all} `src/live.rs`"), 1),
        (format!("{all} `bindings/c/src/gone/`"), 1),
        ("`src/plan.rs` `bindings/c/src/lib.rs` `src/sys`".into(), 1),
        ("`src/sys/` src/plan.rs `bindings/c`".into(), 1),
    ] {
        let told = check_map(&tree(&page));
        assert_eq!(told.len(), wrong, "{page}: {told:?}");
    }
}
