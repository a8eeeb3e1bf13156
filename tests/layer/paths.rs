// SPDX-License-Identifier: MIT OR Apache-2.0
//! E01, E02, E03, E05, E06: where names and symlinks lead.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};

use tare_oracle::tree::Field;

use crate::cage::{Cage, options};
use crate::tar::{Head, Tar, pax_records};

#[test]
fn e01_hostile_name_is_refused_with_its_offset() {
    let long_part = "x".repeat(300);
    let deep = "d/".repeat(1000) + "x";
    let over_path_max = format!("{}/", "p".repeat(200)).repeat(30) + "x";
    for (name, reason) in [
        ("..", "\"..\""),
        ("../x", "\"..\""),
        ("a/../../x", "\"..\""),
        ("a/..", "the root is not a directory"),
        ("./../x", "\"..\""),
        ("a\0b", "NUL"),
        (&long_part, "255"),
        (&deep, "depth"),
        (&over_path_max, "4096"),
    ] {
        let cage = Cage::new();
        let tar = Tar::new().file("before", "");
        let tar = tar.pax(&[("path", name.as_bytes())]);
        // A name with NUL is refused with the extended header, others with the
        // entry.
        let offset = if name.contains('\0') {
            512
        } else {
            tar.0.len()
        };
        let tar = tar.file("plain", "x").end();
        let message = cage.refused(name, &tar);
        assert!(message.starts_with("unpack layer: "), "{message}");
        assert!(message.contains(reason), "{name:?}: {message}");
        assert!(message.contains(&format!("byte {offset}:")), "{message}");
    }
    let cage = Cage::new();
    cage.refused("empty name", &Tar::new().file("", "x").end());
}

#[test]
fn e01_name_in_odd_spelling_stays_inside() {
    let cage = Cage::new();
    let tar = Tar::new()
        .dir("./")
        .dir("/")
        .dir(".")
        .file("/etc/passwd", "x")
        .file(".//a/./b", "x")
        .file("...", "x")
        .file("\u{202e}\u{1b}[31m", "x");
    cage.unpack(&tar.end()).unwrap();
    let names = ["...", "a", "a/b", "etc", "etc/passwd"];
    assert_eq!(cage.names()[..4], names[..4]);
    assert!(cage.path("etc/passwd").is_file());
}

/// Docker, containerd and podman clean names before they look at any file.
#[test]
fn e01_name_with_dots_inside_is_cleaned() {
    let cage = Cage::new();
    let tar = Tar::new()
        .dir("real/sub")
        .symlink("link", "real/sub")
        .file("a/../b", "x")
        .file("link/../c", "x")
        .file("/../d", "x")
        .file("a/../.wh.e", "")
        .link("real/../f", "link/../c")
        .end();
    let message = cage.refused("a target behind a symlink", &tar);
    assert!(message.contains("behind a symlink"), "{message}");
    assert_eq!(
        cage.names(),
        ["b", "c", "d", "e", "link", "real", "real/sub"]
    );
    let tar = Tar::new()
        .file("b", "x")
        .link("real/../f", "dne/../b")
        .link("g", "real/./../b")
        .dir("real");
    let cage = Cage::new();
    cage.unpack(&tar.end()).unwrap();
    assert_eq!(fs::metadata(cage.path("b")).unwrap().nlink(), 3);
}

#[test]
fn e01_many_entries_in_one_directory_are_bounded() {
    let mut tar = Tar::new();
    for i in 0..1000 {
        tar = tar.file(format!("d/{i}"), "");
    }
    let blob = tar.end();
    let mut options = options();
    options.bounds.entries = 999;
    let cage = Cage::new();
    let error = cage.unpack_with(&blob, &options).unwrap_err();
    assert!(error.to_string().contains("entry \"d/999\" at byte"));
    assert!(error.cure().unwrap().contains("entries"), "{error}");
    options.bounds.entries = 1000;
    cage.unpack_with(&blob, &options).unwrap();
}

