// SPDX-License-Identifier: MIT OR Apache-2.0
//! Trees of images of several layers: `run` shows what `unpack` makes, for
//! every caller.

use std::fs;

use serde_json::json;
use tare::image::{ImportOptions, Reference};
use tare::{Error, Sandbox, Spec, mount};

use crate::blocks::{Head, Tar};
use crate::harness::{Ground, line, tar_of_tree};
use crate::identity::{for_each_caller, ids_are_many};
use crate::layout::{Codec, Layout};

/// Layers above a busybox tree, and a shell's view of them.
struct Case {
    name: &'static str,
    layers: Vec<Tar>,
    script: &'static str,
    /// The view of callers with many ids.
    many: &'static str,
    /// The view of callers with a single id; as `many` if empty.
    single: &'static str,
}

/// An image with these layers above the busybox tree.
pub(crate) fn image(ground: &Ground, name: &str, layers: &[Tar]) -> Reference {
    let above = layers.iter().map(|tar| tar.clone().end());
    image_of(
        ground,
        name,
        [tar_of_tree(&ground.root())]
            .into_iter()
            .chain(above)
            .collect(),
    )
}

fn image_of(ground: &Ground, name: &str, all: Vec<Vec<u8>>) -> Reference {
    let mut layout = Layout::new(ground.path(name));
    let image = layout.image(&all, Codec::Plain, json!({}));
    layout.add(image, None).complete()
}

pub(crate) fn seen(
    ground: &Ground,
    image: String,
    storage: &str,
    script: &str,
) -> Result<String, Error> {
    let mut spec = Spec::from_json(&json!({"storage": storage}).to_string()).unwrap();
    spec.image = image;
    let sandbox = Sandbox::open(&ground.store, &spec)?;
    Ok(line(&sandbox, script))
}

/// Mounts the image, and looks at the mount.
fn seen_mounted(
    ground: &Ground,
    image: &Reference,
    write: &str,
    script: &str,
) -> Result<String, Error> {
    let dir = ground.path("mounted");
    fs::create_dir_all(&dir).unwrap();
    let options = mount::Options::from_json(&json!({"write": write}).to_string())?;
    mount::mount(&ground.store, &image.to_string(), &dir, &options)?;
    let seen = seen(ground, format!("dir:{}", dir.display()), "auto", script);
    // A copy of all mounts of the machine, as a start makes it, keeps each
    // busy.
    mount::umount(&ground.store, &dir, true)?;
    seen
}

