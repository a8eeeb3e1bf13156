// SPDX-License-Identifier: MIT OR Apache-2.0
//! E07, E08, E15: whiteouts, devices, duplicates.

use std::fs;

use tare_oracle::need;
use tare_oracle::tree::Field;

use crate::cage::{Cage, applying, unpack_into};
use crate::tar::{Head, Tar};

fn is_whiteout(cage: &Cage, name: &str) -> bool {
    cage.field(name, Field::Device).as_deref() == Some("0:0")
}

fn is_opaque(cage: &Cage, name: &str) -> bool {
    let tree = cage.tree();
    let entry = &tree.entries()[std::path::Path::new(name)];
    entry
        .keys()
        .any(|(_, key)| key.ends_with(".overlay.opaque"))
}

#[test]
fn e07_whiteout_of_a_dot_name_or_below_a_whiteout_is_refused() {
    for name in [".wh.", ".wh..", ".wh...", "x/.wh.", "x/.wh..", ".wh.a/b"] {
        let tar = Tar::new().dir("x").file(name, "").end();
        Cage::new().refused(name, &tar);
        assert!(Cage::new().apply(&tar).is_err(), "{name}");
    }
    for head in [Head::new(b'5', ".wh.a"), Head::new(b'2', ".wh.a").link("x")] {
        Cage::new().refused("not a file", &Tar::new().head(head).end());
    }
    Cage::new().refused("with data", &Tar::new().file(".wh.a", "data").end());
}

#[test]
fn e07_whiteout_is_converted_for_overlayfs() {
    let cage = Cage::new();
    let long = "n".repeat(251);
    let tar = Tar::new()
        .dir("d")
        .file("d/.wh.a", "")
        .file("implied/.wh.b", "")
        .file("o/.wh..wh..opq", "")
        .file("o/kept", "")
        .file(".wh..wh.plnk", "")
        .pax(&[("path", format!(".wh.{long}").as_bytes())])
        .file("long", "");
    let unpacked = cage.unpack(&tar.end()).unwrap();
    assert!(!unpacked.opaque_root);
    assert_eq!(unpacked.notes.len(), 1, "{:?}", unpacked.notes);
    for name in ["d/a", "implied/b", &long] {
        assert!(is_whiteout(&cage, name), "{name}");
    }
    assert!(is_opaque(&cage, "o") && !is_opaque(&cage, "d"));
    assert!(cage.path("o/kept").is_file());
    let root = Cage::new().unpack(&Tar::new().file(".wh..wh..opq", "").end());
    assert!(root.unwrap().opaque_root);
}

/// Entries of a layer survive its own whiteouts, in either order.
#[test]
fn e07_whiteout_of_the_same_layer_hides_lower_layers_only() {
    let whiteout = |tar: Tar| tar.file(".wh.x", "");
    let orders: [fn(Tar) -> Tar; 2] = [
        |tar| tar.file(".wh.x", "").dir("x").file("x/new", "new"),
        |tar| tar.dir("x").file("x/new", "new").file(".wh.x", ""),
    ];
    for order in orders {
        let cage = Cage::new();
        cage.unpack(&order(Tar::new()).end()).unwrap();
        assert!(is_opaque(&cage, "x"));
        assert_eq!(cage.names(), ["x", "x/new"]);
        let cage = Cage::new();
        cage.apply(&Tar::new().file("x/old", "old").file("y", "").end())
            .unwrap();
        cage.apply(&order(Tar::new()).end()).unwrap();
        assert_eq!(cage.names(), ["x", "x/new", "y"]);
    }
    for tar in [
        whiteout(Tar::new()).file("x", "new"),
        whiteout(Tar::new().file("x", "new")),
    ] {
        let cage = Cage::new();
        cage.unpack(&tar.end()).unwrap();
        assert_eq!(fs::read(cage.path("x")).unwrap(), b"new");
    }
    // The whiteout counts even if a file stood between.
    let cage = Cage::new();
    cage.unpack(&whiteout(Tar::new()).file("x", "").dir("x").end())
        .unwrap();
    assert!(is_opaque(&cage, "x"));
}

#[test]
fn e07_parent_below_its_own_whiteout_becomes_opaque() {
    let cage = Cage::new();
    cage.unpack(&Tar::new().file(".wh.a", "").file("a/b", "").end())
        .unwrap();
    assert!(is_opaque(&cage, "a"));
    assert!(cage.path("a/b").is_file());
}