/// Symlinks that an entry then goes through; `up` leads from the root to the
/// victim.
const ESCAPES: [&[(&str, &str)]; 6] = [
    &[("l", "{victim}")],
    &[("l", "../victim")],
    &[("l", "../../../../../../../../../../{victim}")],
    &[("l", "m"), ("m", "{victim}")],
    &[("l", "m/victim"), ("m", "..")],
    &[("l", "dir"), ("dir", "/"), ("victim", "{victim}")],
];

#[test]
fn e02_symlink_out_of_the_root_is_not_followed() {
    for links in ESCAPES {
        for tail in ["l/file", "l/new", "l/dir/new/x", "l/secret"] {
            let cage = Cage::new();
            let victim = cage.victim.path().to_str().unwrap().to_owned();
            let mut tar = Tar::new();
            for (name, target) in links {
                tar = tar.symlink(name, target.replace("{victim}", &victim));
            }
            // Contained or refused: the cage looks at the victim either way.
            let _ = cage.unpack(&tar.clone().file(tail, "overwritten").end());
            let _ = cage.unpack(&tar.clone().dir(tail).end());
            let _ = cage.unpack(&tar.clone().link("hard", tail).end());
            let _ = cage.apply(&tar.clone().file("l/.wh.file", "").end());
            let _ = cage.apply(&tar.file("l/.wh..wh..opq", "").end());
            assert!(cage.victim.marker_below(cage.root()).is_empty());
        }
    }
}

#[test]
fn e02_symlink_within_the_root_is_followed() {
    let cage = Cage::new();
    let tar = Tar::new()
        .dir("real")
        .symlink("abs", "/real")
        .symlink("real/up", "../../../real")
        .file("abs/a", "a")
        .file("real/up/b", "b")
        .file("abs/up/sub/c", "c");
    cage.unpack(&tar.end()).unwrap();
    for name in ["real/a", "real/b", "real/sub/c"] {
        assert!(cage.path(name).is_file(), "{name}");
    }
}

#[test]
fn e02_symlink_chain_of_41_or_loop_is_refused() {
    let mut tar = Tar::new().dir("l40");
    for i in 0..40 {
        tar = tar.symlink(format!("l{i}"), format!("l{}", i + 1));
    }
    tar = tar.symlink("m", "l0").symlink("loop", "loop");
    let cage = Cage::new();
    cage.unpack(&tar.clone().file("l1/x", "x").end()).unwrap();
    let cage = Cage::new();
    let message = cage.refused("chain", &tar.clone().file("m/x", "x").end());
    assert!(message.contains("loop of symlinks"), "{message}");
    let cage = Cage::new();
    cage.refused("loop", &tar.clone().file("loop/x", "x").end());
}

/// A lower layer may have a symlink's target; other engines make the target if
/// none has.
#[test]
fn e02_symlink_that_dangles_gets_its_target_made_inside() {
    for (target, made) in [
        ("/run", "run/x"),
        ("../run", "run/x"),
        ("../../../../run/./y/../z", "run/z/x"),
        ("/", "x"),
        ("/first", "second/third/x"),
        ("not/there", "var/not/there/x"),
    ] {
        let tar = Tar::new()
            .dir("var")
            .symlink("first", "second/third")
            .symlink("var/l", target)
            .file("var/l/x", "x")
            .file("var/l/sub/y", "y");
        for applied in [false, true] {
            let cage = Cage::new();
            let blob = tar.clone().end();
            match applied {
                true => cage.apply(&blob).unwrap(),
                false => cage.unpack(&blob).unwrap(),
            };
            assert_eq!(fs::read(cage.path(made)).unwrap(), b"x", "{target}");
            let y = cage.path(made).with_file_name("sub").join("y");
            assert_eq!(fs::read(y).unwrap(), b"y", "{target}");
            assert_eq!(cage.field("var/l", Field::Type).unwrap(), "symlink");
        }
    }
    let whiteout = Tar::new().symlink("l", "/.wh.x").file("l/y", "");
    Cage::new().refused("a whiteout", &whiteout.end());
    let deep = Tar::new().pax(&[("linkpath", "d/".repeat(1000).as_bytes())]);
    let message = Cage::new().refused("deep", &deep.symlink("l", "t").file("l/x", "").end());
    assert!(message.contains("depth"), "{message}");
}

