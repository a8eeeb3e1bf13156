// SPDX-License-Identifier: MIT OR Apache-2.0
//! E04: hard links.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use tare::image::layer::{Ids, Options};
use tare_oracle::tree::Field;

use crate::cage::{Cage, options};
use crate::tar::{Head, Tar};

/// Each archive's last entry is a hard link that must not be made.
#[test]
fn e04_hard_link_to_what_it_may_not_is_refused() {
    let victim = |cage: &Cage| cage.victim.path().join("file").display().to_string();
    let base = |cage: &Cage| {
        Tar::new()
            .dir("d")
            .file("f", "f")
            .file(".wh.gone", "")
            .symlink("out", cage.victim.path().to_str().unwrap())
            .symlink("up", "..")
    };
    for (what, target, reason) in [
        ("dotdot", "../victim/file", "\"..\""),
        ("dotdot behind a symlink", "up/../f", "\"..\""),
        ("absolute", "{victim}", "not there"),
        ("through an absolute symlink", "out/file", "not there"),
        ("through a relative symlink", "up/victim/file", "not there"),
        ("later entry", "later", "not there"),
        ("below a file", "f/x", "not there"),
        ("itself", "h", "not there"),
        ("directory", "d", "directory"),
        ("root", "./", "root"),
        ("whiteout", "gone", "whiteout"),
        ("whiteout by its name", ".wh.gone", "not there"),
    ] {
        let cage = Cage::new();
        let target = target.replace("{victim}", &victim(&cage));
        if target.len() > 100 {
            continue;
        }
        let tar = base(&cage).link("h", &target).file("later", "x");
        let message = cage.refused(what, &tar.end());
        assert!(message.contains("entry \"h\" at byte"), "{what}: {message}");
        assert!(message.contains(reason), "{what}: {message}");
    }
    let cage = Cage::new();
    let message = cage.refused(
        "data",
        &Tar::new()
            .file("f", "f")
            .put(Head::new(b'1', "h").link("f"), "x")
            .end(),
    );
    assert!(message.contains("checksum"), "{message}");
    let cage = Cage::new();
    let message = cage.refused("itself", &Tar::new().file("f", "f").link("f", "f").end());
    assert!(message.contains("itself"), "{message}");
}

#[test]
fn e04_hard_link_to_a_symlink_links_the_symlink() {
    let cage = Cage::new();
    let tar = Tar::new()
        .symlink("l", "../victim/file")
        .head(Head::new(b'1', "h").link("l").mode(0o777).owner(7, 7));
    cage.unpack(&tar.end()).unwrap();
    assert_eq!(cage.field("h", Field::Type).unwrap(), "symlink");
    assert_eq!(cage.field("h", Field::Target).unwrap(), "../victim/file");
    assert_eq!(fs::symlink_metadata(cage.path("l")).unwrap().nlink(), 2);
}

#[test]
fn e04_hard_link_keeps_the_attributes_of_the_first_name() {
    let cage = Cage::new();
    let tar = Tar::new()
        .put(Head::new(b'0', "d/f").mode(0o4711).mtime(77), "f")
        .symlink("s", "d")
        .head(Head::new(b'1', "h").link("s/f").mode(0o666).owner(9, 9))
        .link("h", "/d/f")
        .link("d/g", "./h");
    cage.unpack(&tar.end()).unwrap();
    for name in ["d/f", "h", "d/g"] {
        assert_eq!(fs::metadata(cage.path(name)).unwrap().nlink(), 3);
        assert_eq!(cage.field(name, Field::Mode).unwrap(), "4711");
        assert_eq!(cage.field(name, Field::Mtime).unwrap(), "77.000000000");
    }
}

#[test]
fn e04_file_over_a_hard_link_leaves_the_other_name_alone() {
    let cage = Cage::new();
    let tar = Tar::new().file("f", "old").link("h", "f").file("h", "new");
    cage.unpack(&tar.end()).unwrap();
    assert_eq!(fs::read(cage.path("f")).unwrap(), b"old");
    assert_eq!(fs::read(cage.path("h")).unwrap(), b"new");
}

#[test]
fn e04_hard_link_to_a_lower_layer_works_when_applying() {
    let cage = Cage::new();
    cage.apply(&Tar::new().file("f", "f").end()).unwrap();
    cage.apply(&Tar::new().link("h", "f").end()).unwrap();
    assert_eq!(fs::metadata(cage.path("f")).unwrap().nlink(), 2);
    let cage = Cage::new();
    cage.refused("alone", &Tar::new().link("h", "f").end());
}

/// Docker 1.x wrote files with several names as links into a directory of aufs.
#[test]
fn e04_hard_links_of_aufs_become_one_file() {
    let link = |tar: Tar, name| tar.link(name, ".wh..wh.plnk/1.2");
    let tar = Tar::new()
        .dir(".wh..wh.plnk")
        .put(
            Head::new(b'0', ".wh..wh.plnk/1.2").mode(0o4711).mtime(77),
            "x",
        )
        .file(".wh..wh.plnk/3.4", "not linked to");
    let tar = link(link(link(tar, "a"), "d/b"), "a");
    for applied in [false, true] {
        let cage = Cage::new();
        let blob = tar.clone().end();
        match applied {
            true => cage.apply(&blob).unwrap(),
            false => cage.unpack(&blob).unwrap(),
        };
        assert_eq!(cage.names(), ["a", "d", "d/b"]);
        for name in ["a", "d/b"] {
            assert_eq!(fs::metadata(cage.path(name)).unwrap().nlink(), 2);
            assert_eq!(cage.field(name, Field::Mode).unwrap(), "4711");
            assert_eq!(cage.field(name, Field::Mtime).unwrap(), "77.000000000");
        }
    }
    for (what, tar) in [
        ("absent", link(Tar::new(), "a")),
        (
            "no file",
            link(Tar::new().symlink(".wh..wh.plnk/1.2", "x"), "a"),
        ),
        (
            "deeper",
            link(Tar::new().file(".wh..wh.plnk/1.2/x", ""), "a"),
        ),
    ] {
        Cage::new().refused(what, &tar.end());
    }
}

#[test]
fn e04_hard_link_to_a_device_that_is_left_out_is_left_out() {
    let single = Options {
        ids: Ids::Single,
        ..options()
    };
    let tar = Tar::new()
        .file("b", "replaced")
        .head(Head::new(b'3', "dev/a").device(1, 3))
        .link("b", "dev/a")
        .link("c", "b")
        .file("dev/a", "file")
        .link("d", "dev/a");
    let cage = Cage::new();
    let unpacked = cage.unpack_with(&tar.end(), &single).unwrap();
    assert_eq!(cage.names(), ["d", "dev", "dev/a"]);
    let skipped = ["b", "c", "dev/a"].map(|name| format!("skipped device {name:?}"));
    assert_eq!(unpacked.notes, skipped);
    let gone = Tar::new()
        .head(Head::new(b'3', "dev/a").device(1, 3))
        .dir("dev/a")
        .link("b", "dev/a");
    Cage::new().unpack_with(&gone.end(), &single).unwrap_err();
}
