// SPDX-License-Identifier: MIT OR Apache-2.0
//! E04: hard links.

use tare::image::layer::{Ids, Options};
use tare_oracle::tree::Field;

use crate::cage::{Cage, options};
use crate::tar::{Head, Tar};

/// Each archive's last entry is a hard link that must not be made.
#[test]
fn e04_hard_link_to_what_it_may_not_is_refused() {
    for (target, reason) in [
        ("../victim/file", "\"..\""),
        // Behind a symlink.
        ("up/../f", "\"..\""),
        ("{victim}/file", "not there"),
        // Through an absolute symlink, and through a relative symlink.
        ("out/file", "not there"),
        ("up/victim/file", "not there"),
        ("later", "not there"),
        ("f/x", "not there"),
        ("h", "not there"),
        ("d", "directory"),
        ("./", "root"),
        // A whiteout, and a whiteout by its name.
        ("gone", "whiteout"),
        (".wh.gone", "not there"),
    ] {
        let cage = Cage::new();
        let victim = cage.victim.path().to_str().unwrap();
        let target = target.replace("{victim}", victim);
        if target.len() > 100 {
            continue;
        }
        let base = Tar::of("d/ f=f .wh.gone up->..").symlink("out", victim);
        let tar = base.link("h", &target).file("later", "x");
        let message = cage.refused(&tar.end(), reason);
        assert!(message.contains("entry \"h\" at byte"), "{message}");
    }
    let data = Tar::of("f=f").put(Head::new(b'1', "h").link("f"), "x");
    Cage::new().refused(&data.end(), "checksum");
    Cage::new().refused(&Tar::of("f=f f=>f").end(), "itself");
}

#[test]
fn e04_hard_link_to_a_symlink_links_the_symlink() {
    let link = Head::new(b'1', "h").link("l").mode(0o777).owner(7, 7);
    let cage = Cage::of(Tar::of("l->../victim/file").head(link));
    cage.assert_field("h", Field::Type, "symlink");
    cage.assert_field("h", Field::Target, "../victim/file");
    assert_eq!(cage.links("l"), 2);
}

#[test]
fn e04_hard_link_keeps_the_attributes_of_the_first_name() {
    let tar = Tar::new()
        .put(Head::new(b'0', "d/f").mode(0o4711).mtime(77), "f")
        .symlink("s", "d")
        .head(Head::new(b'1', "h").link("s/f").mode(0o666).owner(9, 9))
        .add("h=>/d/f d/g=>./h");
    let cage = Cage::of(tar);
    for name in ["d/f", "h", "d/g"] {
        assert_eq!(cage.links(name), 3);
        cage.assert_field(name, Field::Mode, "4711");
        cage.assert_field(name, Field::Mtime, "77.000000000");
    }
}

#[test]
fn e04_file_over_a_hard_link_leaves_the_other_name_alone() {
    let cage = Cage::of(Tar::of("f=old h=>f h=new"));
    cage.assert_content("f", "old");
    cage.assert_content("h", "new");
}

#[test]
fn e04_hard_link_to_a_lower_layer_works_when_applying() {
    assert_eq!(Cage::of_layers(&["f=f", "h=>f"]).links("f"), 2);
    Cage::new().refused(&Tar::of("h=>f").end(), "");
}

/// Docker 1.x wrote files with several names as links into a directory of aufs.
#[test]
fn e04_hard_links_of_aufs_become_one_file() {
    let first = Head::new(b'0', ".wh..wh.plnk/1.2").mode(0o4711).mtime(77);
    let tar = Tar::of(".wh..wh.plnk/").put(first, "x").add(
        ".wh..wh.plnk/3.4=unlinked a=>.wh..wh.plnk/1.2 d/b=>.wh..wh.plnk/1.2 a=>.wh..wh.plnk/1.2",
    );
    let blob = tar.end();
    for unpack in [Cage::unpack, Cage::apply] {
        let cage = Cage::new();
        unpack(&cage, &blob).unwrap();
        cage.assert_names("a d d/b");
        for name in ["a", "d/b"] {
            assert_eq!(cage.links(name), 2);
            cage.assert_field(name, Field::Mode, "4711");
            cage.assert_field(name, Field::Mtime, "77.000000000");
        }
    }
    // Absent, no file, deeper.
    for first in ["", ".wh..wh.plnk/1.2->x", ".wh..wh.plnk/1.2/x"] {
        let tar = Tar::of(first).link("a", ".wh..wh.plnk/1.2");
        Cage::new().refused(&tar.end(), "");
    }
}

#[test]
fn e04_hard_link_to_a_device_that_is_left_out_is_left_out() {
    let single = Options {
        ids: Ids::Single,
        ..options()
    };
    let tar = Tar::of("b=replaced dev/a@1:3 b=>dev/a c=>b dev/a=file d=>dev/a");
    let cage = Cage::new();
    let unpacked = cage.unpack_with(&tar.end(), &single).unwrap();
    cage.assert_names("d dev dev/a");
    let skipped = ["b", "c", "dev/a"].map(|name| format!("skipped device {name:?}"));
    assert_eq!(unpacked.notes, skipped);
    let gone = Tar::of("dev/a@1:3 dev/a/ b=>dev/a");
    Cage::new().unpack_with(&gone.end(), &single).unwrap_err();
}