/// umoci writes a directory that became a file so: the file, and below it a
/// whiteout of each earlier name.
#[test]
fn e07_whiteout_below_what_is_no_directory_hides_nothing() {
    type Made = fn(Tar) -> Tar;
    let kinds: [(&str, Made); 5] = [
        ("file", |tar| tar.file("x", "new")),
        ("symlink", |tar| tar.file("y", "").symlink("x", "y")),
        ("symlink", |tar| tar.file("y", "").symlink("x", "/y/z")),
        ("fifo", |tar| tar.head(Head::new(b'6', "x"))),
        ("whiteout", |tar| tar.file(".wh.x", "")),
    ];
    let marks = ["x/.wh.old", "x/sub/.wh.old", "x/.wh..wh..opq"];
    for (kind, made) in kinds {
        for mark in marks {
            let tar = made(Tar::new()).file(mark, "").file("z", "");
            let tar = tar.end();
            let cage = Cage::new();
            let unpacked = cage.unpack(&tar);
            unpacked.unwrap_or_else(|error| panic!("{kind} {mark}: {error}"));
            match kind {
                "whiteout" => assert!(is_whiteout(&cage, "x"), "{mark}"),
                kind => assert_eq!(cage.field("x", Field::Type).unwrap(), kind, "{mark}"),
            }
            let names = cage.names();
            assert!(names.iter().all(|name| name.len() == 1), "{names:?}");
            let cage = Cage::new();
            let lower = Tar::new().file("x/old", "").file("x/sub/old", "");
            cage.apply(&lower.end()).unwrap();
            cage.apply(&tar).unwrap();
            let applied = cage.field("x", Field::Type);
            assert_eq!(applied.as_deref(), Some(kind).filter(|k| *k != "whiteout"));
            assert_eq!(
                cage.names().len(),
                names.len() - usize::from(kind == "whiteout")
            );
        }
    }
}

#[test]
fn e07_opaque_directory_first_last_or_twice_keeps_this_layer() {
    let orders: [&[&str]; 4] = [
        &["d/.wh..wh..opq", "d/new", "d/sub/new"],
        &["d/new", "d/sub/new", "d/.wh..wh..opq"],
        &["d/.wh..wh..opq", "d/new", "d/sub/new", "d/.wh..wh..opq"],
        &["d/new", "d/sub/new", "l/.wh..wh..opq"],
    ];
    let lower = Tar::new()
        .file("d/old", "")
        .file("d/sub/old", "")
        .file("d/gone/old", "")
        .symlink("l", "/d");
    for names in orders {
        let cage = Cage::new();
        cage.apply(&lower.clone().end()).unwrap();
        let upper = names
            .iter()
            .fold(Tar::new(), |tar, name| tar.file(name, ""));
        cage.apply(&upper.end()).unwrap();
        let left = ["d", "d/new", "d/sub", "d/sub/new", "l"];
        assert_eq!(cage.names(), left, "{names:?}");
    }
}

#[test]
fn e07_whiteout_when_applying_removes_trees_and_tolerates_absence() {
    // Other engines make the directory of a whiteout, too.
    let cage = Cage::new();
    cage.apply(&Tar::new().file("a/b/c", "").symlink("s", "a").end())
        .unwrap();
    let tar = Tar::new()
        .file(".wh.s", "")
        .file(".wh.absent", "")
        .file("no/such/.wh.parent", "");
    cage.apply(&tar.end()).unwrap();
    assert_eq!(cage.names(), ["a", "a/b", "a/b/c", "no", "no/such"]);
    cage.apply(&Tar::new().file(".wh.a", "").file(".wh.no", "").end())
        .unwrap();
    assert!(cage.names().is_empty());
}

