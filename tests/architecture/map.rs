// SPDX-License-Identifier: MIT OR Apache-2.0
//! The pages about the code and the tree: each path that
//! `docs/architecture.md` and `docs/design.md` name exists, and each top
//! module, crate and face is on the first. The second has short answers, and
//! the questions that sources refer to.

use super::File;
use std::collections::BTreeSet;
use std::path::Path;

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

/// Returns the paths of a page that do not exist.
fn stale(files: &[File], page: &str) -> Vec<String> {
    let text = files.iter().find(|f| f.path == page);
    let names = named(text.map_or("", |f| &f.text));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // `files` leaves out data and generated files.
    let exists = |name: &&str| {
        let is_there = |f: &File| f.path == **name;
        files.iter().any(is_there) || root.join(name).exists()
    };
    let gone = names.iter().filter(|name| !exists(name));
    gone.map(|name| format!("{page}: {name} does not exist"))
        .collect()
}

fn check_map(files: &[File]) -> Vec<String> {
    let page = files.iter().find(|f| f.path == PAGE);
    let named = named(page.map_or("", |f| &f.text));
    let gone = stale(files, PAGE).into_iter().chain(stale(files, ANSWERS));
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

/// Returns the questions that a source refers to, as `docs/design.md`, "...".
fn referred(text: &str) -> Vec<String> {
    let text = text.replace("\n//!", "").replace("\n///", "");
    let parts = text.split("`docs/design.md`, \"").skip(1);
    parts
        .filter_map(|rest| Some(rest.split_once('"')?.0.to_owned()))
        .collect()
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
    for file in files.iter().filter(|f| f.is("rs") && !is_own(f)) {
        for question in referred(&file.text) {
            if !questions.iter().any(|(known, _)| *known == question) {
                wrong.push(format!("{}: {ANSWERS} lacks {question:?}", file.path));
            }
        }
    }
    wrong
}

/// Returns whether this is the file whose tests have wrong references.
fn is_own(file: &File) -> bool {
    file.path == "tests/architecture/map.rs"
}

#[test]
fn answers_are_short_and_sources_refer_to_them() {
    super::assert_clean(check_answers);
}

#[test]
fn long_answer_or_wrong_reference_is_refused() {
    let long = format!("## Why?\n{}", "line\n".repeat(SCREEN + 1));
    let source = "//! See `docs/design.md`, \"Why\n//! so?\".";
    for (page, source, wrong) in [
        ("## Why so?\n\nSo.", source, 0),
        ("## Why so?\n\nSo.", "", 0),
        ("## Why not?\n", source, 1),
        ("## Because\n", "", 1),
        (&*long, "", 1),
    ] {
        let files = [File::new(ANSWERS, page), File::new("src/plan.rs", source)];
        let told = check_answers(&files);
        assert_eq!(told.len(), wrong, "{page:.20} {source}: {told:?}");
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
