// SPDX-License-Identifier: MIT OR Apache-2.0
//! Images of many layers, and names that mean something to the kernel's option
//! parsers.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use tare::image::ImportOptions;
use tare::{Command, Error, Sandbox, Spec};
use tare_oracle::need;

use crate::harness::{Ground, line, tar_of_tree, text};
use crate::layout::{Codec, Layout, tar_of};
use crate::trees::NUMBERS;

/// Names with separators, escapes and option ends, and bytes beyond ASCII.
const ODD: &str = "a,b:c\\d\\,e \"f'g=h%s\u{fc}+;i";

/// An image with the busybox tree as its bottom layer and `n` layers in all:
/// each writes `/top` and a file of its own, and every tenth removes the file
/// of the layer below.
fn import(ground: &Ground, n: usize) -> Result<(), Error> {
    let mut layers = vec![tar_of_tree(&ground.root())];
    for n in 1..n {
        let (number, own) = (n.to_string(), format!("own/f{n}"));
        let gone = format!("own/.wh.f{}", n - 1);
        let mut files: Vec<(&str, &[u8])> =
            vec![("own/", b""), (&own, b""), ("top", number.as_bytes())];
        if n % 10 == 0 {
            files.push((&gone, b""));
        }
        layers.push(tar_of(&files));
    }
    let mut layout = Layout::new(ground.path(&format!("oci-{n}")));
    let image = layout.image(&layers, Codec::Plain, json!({}));
    let from = layout.add(image, Some("many")).complete();
    let options = ImportOptions {
        names: vec!["many".parse().unwrap()],
        sync: false,
        ..ImportOptions::default()
    };
    let store = ground.store.images();
    store.import(&from, &options, &mut ()).map(drop)
}

/// The image of many layers with these keys.
fn spec(json: &str) -> Spec {
    let mut spec = Spec::from_json(json).unwrap();
    spec.image = "many".into();
    spec
}

#[test]
fn layers_of_any_number_and_name_are_all_seen() {
    let ground = Ground::named(ODD);
    import(&ground, 131).unwrap();
    for json in [
        r#"{}"#,
        r#"{"write": "disk"}"#,
        r#"{"write": "none"}"#,
        r#"{"storage": "copy"}"#,
    ] {
        let sandbox =
            Sandbox::open(&ground.store, &spec(json)).unwrap_or_else(|e| panic!("{json}: {e}"));
        let seen = line(
            &sandbox,
            "cat /top; echo; ls /own | wc -l; ls /own/f1 /own/f130",
        );
        assert_eq!(seen, "130\n117\n/own/f1\n/own/f130", "{json}");
        if !json.contains("none") {
            assert_eq!(line(&sandbox, "rm -r /own; echo x >/top; cat /top"), "x");
        }
        sandbox.close().unwrap();
        let scratch = fs::read_dir(ground.scratch()).unwrap().count();
        assert_eq!(scratch, 0, "{json}");
    }
}

/// Searches the whole tree of an image of several layers, some of it changed.
#[test]
fn layers_have_one_device_and_one_number_for_each_file() {
    need!(overlay, program("python3"));
    let ground = Ground::new();
    import(&ground, 21).unwrap();
    for write in ["memory", "disk"] {
        // The machine's python3 finds its libraries by two links.
        let json = format!(r#"{{"write": {write:?}, "mounts": ["/usr:/usr:ro"]}}"#);
        let sandbox = Sandbox::open(&ground.store, &spec(&json)).unwrap();
        let change = "ln -s usr/lib /lib; ln -s usr/lib64 /lib64; mv /own/f5 /own/g; echo x >/own/f6; mkdir /own/d";
        line(&sandbox, change);
        let argv = ["/usr/bin/python3", "-c", NUMBERS, "/own", "/bin", "/home"];
        assert_eq!(text(&sandbox, Command::from_argv(argv)), "", "{write}");
        let unique = sandbox.effective().unwrap().unique_inodes;
        assert_eq!(unique, Some(true), "{write}");
        let counted = "test $(du -sx /bin | cut -f1) = $(du -s /bin | cut -f1); echo $?; \
            df /bin/busybox /own/f7 /own/f6 | grep -c '^overlay .* /$'";
        assert_eq!(line(&sandbox, counted), "0\n3", "{write}");
    }
}

#[test]
fn layers_as_many_as_the_kernel_takes_work_and_more_are_refused() {
    let ground = Ground::new();
    let error = import(&ground, 501).unwrap_err();
    assert!(
        error.to_string().contains("more than 500 layers"),
        "{error}"
    );
    import(&ground, 500).unwrap();
    let sandbox = Sandbox::open(&ground.store, &spec("{}")).unwrap();
    assert_eq!(line(&sandbox, "cat /top"), "499");
}

#[test]
fn mount_of_any_name_is_mounted() {
    let ground = Ground::named(ODD);
    let work = ground.dir("work");
    fs::write(work.join("kept"), "kept").unwrap();
    let json = json!({"mounts": [
        {"type": "cow", "source": work, "target": "/c"},
        {"type": "bind", "source": work, "target": format!("/{ODD}/b")},
        {"type": "cow", "source": work, "target": format!("/{ODD}/c")},
    ]});
    let sandbox = ground.open_with(&json.to_string());
    for target in ["/c", "/*/b", "/*/c"] {
        assert_eq!(line(&sandbox, &format!("cat {target}/kept")), "kept");
    }
    assert_eq!(
        line(&sandbox, "echo x >/c/kept; cat /c/kept /*/c/kept"),
        "x\nkept"
    );
    assert_eq!(line(&sandbox, "cd /*/b; echo y >kept; cat kept"), "y");
    assert_eq!(fs::read_to_string(work.join("kept")).unwrap(), "y\n");
}

/// Returns whether overlays can be made, by the test of a kernel without
/// overlays; `tests/enosys.txt` has a line for that.
fn has_overlay(ground: &Ground) -> bool {
    let spec = ground.spec_with(r#"{"storage": "overlay"}"#);
    match Sandbox::open(&ground.store, &spec) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.step(), "mount overlay", "{error}");
            assert!(error.cure().unwrap().contains("\"copy\""), "{error}");
            false
        }
    }
}