/// Unpacks the image, examines the directory and removes it.
fn seen_unpacked(
    ground: &Ground,
    image: &Reference,
    dir: &str,
    script: &str,
) -> Result<String, Error> {
    let options = ImportOptions {
        sync: false,
        ..ImportOptions::default()
    };
    let root = ground.path(dir);
    ground.store.unpack(image, &root, &options, &mut ())?;
    let seen = seen(ground, format!("dir:{}", root.display()), "auto", script);
    // Only a sandbox can remove files of other ids.
    let parent = root.parent().unwrap().display();
    let mounts = format!(r#"{{"mounts": ["{parent}:/ground"]}}"#);
    line(&ground.open_with(&mounts), &format!("rm -r /ground/{dir}"));
    seen
}

#[track_caller]
fn check(caller: &str, cases: Vec<Case>) {
    let ground = Ground::new();
    for (n, case) in cases.into_iter().enumerate() {
        let expected = match ids_are_many(caller) || case.single.is_empty() {
            true => case.many,
            false => case.single,
        };
        let image = image(&ground, &format!("oci-{n}"), &case.layers);
        let unpacked = seen_unpacked(&ground, &image, &format!("tree-{n}"), case.script);
        let shown = |seen: Result<String, Error>| seen.unwrap_or_else(|e| e.to_string());
        assert_eq!(shown(unpacked), expected, "{}, unpacked", case.name);
        for storage in ["auto", "copy"] {
            let run = seen(&ground, image.to_string(), storage, case.script);
            assert_eq!(shown(run), expected, "{}, {storage}", case.name);
        }
        if caller == "root" {
            for write in ["none", "memory"] {
                let mounted = seen_mounted(&ground, &image, write, case.script);
                assert_eq!(shown(mounted), expected, "{}, mounted, {write}", case.name);
            }
        }
    }
}

fn dir(tar: Tar, name: &str, mode: u32, owner: u64) -> Tar {
    tar.head(Head::new(b'5', name).mode(mode).owner(owner, owner))
}

fn file(tar: Tar, name: &str, owner: u64) -> Tar {
    tar.put(Head::new(b'0', name).mode(0o644).owner(owner, owner), "x")
}

/// Fedora's and UBI's `/usr/bin` and `/` are such.
fn read_only_directories() -> Vec<Case> {
    let lower = || {
        let tar = dir(dir(Tar::new(), "ro", 0o555, 0), "ro/no", 0, 0);
        file(file(tar, "ro/old", 0), "ro/no/old", 0)
    };
    let case = |name, above: Tar, script, many| Case {
        name,
        layers: vec![lower(), above],
        script,
        many,
        single: "",
    };
    let listed = || dir(Tar::new(), "ro", 0o555, 0);
    vec![
        case(
            "adds to a read-only directory",
            file(listed(), "ro/new", 0),
            "stat -c %a /ro /ro/no /ro/new; ls /ro",
            "555\n0\n644\nnew\nno\nold",
        ),
        case(
            "replaces in a read-only directory",
            listed().symlink("ro/old", "new"),
            "stat -c %a /ro; readlink /ro/old",
            "555\nnew",
        ),
        case(
            "whites out in a read-only directory",
            listed().file("ro/.wh.old", ""),
            "stat -c %a /ro; ls /ro",
            "555\nno",
        ),
        case(
            "whites out a read-only directory",
            Tar::new().file(".wh.ro", ""),
            "test -e /ro || echo gone",
            "gone",
        ),
        case(
            "replaces a read-only directory",
            file(Tar::new(), "ro", 0),
            "cat /ro",
            "x",
        ),
        case(
            "empties a read-only directory",
            file(listed().file("ro/.wh..wh..opq", ""), "ro/new", 0),
            "stat -c %a /ro; ls /ro",
            "555\nnew",
        ),
        Case {
            name: "a read-only root",
            layers: vec![
                file(dir(Tar::new(), "./", 0o555, 0), "a", 0),
                file(dir(Tar::new(), "./", 0o555, 0), "b", 0),
            ],
            script: "stat -c %a /; cat /a /b",
            many: "555\nxx",
            single: "",
        },
    ]
}

/// The files of `COPY --chown`.
fn directories_of_others() -> Vec<Case> {
    let lower = || {
        let tar = dir(Tar::new(), "app", 0o700, 1000);
        file(file(tar, "app/a", 1000), "app/b", 5)
    };
    let listed = || dir(Tar::new(), "app", 0o700, 1000);
    let script = "stat -c '%n %a %u:%g' /app /app/*";
    let case = |name, above, many, single| Case {
        name,
        layers: vec![lower(), above],
        script,
        many,
        single,
    };
    vec![
        case(
            "adds to another's directory",
            file(listed(), "app/c", 7).link("app/d", "app/c"),
            "/app 700 1000:1000\n/app/a 644 1000:1000\n/app/b 644 5:5\n/app/c 644 7:7\n/app/d 644 7:7",
            "/app 700 0:0\n/app/a 644 0:0\n/app/b 644 0:0\n/app/c 644 0:0\n/app/d 644 0:0",
        ),
        case(
            "replaces in another's directory",
            file(listed().file("app/.wh.b", ""), "app/a", 0),
            "/app 700 1000:1000\n/app/a 644 0:0",
            "/app 700 0:0\n/app/a 644 0:0",
        ),
        case(
            "another's directory gone and made again",
            file(listed().file("app/.wh..wh..opq", ""), "app/b", 0),
            "/app 700 1000:1000\n/app/b 644 0:0",
            "/app 700 0:0\n/app/b 644 0:0",
        ),
    ]
}

#[test]
fn layer_changes_what_a_lower_one_shut() {
    for_each_caller(|caller| {
        check(caller, read_only_directories());
        check(caller, directories_of_others());
    });
}

/// The kernel lets only writers of a file set a user.* attribute.
#[test]
fn layer_sets_attributes_of_read_only_files() {
    for_each_caller(|caller| {
        let marked = |tar: Tar| tar.pax(&[("SCHILY.xattr.user.a", b"b")]);
        let layer = marked(Tar::new()).put(Head::new(b'0', "f").mode(0o444), "x");
        let layer = marked(layer).put(Head::new(b'0', "s").mode(0o4555), "x");
        let layer = dir(marked(layer), "d", 0o555, 0);
        let cases = vec![Case {
            name: "attributes of read-only files",
            layers: vec![layer.clone(), layer],
            script: "stat -c %a /f /s /d",
            many: "444\n4555\n555",
            single: "",
        }];
        check(caller, cases);
    });
}

/// The kernel would say EINVAL, without a hint for the caller.
#[test]
fn layer_of_an_id_beyond_the_callers_names_a_cure() {
    for_each_caller(|caller| {
        let cure = match caller {
            "subids" => Some("usermod --add-subuids "),
            "root-of-many" => Some("larger range in /etc/subuid"),
            _ => None,
        };
        let ground = Ground::new();
        let image = image(&ground, "oci", &[file(Tar::new(), "f", 20_000_000)]);
        let unpacked = seen_unpacked(&ground, &image, "tree", "cat /f");
        let run = seen(&ground, image.to_string(), "auto", "cat /f");
        for seen in [unpacked, run] {
            match (seen, cure) {
                (Ok(seen), None) => assert_eq!(seen, "x"),
                (Err(error), Some(cure)) => {
                    assert!(error.cure().is_some_and(|c| c.contains(cure)), "{error}");
                }
                (seen, _) => panic!("{seen:?}, expected {cure:?}"),
            }
        }
        assert!(!ground.path("tree").exists());
    });
}

/// Directories that an upper layer has without listing them; containerd#3017.
fn directories_not_listed() -> Vec<Case> {
    let lower = || {
        let tar = dir(dir(Tar::new(), "./", 0o711, 0), "tmp", 0o1777, 0);
        let tar = dir(dir(tar, "home", 0o751, 0), "home/app", 0o2750, 1000);
        dir(tar, "home/app/deep", 0o700, 5)
    };
    let above = || {
        let tar = file(file(Tar::new(), "tmp/new", 0), "home/app/deep/new", 7);
        file(tar, "made/new", 0)
    };
    let script = "stat -c '%n %a %u:%g' / /tmp /home /home/app /home/app/deep /made";
    let case = |name, layers, many, single| Case {
        name,
        layers,
        script,
        many,
        single,
    };
    let kept = "/ 711 0:0\n/tmp 1777 0:0\n/home 751 0:0\n/home/app 2750 1000:1000\n\
                /home/app/deep 700 5:5\n/made 755 0:0";
    let kept_single = "/ 711 0:0\n/tmp 1777 0:0\n/home 751 0:0\n/home/app 2750 0:0\n\
                       /home/app/deep 700 0:0\n/made 755 0:0";
    let again = dir(dir(Tar::new(), "tmp", 0o700, 9), "made", 0o500, 0);
    vec![
        case("not listed", vec![lower(), above()], kept, kept_single),
        case(
            "not listed twice",
            vec![lower(), above(), file(Tar::new(), "tmp/a", 0), above()],
            kept,
            kept_single,
        ),
        case(
            "listed again in between",
            vec![lower(), above(), again, above()],
            "/ 711 0:0\n/tmp 700 9:9\n/home 751 0:0\n/home/app 2750 1000:1000\n\
             /home/app/deep 700 5:5\n/made 500 0:0",
            "/ 711 0:0\n/tmp 700 0:0\n/home 751 0:0\n/home/app 2750 0:0\n\
             /home/app/deep 700 0:0\n/made 500 0:0",
        ),
        case(
            "hidden in between",
            vec![
                lower(),
                Tar::new()
                    .file(".wh.tmp", "")
                    .file("home/.wh..wh..opq", "")
                    .file("home/app/deep/x", ""),
                above(),
            ],
            "/ 711 0:0\n/tmp 755 0:0\n/home 751 0:0\n/home/app 755 0:0\n\
             /home/app/deep 755 0:0\n/made 755 0:0",
            "",
        ),
    ]
}

#[test]
fn layer_keeps_what_lower_ones_say_of_directories_it_does_not_list() {
    for_each_caller(|caller| check(caller, directories_not_listed()));
}

/// Prints the names below `/t` as getdents64(2) has them: a whiteout that an
/// overlay lists cannot be looked up.
const NAMES: &str = "cd /t; echo * a/* a/x/*";

fn whiteouts_in_any_order() -> Vec<Case> {
    let lower = ["t/a/b", "t/a/old", "t/a/x/b"];
    let lower = || {
        lower
            .iter()
            .fold(Tar::new(), |tar, name| tar.file(name, ""))
    };
    let orders: [(&[&str], &str, &str); 5] = [
        (
            &["t/a/.wh.b", "t/.wh.a", "t/z"],
            "z a/* a/x/*",
            "z a/* a/x/*",
        ),
        (
            &["t/.wh.a", "t/z", "t/a/.wh.b"],
            "z a/* a/x/*",
            "z a/* a/x/*",
        ),
        (
            &["t/a/x/.wh.b", "t/a/.wh.old"],
            "a a/b a/x a/x/*",
            "a a/x a/x/*",
        ),
        (
            &["t/a/x/.wh.b", "t/.wh.a", "t/a/new"],
            "a a/new a/x/*",
            "a a/new a/x/*",
        ),
        (
            &["t/a/x/.wh.b", "t/a/.wh..wh..opq", "t/z"],
            "a z a/* a/x/*",
            "a z a/* a/x/*",
        ),
    ];
    let mut cases = Vec::new();
    for (names, over, alone) in orders {
        let tar = names
            .iter()
            .fold(Tar::new(), |tar, name| tar.file(name, ""));
        let case = |name, layers, many| Case {
            name,
            layers,
            script: NAMES,
            many,
            single: "",
        };
        cases.push(case(names[0], vec![lower(), tar.clone()], over));
        cases.push(case(names[0], vec![tar], alone));
    }
    cases
}

#[test]
fn layer_with_whiteouts_in_any_order_shows_one_tree() {
    for_each_caller(|caller| check(caller, whiteouts_in_any_order()));
}

#[test]
fn layer_alone_shows_no_whiteout_of_its_own() {
    for_each_caller(|_| {
        let ground = Ground::new();
        let mut tar = tar_of_tree(&ground.root());
        let end = tar.iter().rposition(|byte| *byte != 0).unwrap();
        tar.truncate((end / 512 + 1) * 512);
        let above = Tar::new().file(".wh.gone", "").file("t/.wh.gone", "");
        tar.extend(above.file("t/kept", "").end());
        let image = image_of(&ground, "oci", vec![tar]);
        let script = "echo /gon* /t/*";
        let unpacked = seen_unpacked(&ground, &image, "tree", script).unwrap();
        assert_eq!(unpacked, "/gon* /t/kept");
        for json in ["{}", r#"{"write": "none"}"#, r#"{"storage": "copy"}"#] {
            let mut spec = Spec::from_json(json).unwrap();
            spec.image = image.to_string();
            let sandbox = Sandbox::open(&ground.store, &spec).unwrap();
            assert_eq!(line(&sandbox, script), unpacked, "{json}");
        }
    });
}
