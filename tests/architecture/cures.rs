// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tests/cures.txt` has a line for each cure of the sources, with the test
//! that follows the cure.

use std::collections::BTreeSet;

use super::cure_texts::{self, Cure};
use super::{File, assert_clean};

const TABLE: &str = "tests/cures.txt";
/// Separates a cure from its test, or from the reason why no test exists.
const ARROW: &str = " => ";
const REASON: &str = "reason: ";

/// A line of the table, with its number.
struct Line<'a> {
    number: usize,
    cure: Cure,
    followed: &'a str,
}

/// The lines of the table: a file's path, then its cures, indented. The second
/// value lists the faults of other lines.
fn read(table: &str) -> (Vec<Line<'_>>, Vec<String>) {
    let (mut lines, mut wrong, mut path) = (Vec::new(), Vec::new(), "");
    for (number, line) in (1..).zip(table.lines()) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some(inner) = line.strip_prefix("    ") else {
            path = line;
            continue;
        };
        match inner.rsplit_once(ARROW) {
            Some((text, followed)) => lines.push(Line {
                number,
                cure: Cure {
                    path: path.into(),
                    text: text.into(),
                },
                followed,
            }),
            None => wrong.push(format!("{TABLE}:{number}: no {ARROW:?}")),
        }
    }
    (lines, wrong)
}

/// Returns whether `FILE::NAME` is a test of the sources.
fn is_test(files: &[File], name: &str) -> bool {
    let Some((path, name)) = name.split_once("::") else {
        return false;
    };
    let Some(file) = files.iter().find(|f| f.path == path) else {
        return false;
    };
    let begins = match () {
        () if file.is("rs") => format!("#[test]\nfn {name}("),
        () if file.is("py") => format!("def {name}("),
        () if file.is("go") => format!("func {name}("),
        () => name.to_owned(),
    };
    let indented = begins.replace('\n', "\n    ");
    file.text.contains(&begins) || file.text.contains(&indented)
}

fn check_cures(files: &[File]) -> Vec<String> {
    let table = files.iter().find(|f| f.path == TABLE);
    let (lines, mut wrong) = read(table.map_or("", |f| &f.text));
    let cures: BTreeSet<Cure> = cure_texts::all(files).into_iter().collect();
    for Line {
        number,
        cure,
        followed,
    } in &lines
    {
        let Cure { path, text } = cure;
        if !cures.contains(cure) {
            wrong.push(format!("{TABLE}:{number}: {path} has no cure {text:?}"));
        }
        let has_reason = followed
            .strip_prefix(REASON)
            .is_some_and(|reason| !reason.is_empty());
        if !has_reason && !is_test(files, followed) {
            wrong.push(format!("{TABLE}:{number}: no test {followed}"));
        }
    }
    let listed: BTreeSet<&Cure> = lines.iter().map(|line| &line.cure).collect();
    if listed.len() < lines.len() {
        wrong.push(format!("{TABLE}: a cure has two lines"));
    }
    for cure in cures.iter().filter(|c| !listed.contains(c)) {
        let Cure { path, text } = cure;
        wrong.push(format!("{path}: the cure {text:?} has no line in {TABLE}"));
    }
    wrong
}

#[test]
fn cures_have_a_test_each() {
    assert_clean(check_cures);
}

/// A source with a cure, a table for the cure, and a file with the test.
fn sources(source: &str, table: &str) -> Vec<File> {
    let test = "#[test]\nfn grammar_that_is_followed_is_taken() {}\n";
    let carrier = "impl Error { fn with_cure(mut self, cure: u8) {} }";
    vec![
        File::new("src/error.rs", carrier),
        File::new("src/spec/units.rs", source),
        File::new("tests/cures.rs", test),
        File::new(TABLE, table),
    ]
}

#[test]
fn cure_without_a_test_is_refused() {
    let source = "fn f() { e.with_cure(\"write 1\") }";
    let line = "src/spec/units.rs\n    write 1 => ";
    let test = "tests/cures.rs::grammar_that_is_followed_is_taken";
    let said = |source: &str, table: &str| check_cures(&sources(source, table));
    for followed in [test, "reason: needs another kernel"] {
        let right = said(source, &format!("# A remark\n\n{line}{followed}"));
        assert_eq!(right, Vec::<String>::new(), "{followed}");
    }
    for (source, table) in [
        // An added cure, a removed cure, and tests and reasons that do not
        // exist.
        (source, String::new()),
        ("", format!("{line}{test}")),
        (source, format!("{line}tests/cures.rs::no_such_test")),
        (source, format!("{line}tests/none.rs::x")),
        (source, format!("{line}reason: ")),
        (source, format!("{line}{test}\n    write 1 => {test}")),
        (source, format!("src/spec/device.rs\n    write 1 => {test}")),
        (source, format!("{line}{test}\n    write 2")),
    ] {
        assert!(!said(source, &table).is_empty(), "{source} {table}");
    }
}