#[test]
fn e03_parent_turned_into_a_symlink_and_back_stays_inside() {
    let cage = Cage::new();
    let victim = cage.victim.path().to_str().unwrap().to_owned();
    let mut tar = Tar::new().dir("inside").dir("inside/p");
    for i in 0..1000 {
        tar = tar
            .dir("a")
            .dir("a/p")
            .file(format!("a/p/{i}"), "x")
            .symlink("a", if i % 2 == 0 { "/inside" } else { "inside" })
            .file("a/p/file", format!("{i}"));
    }
    cage.unpack(&tar.end()).unwrap();
    assert_eq!(fs::read(cage.path("inside/p/file")).unwrap(), b"999");

    let turns = |target: &str| {
        Tar::new()
            .dir("b")
            .file("b/file", "1")
            .symlink("b", target)
            .file("b/file", "2")
            .end()
    };
    for _ in 0..20 {
        cage.unpack(&turns(&victim)).unwrap();
        let inside = cage.path(victim.trim_start_matches('/')).join("file");
        assert_eq!(fs::read(inside).unwrap(), b"2");
        cage.apply(&turns("/inside")).unwrap();
    }
}

#[test]
fn e03_stack_survives_removal_of_what_it_stands_on() {
    let cage = Cage::new();
    // Through the link, the entry replaces the directory that holds the link.
    let tar = Tar::new()
        .dir("a")
        .dir("a/b")
        .symlink("a/b/top", "/")
        .file("a/b/top/a", "now a file")
        .file("c", "after");
    cage.unpack(&tar.end()).unwrap();
    assert_eq!(cage.names(), ["a", "c"]);
    assert_eq!(fs::read(cage.path("a")).unwrap(), b"now a file");
}

#[test]
fn e05_directory_over_a_symlink_replaces_it() {
    for target in ["../victim", "../victim/dir", "inside"] {
        let cage = Cage::new();
        let mode = Head::new(b'5', "l").mode(0o700).owner(1, 1);
        let tar = Tar::new()
            .dir("inside")
            .symlink("l", target)
            .head(mode.clone())
            .file("l/x", "x");
        cage.unpack(&tar.end()).unwrap();
        assert_eq!(cage.field("l", Field::Type).unwrap(), "dir");
        assert_eq!(cage.field("l", Field::Mode).unwrap(), "0700");
        assert_eq!(cage.field("inside", Field::Mode).unwrap(), "0755");
        // The same when a lower layer brought the symlink.
        let cage = Cage::new();
        symlink(target, cage.path("l")).unwrap();
        cage.apply(&Tar::new().head(mode).file("l/x", "x").end())
            .unwrap();
        assert_eq!(cage.field("l", Field::Type).unwrap(), "dir");
    }
}

#[test]
fn e06_root_that_is_not_a_directory_is_refused() {
    for name in ["/", ".", "./", "./."] {
        for flag in [b'0', b'1', b'2', b'3', b'6'] {
            let cage = Cage::new();
            let records = pax_records(&[("path", name.as_bytes())]);
            let tar = Tar::new()
                .put(Head::new(b'x', "x"), records)
                .head(Head::new(flag, "y").link("../victim").device(1, 3));
            let message = cage.refused(name, &tar.end());
            assert!(message.contains("at byte 1024"), "{message}");
        }
    }
}

#[test]
fn e06_root_entry_sets_attributes_of_the_root() {
    let cage = Cage::new();
    let tar = Tar::new()
        .head(Head::new(b'5', "./").mode(0o1770).mtime(12345))
        .file("x", "");
    cage.unpack(&tar.end()).unwrap();
    assert_eq!(cage.field("", Field::Mode).unwrap(), "1770");
    assert_eq!(cage.field("", Field::Mtime).unwrap(), "12345.000000000");
}
