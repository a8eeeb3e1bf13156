// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files that need each other cannot be read, tested or changed one by one.

use std::collections::BTreeSet;

use super::figures::circles;
use super::{Arrows, CRATES, File, assert_clean, source};

/// `bindings/cli/src/run/flags.rs` is `["cli", "run", "flags"]`: the crate,
/// then the modules; `None` for the crate's root and for tests.
fn place(file: &File) -> Option<Vec<&str>> {
    let mut others = ["bindings/", CRATES].into_iter();
    let (name, inner) = match others.find_map(|dir| file.path.strip_prefix(dir)) {
        Some(rest) => rest.split_once("/src/")?,
        None => ("tare", file.path.strip_prefix("src/")?),
    };
    let modules = inner.strip_suffix(".rs")?.split('/');
    let modules = modules.filter(|part| *part != "mod");
    let place: Vec<&str> = std::iter::once(name).chain(modules).collect();
    let apart = ["lib", "main"].contains(&place[1]) || place.contains(&"tests");
    (!apart).then_some(place)
}

/// Every arrow between two files of a crate, except those between a module and
/// its parts.
pub(super) fn arrows_of_files(files: &[File]) -> Arrows {
    let files: Vec<_> = files.iter().filter_map(|f| Some((f, place(f)?))).collect();
    let places: BTreeSet<String> = files.iter().map(|(_, place)| place.join("/")).collect();
    let mut found = Arrows::new();
    for (file, place) in &files {
        let from = place.join("/");
        for (path, line) in source::paths(&file.text, &place[1..]) {
            let whole = std::iter::once(place[0].to_owned()).chain(path);
            let whole: Vec<String> = whole.collect();
            let mut prefixes = (1..=whole.len()).rev().map(|n| whole[..n].join("/"));
            let Some(to) = prefixes.find(|prefix| places.contains(prefix)) else {
                continue;
            };
            let holds = |a: &str, b: &str| b.starts_with(&format!("{a}/"));
            if from != to && !holds(&from, &to) && !holds(&to, &from) {
                let seen = format!("{}:{line}", file.path);
                found.entry((from.clone(), to)).or_insert(seen);
            }
        }
    }
    found
}

/// No arrow leads back to its file, on any way.
fn check_circles(files: &[File]) -> Vec<String> {
    let arrows = arrows_of_files(files);
    let circles = circles(&arrows);
    let closing = arrows.iter().filter(|((from, to), _)| {
        let has_both = |circle: &BTreeSet<String>| circle.contains(from) && circle.contains(to);
        circles.iter().any(has_both)
    });
    closing
        .map(|((from, to), seen)| format!("{seen}: {from} -> {to} closes a circle"))
        .collect()
}

#[test]
fn files_form_no_circles() {
    assert_clean(check_circles);
}

#[test]
fn circle_of_files_is_refused() {
    let circle = [
        File::new("src/image/store/a.rs", "use super::b::{B, C};"),
        File::new(
            "src/image/store/b.rs",
            "use crate::image::{Image, layer::Layer};",
        ),
        File::new(
            "src/image/layer.rs",
            "fn f() { crate::image::store::a::g() }",
        ),
        File::new("crates/tare-init/src/x.rs", "use crate::y::Y;"),
        File::new("crates/tare-init/src/y.rs", "use crate::z;"),
        File::new("bindings/cli/src/run.rs", "use super::image::Bars;"),
        File::new("bindings/cli/src/image.rs", "use crate::run::Flags;"),
        File::new("src/sandbox.rs", "use crate::process::Process;"),
        File::new("src/process.rs", "use crate::sandbox::Sandbox;"),
    ];
    let wrong = check_circles(&circle);
    assert_eq!(wrong.len(), 7, "{wrong:#?}");
    let right = [
        File::new(
            "src/image/store.rs",
            "mod a; use a::A; use crate::image::store::a::B;",
        ),
        File::new(
            "src/image/store/a.rs",
            "use super::Store; use super::super::layer::L;",
        ),
        File::new("src/image/layer.rs", "use crate::image::digest::Digest;"),
        File::new("src/image/digest.rs", "// use crate::image::layer::L;"),
        File::new("src/sandbox.rs", "use crate::process::Process;"),
    ];
    assert_eq!(check_circles(&right), Vec::<String>::new());
}
