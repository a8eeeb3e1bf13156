// SPDX-License-Identifier: MIT OR Apache-2.0
//! Holds the picture in `docs/architecture.md`: the direction of imports, the
//! places of unsafe code, the length of files and functions.
//!
//! faces (`bindings/*`), wings (`crates/*`) -> nouns -> plan, image, backend,
//! helper -> parts -> ops, spec, error, wire, work -> sys

#[path = "architecture/circles.rs"]
mod circles;
#[path = "architecture/cure_scripts.rs"]
mod cure_scripts;
#[path = "architecture/cure_texts.rs"]
mod cure_texts;
#[path = "architecture/cures.rs"]
mod cures;
#[path = "architecture/figures.rs"]
mod figures;
#[path = "architecture/map.rs"]
mod map;
#[path = "architecture/source.rs"]
mod source;
#[path = "architecture/threats.rs"]
mod threats;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Every module of the library, by rank from the top. A module imports only
/// modules of lower ranks, so that no circle can be.
const RANKS: [&[&str]; 14] = [
    &["testing"],
    &["doctor", "files", "pool"],
    &["mount", "sandbox"],
    &["process", "store"],
    &["instance"],
    &["plan"],
    &["backend"],
    &["helper"],
    &["image"],
    &["command", "parts"],
    &["ops", "spec", "work"],
    &["error", "status", "wire"],
    &["sys"],
    &["weak"],
];
/// Places of unsafe code.
const UNSAFE: [&str; 4] = [
    "src/sys.rs",
    "src/sys/",
    "crates/tare-init/src/",
    "bindings/c/",
];
/// Crates beside the library: below, and above.
const CRATES: &str = "crates/";
const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 80;
const SPDX: &str = "SPDX-License-Identifier: MIT OR Apache-2.0";
/// Kept in two pieces, or this file would be the first to fail.
const FORBIDDEN: [[&str; 2]; 6] = [
    ["/wo", "rk/"],
    ["../sha", "red"],
    ["/tmp/la", "nd"],
    ["TO", "DO"],
    ["FIX", "ME"],
    ["X", "XX:"],
];
const WRITTEN_BY_HAND: [&str; 9] = ["rs", "sh", "py", "go", "c", "h", "toml", "md", "txt"];

/// A file below the workspace.
#[derive(Clone)]
struct File {
    /// Relative to the workspace, with slashes.
    path: String,
    text: String,
}

impl File {
    fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.into(),
            text: text.into(),
        }
    }

    fn is(&self, extension: &str) -> bool {
        Path::new(&self.path)
            .extension()
            .is_some_and(|e| e == extension)
    }

    /// A source file of a shipped crate.
    fn ships(&self) -> bool {
        const DIRS: [&str; 3] = ["src/", CRATES, "bindings/"];
        self.is("rs") && DIRS.iter().any(|dir| self.path.starts_with(dir))
    }

    /// `src/parts/caps.rs` is `["parts", "caps"]`; `None` for the crate's root,
    /// for tests, and outside of the library.
    fn module(&self) -> Option<Vec<&str>> {
        let inner = self.path.strip_prefix("src/")?.strip_suffix(".rs")?;
        let module: Vec<&str> = inner.split('/').filter(|part| *part != "mod").collect();
        let apart = module[0] == "lib" || module.contains(&"tests");
        (!apart).then_some(module)
    }
}

/// Every file except those of cargo, git and generators.
fn files() -> Vec<File> {
    files_of(Path::new(env!("CARGO_MANIFEST_DIR")))
}

