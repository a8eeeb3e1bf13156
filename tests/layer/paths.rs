// SPDX-License-Identifier: MIT OR Apache-2.0
//! E01, E02, E03, E05, E06: where names and symlinks lead.

use std::os::unix::fs::symlink;

use tare_oracle::tree::Field;

use crate::cage::{Cage, options};
use crate::tar::{Head, Tar};

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
        let tar = Tar::of("before").pax(&[("path", name.as_bytes())]);
        // A name with NUL is refused with the extended header, others with the
        // entry.
        let offset = match name.contains('\0') {
            true => 512,
            false => tar.0.len(),
        };
        let message = Cage::new().refused(&tar.add("plain=x").end(), reason);
        assert!(message.starts_with("unpack layer: "), "{message}");
        assert!(message.contains(&format!("byte {offset}:")), "{message}");
    }
    Cage::new().refused(&Tar::new().file("", "x").end(), "");
}

#[test]
fn e01_name_in_odd_spelling_stays_inside() {
    let tar = Tar::new().dir("./").dir("/");
    let tar = tar.add("./ /etc/passwd=x .//a/./b=x ...=x \u{202e}\u{1b}[31m=x");
    let cage = Cage::of(tar);
    assert_eq!(cage.names()[..4], ["...", "a", "a/b", "etc"]);
    assert!(cage.path("etc/passwd").is_file());
}

/// Docker, containerd and podman clean names before they look at any file.
#[test]
fn e01_name_with_dots_inside_is_cleaned() {
    let cage = Cage::new();
    let words =
        "real/sub/ link->real/sub a/../b=x link/../c=x /../d=x a/../.wh.e real/../f=>link/../c";
    cage.refused(&Tar::of(words).end(), "behind a symlink");
    cage.assert_names("b c d e link real real/sub");
    let cage = Cage::of(Tar::of("b=x real/../f=>dne/../b g=>real/./../b real/"));
    assert_eq!(cage.links("b"), 3);
}

#[test]
fn e01_many_entries_in_one_directory_are_bounded() {
    let add = |tar: Tar, i: u32| tar.file(format!("d/{i}"), "");
    let blob = (0..1000).fold(Tar::new(), add).end();
    let mut options = options();
    options.bounds.entries = 999;
    let cage = Cage::new();
    let error = cage.unpack_with(&blob, &options).unwrap_err();
    assert!(error.to_string().contains("entry \"d/999\" at byte"));
    assert!(error.cure().unwrap().contains("entries"), "{error}");
    options.bounds.entries = 1000;
    cage.unpack_with(&blob, &options).unwrap();
}

/// Symlinks that an entry then goes through; `..` leads from the root to the
/// victim.
const ESCAPES: [&str; 6] = [
    "l->{victim}",
    "l->../victim",
    "l->../../../../../../../../../../{victim}",
    "l->m m->{victim}",
    "l->m/victim m->..",
    "l->dir dir->/ victim->{victim}",
];