#[test]
fn storage_auto_is_overlay_or_a_copy() {
    let ground = Ground::new();
    let expected = if has_overlay(&ground) {
        "overlay"
    } else {
        "copy"
    };
    // The second is made with the knowledge of the first.
    for _ in 0..2 {
        let sandbox = ground.open();
        assert_eq!(sandbox.effective().unwrap().storage, expected);
        assert_eq!(line(&sandbox, "echo x >/etc/passwd; cat /etc/passwd"), "x");
        sandbox.close().unwrap();
    }
    assert_ne!(fs::read(ground.root().join("etc/passwd")).unwrap(), b"x\n");
    assert_eq!(fs::read_dir(ground.scratch()).unwrap().count(), 0);
}

#[test]
fn storage_that_only_overlay_can_do_names_a_cure() {
    let ground = Ground::new();
    if has_overlay(&ground) {
        // The counterpart of `storage_auto_is_overlay_or_a_copy`.
        return;
    }
    let cow = format!(r#"{{"mounts": ["{}:/c:cow"]}}"#, ground.root().display());
    let bind = ground.spec_with(&cow.replace(":cow", ""));
    for (spec, cure, instead) in [
        (ground.spec_with(&cow), "a bind instead of cow", bind),
        (Spec::default(), "an image", ground.spec()),
    ] {
        let error = Sandbox::open(&ground.store, &spec).unwrap_err();
        assert_eq!(error.step(), "mount overlay", "{error}");
        assert!(error.cure().unwrap().starts_with(cure), "{error}");
        let sandbox = Sandbox::open(&ground.store, &instead).unwrap();
        assert_eq!(line(&sandbox, "id -u"), "0", "{cure}");
        sandbox.close().unwrap();
    }
    assert_eq!(fs::read_dir(ground.scratch()).unwrap().count(), 0);
}

#[test]
fn storage_copy_keeps_hard_links() {
    let ground = Ground::new();
    let (one, two) = (ground.root().join("one"), ground.root().join("etc/two"));
    fs::write(&one, "x\n").unwrap();
    fs::hard_link(&one, &two).unwrap();
    let sandbox = ground.open_with(r#"{"storage": "copy"}"#);
    let script = "stat -c %h /one /etc/two; echo y >/one; cat /etc/two";
    assert_eq!(line(&sandbox, script), "2\n2\ny");
    assert_eq!(fs::read_to_string(&two).unwrap(), "x\n");
    let in_scratch = ground.scratch().read_dir().unwrap().count();
    assert!(in_scratch > 0, "the copy is there");
    sandbox.close().unwrap();
    assert_eq!(ground.scratch().read_dir().unwrap().count(), 0);
}

/// Counts files below `dir` that hold `x` and have this name.
fn found(dir: &Path, name: &str) -> usize {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let count = |path: PathBuf| match path.is_dir() {
        true => found(&path, name),
        false => usize::from(path.ends_with(name) && fs::read(&path).is_ok_and(|b| b == b"x\n")),
    };
    entries.map(|entry| count(entry.path())).sum()
}

#[test]
fn write_to_disk_is_kept_on_disk() {
    // In front of an image, and of the host, which is many overlays for
    // ordinary users.
    let ground = Ground::new();
    let image = ground.spec_with(r#"{"write": "disk"}"#);
    let host = Spec {
        image: "host".into(),
        ..image.clone()
    };
    for spec in [image, host] {
        let sandbox = Sandbox::open(&ground.store, &spec).unwrap();
        let script = "d=/tmp/tare-written; mkdir -p $d; echo x >$d/f; cat $d/f";
        assert_eq!(line(&sandbox, script), "x");
        assert_eq!(found(&ground.scratch(), "f"), 1, "{}", spec.image);
        assert!(!Path::new("/tmp/tare-written").exists());
        sandbox.close().unwrap();
        assert_eq!(ground.scratch().read_dir().unwrap().count(), 0);
    }
}
