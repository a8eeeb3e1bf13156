// SPDX-License-Identifier: MIT OR Apache-2.0
//! E07, E08, E15: whiteouts, devices, duplicates.

use std::path::Path;

use tare_oracle::need;
use tare_oracle::tree::{Field, compare};

use crate::cage::Cage;
use crate::tar::{Head, Tar};

fn is_whiteout(cage: &Cage, name: &str) -> bool {
    cage.field(name, Field::Device).as_deref() == Some("0:0")
}

fn is_opaque(cage: &Cage, name: &str) -> bool {
    let tree = cage.tree();
    let mut keys = tree.entries()[Path::new(name)].keys();
    keys.any(|(_, key)| key.ends_with(".overlay.opaque"))
}

#[test]
fn e07_whiteout_of_a_dot_name_or_below_a_whiteout_is_refused() {
    for name in [".wh.", ".wh..", ".wh...", "x/.wh.", "x/.wh..", ".wh.a/b"] {
        let tar = Tar::of("x/").file(name, "").end();
        Cage::new().refused(&tar, "");
        assert!(Cage::new().apply(&tar).is_err(), "{name}");
    }
    // No file, and with data.
    for words in [".wh.a/", ".wh.a->x", ".wh.a=data"] {
        Cage::new().refused(&Tar::of(words).end(), "");
    }
}

#[test]
fn e07_whiteout_is_converted_for_overlayfs() {
    let cage = Cage::new();
    let long = "n".repeat(251);
    let tar = Tar::of("d/ d/.wh.a implied/.wh.b o/.wh..wh..opq o/kept .wh..wh.plnk")
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
    let root = Cage::new().unpack(&Tar::of(".wh..wh..opq").end());
    assert!(root.unwrap().opaque_root);
}

/// Entries of a layer survive its own whiteouts, in either order.
#[test]
fn e07_whiteout_of_the_same_layer_hides_lower_layers_only() {
    for order in [".wh.x x/ x/new=new", "x/ x/new=new .wh.x"] {
        let cage = Cage::of(Tar::of(order));
        assert!(is_opaque(&cage, "x"));
        cage.assert_names("x x/new");
        Cage::of_layers(&["x/old=old y", order]).assert_names("x x/new y");
    }
    for order in [".wh.x x=new", "x=new .wh.x"] {
        Cage::of(Tar::of(order)).assert_content("x", "new");
    }
    // The whiteout counts even if a file stood between, and below a directory
    // that only an entry implies.
    assert!(is_opaque(&Cage::of(Tar::of(".wh.x x x/")), "x"));
    let cage = Cage::of(Tar::of(".wh.a a/b"));
    assert!(is_opaque(&cage, "a") && cage.path("a/b").is_file());
}

/// umoci writes a directory that became a file so: the file, and below it a
/// whiteout of each earlier name.
#[test]
fn e07_whiteout_below_what_is_no_directory_hides_nothing() {
    let fifo = Tar::new().head(Head::new(b'6', "x"));
    for (kind, made) in [
        ("file", Tar::of("x=new")),
        ("symlink", Tar::of("y x->y")),
        ("symlink", Tar::of("y x->/y/z")),
        ("fifo", fifo),
        ("whiteout", Tar::of(".wh.x")),
    ] {
        for mark in ["x/.wh.old", "x/sub/.wh.old", "x/.wh..wh..opq"] {
            let tar = made.clone().file(mark, "").file("z", "").end();
            let cage = Cage::new();
            let unpacked = cage.unpack(&tar);
            unpacked.unwrap_or_else(|error| panic!("{kind} {mark}: {error}"));
            match kind {
                "whiteout" => assert!(is_whiteout(&cage, "x"), "{mark}"),
                kind => cage.assert_field("x", Field::Type, kind),
            }
            let names = cage.names();
            assert!(names.iter().all(|name| name.len() == 1), "{names:?}");
            let cage = Cage::of_layers(&["x/old x/sub/old"]);
            cage.apply(&tar).unwrap();
            let applied = cage.field("x", Field::Type);
            assert_eq!(applied.as_deref(), Some(kind).filter(|k| *k != "whiteout"));
            let gone = usize::from(kind == "whiteout");
            assert_eq!(cage.names().len(), names.len() - gone);
        }
    }
}

