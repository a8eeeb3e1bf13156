// SPDX-License-Identifier: MIT OR Apache-2.0
//! E09, E10, E13: modes, owners, extended attributes.

use std::collections::BTreeMap;

use tare::image::layer::{Ids, Options};
use tare_oracle::need;
use tare_oracle::tree::Field;

use crate::cage::{Cage, options};
use crate::tar::{Head, Tar};

/// Every mode that matters, as files and as directories with something in them.
pub(crate) const MODES: [u32; 12] = [
    0, 0o111, 0o400, 0o444, 0o600, 0o755, 0o777, 0o1777, 0o2755, 0o4755, 0o6777, 0o7000,
];

pub(crate) fn of_all_modes() -> Vec<u8> {
    let mut tar = Tar::new();
    for mode in MODES {
        let dir = format!("d{mode:o}");
        tar = tar
            .put(Head::new(b'0', format!("f{mode:o}")).mode(mode), "x")
            .head(Head::new(b'5', &dir).mode(mode).mtime(4711))
            .head(Head::new(b'5', format!("{dir}/sub")).mode(mode))
            .file(format!("{dir}/sub/f"), "x");
    }
    // Once more into each directory, after leaving it.
    for mode in MODES {
        tar = tar.file(format!("d{mode:o}/late"), "");
    }
    tar.end()
}

pub(crate) fn assert_all_modes(tree: &tare_oracle::tree::Manifest) {
    for mode in MODES {
        let expected = format!("{mode:04o}");
        for (kind, below) in [("f", ""), ("d", ""), ("d", "/sub")] {
            let name = format!("{kind}{mode:o}{below}");
            let found = tree.field(&name, Field::Mode);
            assert_eq!(found, Some(&expected[..]), "{name}");
        }
        let time = tree.field(format!("d{mode:o}"), Field::Mtime);
        assert_eq!(time, Some("4711.000000000"));
    }
}

#[test]
fn e09_modes_of_files_and_directories_are_exact() {
    let cage = Cage::new();
    cage.unpack(&of_all_modes()).unwrap();
    assert_all_modes(&cage.tree());
}

#[test]
fn e09_setuid_survives_the_change_of_owner() {
    need!(root);
    let tar = Tar::new()
        .put(Head::new(b'0', "f").mode(0o6755).owner(12, 34), "x")
        .head(Head::new(b'5', "d").mode(0o2770).owner(12, 34))
        .add("d/root=x d/sub/")
        .head(Head::new(b'2', "s").link("f").owner(12, 34))
        .add("other/ d/again=x d/late/ d/late/sub/ d/late/f=x");
    let cage = Cage::of(tar);
    for (name, owner, mode) in [
        ("f", "12:34", Some("6755")),
        ("d", "12:34", Some("2770")),
        ("s", "12:34", None),
        ("d/root", "0:0", Some("0644")),
        ("d/sub", "0:0", Some("0755")),
        ("d/again", "0:0", Some("0644")),
        ("d/late", "0:0", Some("0755")),
        ("d/late/sub", "0:0", Some("0755")),
        ("d/late/f", "0:0", Some("0644")),
    ] {
        cage.assert_field(name, Field::Owner, owner);
        if let Some(mode) = mode {
            cage.assert_field(name, Field::Mode, mode);
        }
    }
}

fn xattrs(cage: &Cage, name: &str) -> BTreeMap<String, String> {
    let tree = cage.tree();
    let entry = tree.entries()[std::path::Path::new(name)].clone();
    let xattrs = entry
        .into_iter()
        .filter(|((field, _), _)| *field == Field::Xattrs);
    xattrs.map(|((_, name), value)| (name, value)).collect()
}

#[test]
fn e10_only_allowed_xattrs_are_unpacked() {
    let cage = Cage::new();
    let tar = Tar::new()
        .pax(&[
            ("SCHILY.xattr.user.kept", b"v\0w"),
            ("SCHILY.xattr.user.empty", b""),
            (
                "SCHILY.xattr.security.selinux",
                b"system_u:object_r:etc_t:s0",
            ),
            ("SCHILY.xattr.security.ima", b"\x01"),
            ("SCHILY.xattr.system.nfs4_acl", b"x"),
            ("SCHILY.xattr.system.posix_acl_access", b"\x02\0\0\0"),
            ("SCHILY.xattr.trusted.any", b"x"),
            ("SCHILY.acl.access", b"user::rwx,user:7:rwx"),
        ])
        .file("f", "x")
        .pax(&[("SCHILY.xattr.user.dir", b"d")])
        .dir("d");
    let unpacked = cage.unpack(&tar.end()).unwrap();
    let kept = xattrs(&cage, "f");
    let names: Vec<_> = kept.keys().map(String::as_str).collect();
    assert_eq!(names, ["xattr user.empty", "xattr user.kept"]);
    assert_eq!(kept["xattr user.kept"], "760077");
    assert_eq!(xattrs(&cage, "d").len(), 1);
    assert_eq!(unpacked.notes.len(), 6, "{:?}", unpacked.notes);
}

