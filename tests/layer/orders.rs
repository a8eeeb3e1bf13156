// SPDX-License-Identifier: MIT OR Apache-2.0
//! E07: the whiteouts and entries of a layer give the same tree in any order,
//! converted or applied.

use std::path::Path;

use tare::image::layer::{Ids, Options};
use tare_oracle::tree::{Field, Manifest};

use crate::cage::{Cage, applying, options};
use crate::tar::Tar;

/// Entries of a layer; the names visible over [`LOWER`] in every order of the
/// entries; those visible over nothing.
type Case = (&'static str, &'static str, &'static str);

const LOWER: &str = "a/b a/old a/x/b z";

/// Source: OCI image spec, "Whiteouts": they hide entries of lower layers, and
/// no entry of their own layer. A directory that only whiteouts imply belongs
/// to no layer.
const CASES: [Case; 19] = [
    ("a/.wh.b .wh.a", "z", ""),
    ("a/x/.wh.b .wh.a", "z", ""),
    ("a/x/.wh.b a/.wh.x .wh.a", "z", ""),
    ("a/.wh.b", "a a/old a/x a/x/b z", "a"),
    ("a/x/.wh.b", "a a/b a/old a/x z", "a a/x"),
    ("a/x/.wh.b a/.wh.x", "a a/b a/old z", "a"),
    ("a/x/.wh.b a/.wh.x a/", "a a/b a/old z", "a"),
    ("a/.wh.b .wh.a a/new", "a a/new z", "a a/new"),
    ("a/x/.wh.b .wh.a a/new", "a a/new z", "a a/new"),
    (
        "a/x/.wh.b .wh.a a/x/new",
        "a a/x a/x/new z",
        "a a/x a/x/new",
    ),
    ("a/x/.wh.b a/.wh.x .wh.a a/x/", "a a/x z", "a a/x"),
    ("a/.wh.b a/b", "a a/b a/old a/x a/x/b z", "a a/b"),
    ("a/.wh..wh..opq", "a z", "a"),
    ("a/.wh..wh..opq .wh.a", "z", ""),
    ("a/.wh..wh..opq a/.wh.x", "a z", "a"),
    ("a/.wh..wh..opq a/x/.wh.b a/b", "a a/b z", "a a/b"),
    (
        "a/x/.wh..wh..opq a/x/.wh.b a/.wh.old",
        "a a/b a/x z",
        "a a/x",
    ),
    ("a/x/.wh.b .wh..wh..opq .wh.z new", "new", "new"),
    ("a@0:0 a/.wh.b z", "z", "z"),
];

/// Devices, which all users but root leave out.
const DEVICES: [Case; 2] = [
    ("a@1:3 .wh.a z", "z", "z"),
    ("a/null@1:3 .wh.a", "a z", "a"),
];

/// Every order of `entries`.
fn orders<'a>(entries: &[&'a str]) -> Vec<Vec<&'a str>> {
    let Some((first, rest)) = entries.split_first() else {
        return vec![Vec::new()];
    };
    let places = |order: Vec<&'a str>| {
        let with = move |at: usize| {
            let mut order = order.clone();
            order.insert(at, first);
            order
        };
        (0..entries.len()).map(with)
    };
    orders(rest).into_iter().flat_map(places).collect()
}

/// Entries of lower layers that an overlay hides because of the directory entry
/// at a path.
#[derive(PartialEq)]
enum Hides {
    /// The path itself, also hidden.
    All,
    /// The entries below the path.
    Below,
    Nothing,
}

fn hides(upper: &Manifest, path: &Path) -> Hides {
    let Some(entry) = upper.entries().get(path) else {
        return Hides::Nothing;
    };
    if upper.field(path, Field::Device) == Some("0:0") {
        return Hides::All;
    }
    let opaque = |(_, key): &(Field, String)| key.ends_with(".overlay.opaque");
    let is_dir = upper.field(path, Field::Type) == Some("dir");
    match is_dir && !entry.keys().any(opaque) {
        true => Hides::Nothing,
        false => Hides::Below,
    }
}

/// The names that an overlay shows.
fn overlaid(upper: &Manifest, lower: &[String]) -> Vec<String> {
    let shows = |name: &&String| {
        let path = Path::new(name);
        let mut above = path.ancestors().skip(1);
        hides(upper, path) != Hides::All && above.all(|dir| hides(upper, dir) == Hides::Nothing)
    };
    let mut names: Vec<_> = lower.iter().filter(shows).cloned().collect();
    let made = upper.entries().keys().map(std::path::PathBuf::as_path);
    names.extend(
        made.filter(|path| *path != Path::new("") && hides(upper, path) != Hides::All)
            .map(|path| path.display().to_string()),
    );
    names.sort();
    names.dedup();
    names
}

#[track_caller]
fn check(entries: &str, ids: Ids, lower: &str, expected: &str) {
    let with = |options: Options| Options { ids, ..options };
    let below = Cage::of_layers(&[lower]);
    let upper = Cage::new();
    let tar = Tar::of(entries).end();
    let unpacked = upper.unpack_with(&tar, &with(options())).unwrap();
    let lower_names = match unpacked.opaque_root {
        true => Vec::new(),
        false => below.names(),
    };
    let shown = overlaid(&upper.tree(), &lower_names).join(" ");
    below.unpack_with(&tar, &with(applying())).unwrap();
    assert_eq!(shown, expected, "{entries:?} over {lower:?}, an overlay");
    let applied = below.names().join(" ");
    assert_eq!(applied, expected, "{entries:?} over {lower:?}");
}

#[test]
fn e07_whiteouts_and_entries_of_one_layer_give_one_tree_in_any_order() {
    for (cases, ids) in [(&CASES[..], options().ids), (&DEVICES, Ids::Single)] {
        for (entries, over, alone) in cases {
            let entries: Vec<&str> = entries.split(' ').collect();
            for order in orders(&entries) {
                check(&order.join(" "), ids, LOWER, over);
                check(&order.join(" "), ids, "", alone);
            }
        }
    }
}