#[test]
fn e07_opaque_directory_first_last_or_twice_keeps_this_layer() {
    for upper in [
        "d/.wh..wh..opq d/new d/sub/new",
        "d/new d/sub/new d/.wh..wh..opq",
        "d/.wh..wh..opq d/new d/sub/new d/.wh..wh..opq",
        "d/new d/sub/new l/.wh..wh..opq",
    ] {
        let lower = "d/old d/sub/old d/gone/old l->/d";
        Cage::of_layers(&[lower, upper]).assert_names("d d/new d/sub d/sub/new l");
    }
}

#[test]
fn e07_whiteout_when_applying_removes_trees_and_tolerates_absence() {
    // Other engines make the directory of a whiteout, too.
    let cage = Cage::of_layers(&["a/b/c s->a", ".wh.s .wh.absent no/such/.wh.parent"]);
    cage.assert_names("a a/b a/b/c no no/such");
    cage.apply(&Tar::of(".wh.a .wh.no").end()).unwrap();
    cage.assert_names("");
}

/// The image of a host that ran containers has some; no engine shows a file
/// there.
#[test]
fn e08_raw_whiteout_device_is_a_whiteout() {
    let words = "w=replaced w@0:0 d/w@0:0 d/linked=>w back@0:0 back=x dir@0:0 dir/new=x";
    let tar = Tar::of(words).end();
    let cage = Cage::new();
    let unpacked = cage.unpack(&tar).unwrap();
    for name in ["w", "d/w", "d/linked"] {
        assert!(is_whiteout(&cage, name), "{name}");
    }
    assert!(is_opaque(&cage, "dir") && cage.path("back").is_file());
    assert_eq!(unpacked.notes.len(), 1, "{:?}", unpacked.notes);
    let cage = Cage::of_layers(&["w d/w dir/old"]);
    let unpacked = cage.apply(&tar).unwrap();
    cage.assert_names("back d dir dir/new");
    assert_eq!(unpacked.notes.len(), 1, "{:?}", unpacked.notes);
}

#[test]
fn e08_devices_and_pipes_are_made_for_root() {
    need!(root);
    let cage = Cage::new();
    let disk = Head::new(b'4', "disk").device(259, 70000);
    let tar = Tar::new()
        .head(Head::new(b'3', "null").device(1, 3).mode(0o666))
        .head(disk.mode(0o660).owner(0, 6))
        .head(Head::new(b'6', "pipe").mode(0o4622));
    let unpacked = cage.unpack(&tar.end()).unwrap();
    assert!(unpacked.notes.is_empty());
    cage.assert_field("null", Field::Device, "1:3");
    cage.assert_field("disk", Field::Device, "259:70000");
    cage.assert_field("disk", Field::Owner, "0:6");
    cage.assert_field("null", Field::Mode, "0666");
    cage.assert_field("pipe", Field::Mode, "4622");
    // A major number that is out of range.
    Cage::new().refused(&Tar::of("x@4096:0").end(), "");
}

#[test]
fn e15_duplicate_entry_wins_over_the_earlier() {
    let kinds = || {
        let body = Tar::new().put(Head::new(b'0', "x").mode(0o600), "body");
        let fifo = Tar::new().head(Head::new(b'6', "x"));
        [
            ("file", body),
            ("dir", Tar::of("x/ x/inner")),
            ("symlink", Tar::of("x->../victim/file")),
            ("fifo", fifo),
            ("file", Tar::of("y=y x=>y")),
        ]
    };
    for (_, first) in kinds() {
        for (kind, second) in kinds() {
            let cage = Cage::of(first.clone().raw(&second.0));
            cage.assert_field("x", Field::Type, kind);
            let alone = Cage::of(second);
            let names = alone.names();
            assert!(names.iter().all(|name| cage.names().contains(name)));
            assert_eq!(cage.field("x", Field::Mode), alone.field("x", Field::Mode));
        }
    }
}

#[test]
fn e15_twins_by_case_or_normalisation_stay_apart() {
    let names = ["A", "a", "e\u{301}", "\u{e9}"];
    let add = |tar: Tar, name: &&str| tar.file(name, name);
    let cage = Cage::of(names.iter().fold(Tar::new(), add));
    for name in names {
        cage.assert_content(name, name);
    }
}

#[test]
fn e15_layer_over_itself_changes_nothing_when_applied() {
    let layer = "d/ d/f=f d/h=>d/f s->d";
    let cage = Cage::of_layers(&[layer]);
    let before = cage.tree();
    cage.apply(&Tar::of(layer).end()).unwrap();
    let lines = compare(&before, &cage.tree());
    // The root is not listed, so its own time moves.
    assert!(lines.len() <= 1, "{lines:?}");
}