fn files_of(root: &Path) -> Vec<File> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(root.join(&dir)).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            let path = dir.join(&name);
            let shown = path.to_str().unwrap().to_owned();
            let hidden = name.starts_with('.') && name != ".ci";
            if hidden || name == "target" || shown == "include/tare.h" {
                continue;
            }
            let by_hand = Path::new(&name)
                .extension()
                .is_none_or(|e| WRITTEN_BY_HAND.iter().any(|w| e == *w));
            if entry.file_type().unwrap().is_dir() {
                open.push(path);
            } else if by_hand && let Ok(text) = fs::read_to_string(root.join(&path)) {
                found.push(File { path: shown, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn rank(module: &str) -> Option<usize> {
    RANKS.iter().position(|rank| rank.contains(&module))
}

/// Imports of one module or file by another, each with its first place.
type Arrows = BTreeMap<(String, String), String>;

/// Every arrow between top modules.
fn arrows(files: &[File]) -> Arrows {
    let mut found = BTreeMap::new();
    for file in files {
        let Some(module) = file.module() else {
            continue;
        };
        for (path, line) in source::paths(&file.text, &module) {
            let Some(name) = path.into_iter().next() else {
                continue;
            };
            // Re-exported types and functions of the root count as part of
            // their module.
            let to = match name.as_str() {
                "Error" | "Kind" | "Result" => "error".to_owned(),
                "Spec" => "spec".to_owned(),
                _ => name,
            };
            if to != module[0] {
                let seen = format!("{}:{line}", file.path);
                found.entry((module[0].to_owned(), to)).or_insert(seen);
            }
        }
    }
    found
}

fn check_arrows(files: &[File]) -> Vec<String> {
    let arrows = arrows(files);
    let mut wrong = Vec::new();
    for ((from, to), seen) in &arrows {
        let unknown = [from, to].into_iter().find(|m| rank(m).is_none());
        if let Some(module) = unknown {
            wrong.push(format!(
                "{seen}: {module} has no rank in tests/architecture.rs"
            ));
        } else if rank(from) >= rank(to) {
            wrong.push(format!("{seen}: {from} -> {to} does not point down"));
        }
    }
    wrong
}

/// Refuses a `#[path]` that leads out of a crate.
fn check_crates(files: &[File]) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files.iter().filter(|f| f.path.starts_with(CRATES)) {
        for (number, line) in (1..).zip(file.text.lines()) {
            if line.trim().starts_with("#[path = \"") {
                wrong.push(format!("{}:{number}: a file of elsewhere", file.path));
            }
        }
    }
    wrong
}

fn check_unsafe(files: &[File]) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files.iter().filter(|f| f.ships()) {
        if UNSAFE.iter().any(|place| file.path.starts_with(place)) {
            continue;
        }
        for line in source::lines_of(&file.text, "unsafe") {
            wrong.push(format!(
                "{}:{line}: unsafe code outside its places",
                file.path
            ));
        }
    }
    wrong
}

fn check_sizes(files: &[File]) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files.iter().filter(|f| !f.is("md") && !f.is("txt")) {
        let lines = file.text.lines().count();
        if lines > FILE_LINES && file.is("rs") | file.is("sh") | file.is("py") | file.is("go") {
            wrong.push(format!("{}: {lines} lines", file.path));
        }
        if file.is("rs") {
            for f in source::functions(&file.text) {
                if f.lines > FUNCTION_LINES {
                    let (path, line) = (&file.path, f.line);
                    wrong.push(format!("{path}:{line}: fn {} of {} lines", f.name, f.lines));
                }
            }
        }
    }
    wrong
}

fn check_first_lines(files: &[File]) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files {
        let mut lines = file.text.lines();
        if file.is("rs") {
            let licensed = lines.next() == Some(&format!("// {SPDX}"));
            let job = lines.next().is_some_and(|l| l.starts_with("//! "));
            if !licensed || !job {
                wrong.push(format!(
                    "{}: begins with SPDX, then //! and its job",
                    file.path
                ));
            }
        } else if ["sh", "py", "go", "c", "h"].iter().any(|e| file.is(e))
            && !lines.take(3).any(|l| l.contains(SPDX))
        {
            wrong.push(format!("{}: no SPDX line at the top", file.path));
        }
    }
    wrong
}

fn check_words(files: &[File]) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files.iter().filter(|f| !f.path.starts_with("tests/data/")) {
        for (number, line) in (1..).zip(file.text.lines()) {
            for word in FORBIDDEN.map(|pieces| pieces.concat()) {
                if line.contains(&word) {
                    wrong.push(format!("{}:{number}: {word:?}", file.path));
                }
            }
        }
    }
    wrong
}

type Check = fn(&[File]) -> Vec<String>;