#[test]
fn cures_are_found_whichever_way_they_get_there() {
    for (source, expected) in [
        ("fn f() { e.with_cure(\"a\") }", &["a"][..]),
        (
            "fn f() { e.with_cure(format!(\"a {b}\\\n     c {}\", d.join(\", \"))) }",
            &["a {b}c {}"],
        ),
        (
            "const CURE: &str = \"a\";\nfn f() { e.with_cure(CURE) }",
            &["a"],
        ),
        (
            "fn f() { let cure = match x { \"b\" | \"c\" => \"a\", _ => \"d\" }; e.with_cure(cure) }",
            &["a", "d"],
        ),
        (
            "fn f() { e.with_cure(g(1)) }\nfn g(n: u8) -> &'static str { let x = \"b\"; if n == 1 { \"a\" } else { \"c\" } }",
            &["a", "c"],
        ),
        (
            "fn f() { wrong(x, \"a\") }\nfn wrong(why: &str, cure: &'static str) { e.with_cure(cure) }",
            &["a"],
        ),
        (
            "impl R { fn new(why: u8, cure: u8) -> R { x } }\nfn f() { R::new(\"b\", \"a\") }",
            &["a"],
        ),
        (
            "fn f() { let wrong = |why, cure| e.with_cure(cure); wrong(\"b\", \"a\") }",
            &["a"],
        ),
        (
            "const ROWS: [R; 1] = [R { why: \"b\", cure: \"a\" }];\nfn f() { e.with_cure(row.cure) }",
            &["a"],
        ),
        (
            "fn f() { let cure = match x { 1 => \"a\", _ => { let cure = \"c\"; return R::new(e, cure); } }; e.with_cure(cure) }\nimpl R { fn new(why: u8, cure: u8) -> R { x } }",
            &["a", "c"],
        ),
        (
            "fn f() { e.with_cure(g()) }\nfn g() -> String { if x {\n        return format!(\"a\");\n    }\n    \"b\".into() }",
            &["a", "b"],
        ),
        ("fn f() { E::custom(\"b; try: a\") }", &["a"]),
        ("fn f() { e.with_cure(names.first()) }", &["names.first()"]),
        (
            "fn f() { e.cure() }\n#[cfg(test)]\nmod tests { fn g() { e.with_cure(\"a\") } }",
            &[],
        ),
        (
            "// e.with_cure(\"a\")\nconst A: &str = \"e.with_cure()\";",
            &[],
        ),
    ] {
        let source = format!("{source}\nimpl Error {{ fn with_cure(mut self, cure: u8) {{}} }}");
        let found = cure_texts::all(&[File::new("src/spec/units.rs", &source)]);
        let found: Vec<&str> = found.iter().map(|cure| &*cure.text).collect();
        assert_eq!(found, expected, "{source}");
    }
}

#[test]
fn cures_of_scripts_are_found() {
    for (path, text, expected) in [
        (
            "bindings/python/python/tare/_keywords.py",
            "_BOTH = {\n    \"b\": 'a \"c\"',\n}\n",
            "a \"c\"",
        ),
        (
            "bindings/python/python/tare/_sandbox.py",
            "cure = f\"a {b}\"",
            "a {b}",
        ),
        (
            "bindings/python/python/tare/x.py",
            "f\"{said}: b; try: --a-{key}\"",
            "--a-{key}",
        ),
        (
            "bindings/go/store.go",
            "const subject, cure = \"b\", \"a\"",
            "a",
        ),
        (
            "bindings/go/store.go",
            "func wrong(step, cure string) error {\n\treturn wrong(\"b\", \"a\")",
            "a",
        ),
    ] {
        let found = cure_texts::all(&[File::new(path, text)]);
        assert_eq!(found.len(), 1, "{text}");
        assert_eq!(found[0].text, expected, "{text}");
    }
}