#[test]
fn e02_symlink_out_of_the_root_is_not_followed() {
    for links in ESCAPES {
        for tail in ["l/file", "l/new", "l/dir/new/x", "l/secret"] {
            let cage = Cage::new();
            let victim = cage.victim.path().to_str().unwrap();
            let tar = Tar::of(&links.replace("{victim}", victim));
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
    let links = Tar::of("real/ abs->/real real/up->../../../real");
    let cage = Cage::of(links.add("abs/a=a real/up/b=b abs/up/sub/c=c"));
    for name in ["real/a", "real/b", "real/sub/c"] {
        assert!(cage.path(name).is_file(), "{name}");
    }
}

#[test]
fn e02_symlink_chain_of_41_or_loop_is_refused() {
    let add = |tar: Tar, i: u32| tar.symlink(format!("l{i}"), format!("l{}", i + 1));
    let chain = (0..40).fold(Tar::of("l40/"), add).add("m->l0 loop->loop");
    Cage::of(chain.clone().add("l1/x=x"));
    let refused = |word| Cage::new().refused(&chain.clone().add(word).end(), "");
    assert!(refused("m/x=x").contains("loop of symlinks"));
    refused("loop/x=x");
}

/// A lower layer may have a symlink's target; other engines make the target if
/// none has.
#[test]
fn e02_symlink_that_dangles_gets_its_target_made_inside() {
    for (target, made) in [
        ("/run", "run"),
        ("../run", "run"),
        ("../../../../run/./y/../z", "run/z"),
        ("/", "."),
        ("/first", "second/third"),
        ("not/there", "var/not/there"),
    ] {
        let links = format!("var/ first->second/third var/l->{target}");
        let blob = Tar::of(&links).add("var/l/x=x var/l/sub/y=y").end();
        for unpack in [Cage::unpack, Cage::apply] {
            let cage = Cage::new();
            unpack(&cage, &blob).unwrap();
            cage.assert_content(&format!("{made}/x"), "x");
            cage.assert_content(&format!("{made}/sub/y"), "y");
            cage.assert_field("var/l", Field::Type, "symlink");
        }
    }
    // A whiteout as the target.
    Cage::new().refused(&Tar::of("l->/.wh.x l/y").end(), "");
    let deep = Tar::new().pax(&[("linkpath", "d/".repeat(1000).as_bytes())]);
    Cage::new().refused(&deep.add("l->t l/x").end(), "depth");
}

#[test]
fn e03_parent_turned_into_a_symlink_and_back_stays_inside() {
    let cage = Cage::new();
    let victim = cage.victim.path().to_str().unwrap();
    let mut tar = Tar::of("inside/ inside/p/");
    for i in 0..1000 {
        let target = if i % 2 == 0 { "/inside" } else { "inside" };
        tar = tar.add(&format!("a/ a/p/ a/p/{i}=x a->{target} a/p/file={i}"));
    }
    cage.unpack(&tar.end()).unwrap();
    cage.assert_content("inside/p/file", "999");

    let turns = |target| Tar::of(&format!("b/ b/file=1 b->{target} b/file=2")).end();
    for _ in 0..20 {
        cage.unpack(&turns(victim)).unwrap();
        cage.assert_content(&format!(".{victim}/file"), "2");
        cage.apply(&turns("/inside")).unwrap();
    }
}

#[test]
fn e03_stack_survives_removal_of_what_it_stands_on() {
    // Through the link, the entry replaces the directory that holds the link.
    let cage = Cage::of(Tar::of("a/ a/b/ a/b/top->/ a/b/top/a=file c=after"));
    cage.assert_names("a c");
    cage.assert_content("a", "file");
}

#[test]
fn e05_directory_over_a_symlink_replaces_it() {
    for target in ["../victim", "../victim/dir", "inside"] {
        let dir = Tar::new().head(Head::new(b'5', "l").mode(0o700).owner(1, 1));
        let dir = dir.add("l/x=x").0;
        let cage = Cage::of(Tar::of("inside/").symlink("l", target).raw(&dir));
        cage.assert_field("l", Field::Type, "dir");
        cage.assert_field("l", Field::Mode, "0700");
        cage.assert_field("inside", Field::Mode, "0755");
        // The same when a lower layer brought the symlink.
        let cage = Cage::new();
        symlink(target, cage.path("l")).unwrap();
        cage.apply(&Tar(dir).end()).unwrap();
        cage.assert_field("l", Field::Type, "dir");
    }
}

#[test]
fn e06_root_that_is_not_a_directory_is_refused() {
    for name in ["/", ".", "./", "./."] {
        for flag in [b'0', b'1', b'2', b'3', b'6'] {
            let tar = Tar::new().pax(&[("path", name.as_bytes())]);
            let tar = tar.head(Head::new(flag, "y").link("../victim").device(1, 3));
            Cage::new().refused(&tar.end(), "at byte 1024");
        }
    }
}

#[test]
fn e06_root_entry_sets_attributes_of_the_root() {
    let root = Head::new(b'5', "./").mode(0o1770).mtime(12345);
    let cage = Cage::of(Tar::new().head(root).add("x"));
    cage.assert_field("", Field::Mode, "1770");
    cage.assert_field("", Field::Mtime, "12345.000000000");
}