#[track_caller]
fn assert_clean(check: Check) {
    let files = files();
    assert!(files.iter().any(|f| f.path == "src/lib.rs"), "no sources");
    let wrong = check(&files);
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn imports_point_one_way() {
    assert_clean(check_arrows);
}

#[test]
fn crates_are_made_of_their_own_files() {
    assert_clean(check_crates);
}

#[test]
fn unsafe_code_stays_fenced() {
    assert_clean(check_unsafe);
}

#[test]
fn files_and_functions_stay_short() {
    assert_clean(check_sizes);
}

#[test]
fn files_begin_with_license_and_job() {
    assert_clean(check_first_lines);
}

#[test]
fn forbidden_words_are_absent() {
    assert_clean(check_words);
}

#[track_caller]
fn assert_refused(check: Check, path: &str, texts: &[&str]) {
    for text in texts {
        let told = check(&[File::new(path, text)]);
        assert!(!told.is_empty(), "{path}: {text:.80}");
    }
}

#[track_caller]
fn assert_accepted(check: Check, path: &str, texts: &[&str]) {
    for text in texts {
        let told = check(&[File::new(path, text)]);
        assert!(told.is_empty(), "{path}: {text:.80}: {told:?}");
    }
}

#[test]
fn arrow_that_points_up_is_refused() {
    let wrong = [
        "use crate::parts::caps;",
        "use crate::{error::{Error, Kind}, plan};",
        "use crate::nowhere::Nothing;",
        "fn f() { crate::image::open() }",
        "use super::super::image;",
    ];
    let right = [
        "use crate::{error::{Error, Kind}, sys::fd};",
        "use super::limits; // crate::image",
        "const S: &str = \"crate::image\";",
        "#[cfg(test)]\nmod tests { use crate::image; }",
        "use super::image;",
    ];
    assert_refused(check_arrows, "src/spec/units.rs", &wrong);
    assert_accepted(check_arrows, "src/spec/units.rs", &right);
    let error = "use crate::error::Error;";
    assert_refused(check_arrows, "src/sys/fd.rs", &[error]);
    assert_refused(check_arrows, "src/nowhere.rs", &[error]);
    assert_accepted(check_arrows, "src/spec/tests.rs", &["use crate::image;"]);
    let path = "crates/tare-init/src/main.rs";
    assert_refused(check_crates, path, &["#[path = \"../error.rs\"]"]);
    assert_accepted(check_crates, path, &["mod error;"]);
}

#[test]
fn unsafe_code_outside_the_fence_is_refused() {
    let wrong = ["fn f() { unsafe { g() } }", "unsafe impl Send for T {}"];
    let right = "#![forbid(unsafe_code)] // unsafe\nconst A: &str = r#\"unsafe\"#;";
    assert_refused(check_unsafe, "src/plan.rs", &wrong);
    assert_refused(check_unsafe, "bindings/python/src/lib.rs", &wrong);
    assert_refused(check_unsafe, "crates/tare-wire/src/op.rs", &wrong);
    assert_accepted(check_unsafe, "src/plan.rs", &[right]);
    assert_accepted(check_unsafe, "src/sys/fd.rs", &wrong);
}

#[test]
fn long_files_and_functions_are_refused() {
    let long = |lines: usize| "x\n".repeat(lines);
    let function = |lines: usize| format!("fn f() {{\n{}}}\n", long(lines - 2));
    let types = format!("const F: fn() = g;\ntrait T {{ fn f(); }}\n{}", long(90));
    let braces = format!("fn f() {{ ('{{', '\\'', \"{{\") }}\n{}", long(90));
    assert_refused(check_sizes, "src/plan.rs", &[&long(501), &function(81)]);
    let right = [&long(500), &function(80), &types, &braces];
    assert_accepted(check_sizes, "src/plan.rs", &right.map(String::as_str));
    assert_refused(check_sizes, "tests/x.sh", &[&long(501)]);
    assert_accepted(check_sizes, "tests/x.sh", &[&long(500)]);
}

#[test]
fn missing_first_lines_and_forbidden_words_are_refused() {
    let jobless = format!("// {SPDX}\nuse std::io;\n");
    let right = format!("// {SPDX}\n//! Job.\n");
    assert_refused(check_first_lines, "src/plan.rs", &["//! Job.\n", &jobless]);
    assert_accepted(check_first_lines, "src/plan.rs", &[&right]);
    assert_refused(check_first_lines, "tests/x.sh", &["#!/bin/sh\necho\n"]);
    let words = [["/wo", "rk/x"].concat(), ["// TO", "DO: later"].concat()];
    assert_refused(check_words, "docs/a.md", &[&words[0], &words[1]]);
    assert_accepted(check_words, "docs/a.md", &["let works = 1;"]);
}

#[test]
fn arrow_between_equals_is_refused() {
    let down = [
        File::new("src/plan.rs", "use crate::backend::Backend;"),
        File::new("src/backend.rs", "use crate::image::Image;"),
        File::new("src/image.rs", "use crate::error::Error;"),
    ];
    assert_eq!(check_arrows(&down), Vec::<String>::new());
    for (path, text) in [
        ("src/image/x.rs", "use crate::plan::Plan;"),
        ("src/process/x.rs", "use crate::store::Store;"),
        ("src/process/x.rs", "use crate::sandbox::Sandbox;"),
    ] {
        let wrong = check_arrows(&[&down[..], &[File::new(path, text)]].concat());
        assert!(
            wrong.len() == 1 && wrong[0].ends_with("does not point down"),
            "{wrong:?}"
        );
    }
}