/// The image of a host that ran containers has some; no engine shows a file
/// there.
#[test]
fn e08_raw_whiteout_device_is_a_whiteout() {
    let raw = |name| Head::new(b'3', name).device(0, 0);
    let tar = Tar::new()
        .file("w", "replaced")
        .head(raw("w"))
        .head(raw("d/w"))
        .link("d/linked", "w")
        .head(raw("back"))
        .file("back", "x")
        .head(raw("dir"))
        .file("dir/new", "x")
        .end();
    let cage = Cage::new();
    let unpacked = cage.unpack(&tar).unwrap();
    for name in ["w", "d/w", "d/linked"] {
        assert!(is_whiteout(&cage, name), "{name}");
    }
    assert!(is_opaque(&cage, "dir") && cage.path("back").is_file());
    assert_eq!(unpacked.notes.len(), 1, "{:?}", unpacked.notes);
    let cage = Cage::new();
    let lower = Tar::new().file("w", "").file("d/w", "").file("dir/old", "");
    cage.apply(&lower.end()).unwrap();
    let unpacked = cage.apply(&tar).unwrap();
    assert_eq!(cage.names(), ["back", "d", "dir", "dir/new"]);
    assert_eq!(unpacked.notes.len(), 1, "{:?}", unpacked.notes);
}

#[test]
fn e08_devices_and_pipes_are_made_for_root() {
    need!(root);
    let cage = Cage::new();
    let tar = Tar::new()
        .head(Head::new(b'3', "null").device(1, 3).mode(0o666))
        .head(
            Head::new(b'4', "disk")
                .device(259, 70000)
                .mode(0o660)
                .owner(0, 6),
        )
        .head(Head::new(b'6', "pipe").mode(0o4622));
    let unpacked = cage.unpack(&tar.end()).unwrap();
    assert!(unpacked.notes.is_empty());
    assert_eq!(cage.field("null", Field::Device).unwrap(), "1:3");
    assert_eq!(cage.field("disk", Field::Device).unwrap(), "259:70000");
    assert_eq!(cage.field("disk", Field::Owner).unwrap(), "0:6");
    assert_eq!(cage.field("null", Field::Mode).unwrap(), "0666");
    assert_eq!(cage.field("pipe", Field::Mode).unwrap(), "4622");
    let out_of_range = Tar::new().head(Head::new(b'3', "x").device(1 << 12, 0));
    Cage::new().refused("major", &out_of_range.end());
}

#[test]
fn e15_duplicate_entry_wins_over_the_earlier() {
    type Made = fn(Tar) -> Tar;
    let kinds: [(&str, Made); 5] = [
        ("file", |tar| {
            tar.put(Head::new(b'0', "x").mode(0o600), "body")
        }),
        ("dir", |tar| tar.dir("x").file("x/inner", "")),
        ("symlink", |tar| tar.symlink("x", "../victim/file")),
        ("fifo", |tar| tar.head(Head::new(b'6', "x"))),
        ("file", |tar| tar.file("y", "y").link("x", "y")),
    ];
    for (_, first) in kinds {
        for (kind, second) in kinds {
            let cage = Cage::new();
            cage.unpack(&second(first(Tar::new())).end()).unwrap();
            assert_eq!(cage.field("x", Field::Type).unwrap(), kind);
            let alone = Cage::new();
            alone.unpack(&second(Tar::new()).end()).unwrap();
            let names = alone.names();
            assert!(names.iter().all(|name| cage.names().contains(name)));
            assert_eq!(cage.field("x", Field::Mode), alone.field("x", Field::Mode));
        }
    }
}

#[test]
fn e15_twins_by_case_or_normalisation_stay_apart() {
    let cage = Cage::new();
    let names = ["A", "a", "e\u{301}", "\u{e9}"];
    let tar = names
        .iter()
        .fold(Tar::new(), |tar, name| tar.file(name, name));
    cage.unpack(&tar.end()).unwrap();
    for name in names {
        assert_eq!(fs::read(cage.path(name)).unwrap(), name.as_bytes());
    }
}

#[test]
fn e15_layer_over_itself_changes_nothing_when_applied() {
    let temp = tempfile::tempdir().unwrap();
    let tar = Tar::new()
        .dir("d")
        .file("d/f", "f")
        .link("d/h", "d/f")
        .symlink("s", "d")
        .end();
    unpack_into(temp.path(), &tar, &applying()).unwrap();
    let before = tare_oracle::tree::manifest(temp.path()).unwrap();
    unpack_into(temp.path(), &tar, &applying()).unwrap();
    let after = tare_oracle::tree::manifest(temp.path()).unwrap();
    let lines = tare_oracle::tree::compare(&before, &after);
    // The root is not listed, so its own time moves.
    assert!(lines.len() <= 1, "{lines:?}");
}