#[test]
fn e10_xattrs_without_measure_end_in_an_error() {
    let value = vec![b'v'; 64 << 10];
    let name = format!("SCHILY.xattr.user.{}", "n".repeat(300));
    let many: Vec<_> = (0..1000)
        .map(|i| format!("SCHILY.xattr.user.{i}"))
        .collect();
    let many: Vec<_> = many.iter().map(|key| (&key[..], &value[..1000])).collect();
    for records in [vec![(&name[..], &b"v"[..])], many] {
        let cage = Cage::new();
        // A filesystem may take the many; the name is too long for any.
        let tar = Tar::new().pax(&records).file("f", "x").end();
        if let Err(error) = cage.unpack(&tar) {
            assert!(error.to_string().contains("entry \"f\" at byte"), "{error}");
            assert!(error.errno().is_some(), "{error}");
        } else {
            assert_eq!(xattrs(&cage, "f").len(), records.len());
        }
    }
}

#[test]
fn e10_capability_is_kept_for_root_alone() {
    need!(root);
    let v2 = [&[1, 0, 0, 2, 0, 4][..], &[0; 14]].concat();
    let tar = Tar::new()
        .pax(&[("SCHILY.xattr.security.capability", &v2)])
        .put(Head::new(b'0', "f").owner(5, 5), "x");
    let blob = tar.end();
    let cage = Cage::new();
    cage.unpack(&blob).unwrap();
    let hex: String = v2.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(xattrs(&cage, "f")["xattr security.capability"], hex);

    let single = Options {
        ids: Ids::Single,
        ..options()
    };
    let cage = Cage::new();
    let unpacked = cage.unpack_with(&blob, &single).unwrap();
    assert!(xattrs(&cage, "f").is_empty());
    assert!(unpacked.notes[0].contains("capabilities"));

    let bad = Tar::new()
        .pax(&[("SCHILY.xattr.security.capability", &v2[..19])])
        .file("f", "x");
    Cage::new().refused(&bad.end(), "security.capability");
}

#[test]
fn e13_overlay_xattrs_are_escaped_or_dropped() {
    for key in ["redirect", "metacopy", "opaque", "origin", "whiteout"] {
        let cage = Cage::new();
        let trusted = format!("SCHILY.xattr.trusted.overlay.{key}");
        let user = format!("SCHILY.xattr.user.overlay.{key}");
        let records = [(&trusted[..], &b"/etc"[..]), (&user, b"y")];
        let tar = Tar::new().pax(&records).add("d/").pax(&records).add("f");
        cage.unpack(&tar.end()).unwrap();
        for name in ["d", "f"] {
            let names: Vec<_> = xattrs(&cage, name).into_keys().collect();
            assert_eq!(names, [format!("xattr user.overlay.overlay.{key}")]);
        }
    }
}

#[test]
fn e09_owners_left_to_others_are_listed_by_their_last_entry() {
    let cage = Cage::new();
    let deferred = Options {
        ids: Ids::Deferred,
        ..options()
    };
    let v2 = [&[1, 0, 0, 2][..], &[0; 16]].concat();
    let tar = Tar::new()
        .head(Head::new(b'5', "./").owner(0, 3))
        .add("root=x")
        .put(Head::new(b'0', "d/a").mode(0o4755).owner(12, 34), "x")
        .add("d/b=>d/a l->d")
        .put(Head::new(b'0', "l/c").owner(1, 1), "x")
        .put(Head::new(b'0', "twice").owner(1, 1), "x")
        .add("twice=x")
        .put(Head::new(b'0', "gone/x").owner(1, 1), "x")
        .add("gone=x")
        .pax(&[("SCHILY.xattr.security.capability", &v2)])
        .add("ping=x null@1:3");
    let unpacked = cage.unpack_with(&tar.end(), &deferred).unwrap();
    let fixups = unpacked.fixups.iter().map(|f| {
        let path = f.path.to_str().unwrap();
        (path, f.uid, f.gid, f.mode, f.capability.is_some())
    });
    let fixups: Vec<_> = fixups.collect();
    assert_eq!(
        fixups,
        [
            (".", 0, 3, 0o755, false),
            ("d/a", 12, 34, 0o4755, false),
            ("d/b", 12, 34, 0o4755, false),
            ("d/c", 1, 1, 0o644, false),
            ("ping", 0, 0, 0o644, true),
        ]
    );
    assert_eq!(unpacked.notes, ["skipped device \"null\""]);
}
