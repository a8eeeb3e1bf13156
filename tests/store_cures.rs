// SPDX-License-Identifier: MIT OR Apache-2.0
//! The cures of errors about an image or a store are followed, and work.
#![forbid(unsafe_code)]

#[path = "harness/images.rs"]
mod images;
mod layout;

use std::fs::{self, Permissions};
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::process::{Command, Stdio};
use std::time::Duration;

use images::{empty_store, named, selected};
use layout::{Codec, Layout, docker_archive, oci_archive, simple, tar_of};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use serde_json::json;
use tare::Kind;
use tare::error::Result;
use tare::image::{Digest, Images, ImportOptions, Platform, Reference, UnpackOptions, unpack};
use tare_oracle::need;
use tempfile::tempdir;

fn cure<T: std::fmt::Debug>(failed: Result<T>) -> String {
    let error = failed.unwrap_err();
    error.cure().unwrap_or_else(|| panic!("{error}")).to_owned()
}

fn parse(text: &str) -> Result<Reference> {
    text.parse()
}

fn run(command: &str) {
    let status = Command::new("sh").args(["-c", command]).status().unwrap();
    assert!(status.success(), "{command}");
}

/// The last of `one of A, B`.
fn last_of(cure: &str) -> String {
    let names = cure
        .strip_prefix("one of ")
        .unwrap_or_else(|| panic!("{cure}"));
    names.rsplit(", ").next().unwrap().to_owned()
}

#[test]
fn grammar_that_an_error_names_is_taken() {
    let given = cure(parse("What?"));
    for (word, text) in [
        ("host", "host"),
        ("dir:PATH", "dir:/srv/root"),
        ("oci:PATH[:TAG]", "oci:/srv/layout:1"),
        ("archive:FILE", "archive:/srv/x.tar"),
        ("name[:tag][@sha256:...]", "debian:12"),
    ] {
        assert!(given.contains(word), "{given}");
        parse(text).unwrap();
    }
    let given = cure("sha256:ABC".parse::<Digest>());
    assert_eq!(given, "sha256: and 64 lower-case hex digits");
    format!("sha256:{}", "0a".repeat(32))
        .parse::<Digest>()
        .unwrap();
    for platform in cure("linux/".parse::<Platform>()).split(" or ") {
        platform.parse::<Platform>().unwrap();
    }
}

#[test]
fn reference_that_an_error_offers_leads_to_the_image() {
    let (dir, store) = empty_store();
    let (layout, _) = simple(dir.path().join("oci"), Codec::Gzip);
    let file = dir.path().join("x.tar");
    oci_archive(&layout, &file);
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    // A layout for an archive, an archive for a layout, a root for a layout.
    for wrong in [
        format!("archive:{}", layout.dir.display()),
        format!("oci:{}", file.display()),
        format!("oci:{}", root.display()),
    ] {
        let given = cure(store.image(&parse(&wrong).unwrap()));
        let offered = given.split(',').next().unwrap();
        store.image(&parse(offered).unwrap()).unwrap();
    }
}

#[test]
fn name_that_an_error_offers_is_found() {
    let (dir, store) = empty_store();
    let mut layout = Layout::new(dir.path().join("oci"));
    for tag in ["one", "two"] {
        let image = layout.image(&[tar_of(&[(tag, b"")])], Codec::Plain, json!({}));
        layout.add(image, Some(tag));
    }
    layout.complete();
    let given = cure(store.image(&layout.reference(None)));
    let image = store
        .image(&layout.reference(Some(&last_of(&given))))
        .unwrap();
    drop(image);
    // Several images of an archive.
    let archive = dir.path().join("x.tar");
    docker_archive(&archive, &[tar_of(&[("x", b"")])], &["a:1", "b:2"]);
    let archive = Reference::Archive(archive);
    let given = cure(store.import(&archive, &selected("c:3"), &mut ()));
    let select = selected(&last_of(&given));
    store.import(&archive, &select, &mut ()).unwrap();
    // The view of the machine, written wrongly.
    let given = cure(store.image(&parse("hots").unwrap()));
    assert_eq!(given, "host");
    store.image(&parse(&given).unwrap()).unwrap();
    // A name that is nearly one of the store, and one that is not.
    let app = parse("application").unwrap();
    let given = cure(store.image(&app));
    assert_eq!(
        given,
        "an import of it first, from oci:PATH or archive:FILE"
    );
    let one = layout.reference(Some("one"));
    store.import(&one, &named("application"), &mut ()).unwrap();
    store.image(&app).unwrap();
    let near = cure(store.image(&parse("aplication").unwrap()));
    store.image(&parse(&near).unwrap()).unwrap();
}

#[test]
fn spelling_that_an_error_offers_is_found() {
    let (dir, store) = empty_store();
    let mut digests = Vec::new();
    for (n, name) in ["debian:latest", "docker.io/library/debian:latest"]
        .iter()
        .enumerate()
    {
        let mut layout = Layout::new(dir.path().join(n.to_string()));
        let image = layout.image(
            &[tar_of(&[("x", name.as_bytes())])],
            Codec::Plain,
            json!({}),
        );
        let from = layout.add(image, None).complete();
        let image = store
            .import(&from, &ImportOptions::default(), &mut ())
            .unwrap();
        digests.push(*image.digest().unwrap());
    }
    // As another tool files them.
    let path = store.path().join("index.json");
    let mut index: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for (entry, name) in index["manifests"].as_array_mut().unwrap().iter_mut().zip([
        "docker.io/library/debian:latest",
        "index.docker.io/library/debian:latest",
    ]) {
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
    }
    fs::write(&path, index.to_string()).unwrap();
    let given = cure(store.image(&parse("debian").unwrap()));
    store.image(&parse(&last_of(&given)).unwrap()).unwrap();
}

#[test]
fn platform_that_an_error_offers_is_imported() {
    let (dir, store) = empty_store();
    let mut layout = Layout::new(dir.path().join("oci"));
    let image = layout.image_for(&[], Codec::Plain, json!({}), "s390x");
    let from = layout.add(image, None).complete();
    let refused = store.image(&from);
    assert!(
        refused
            .as_ref()
            .is_err_and(|e| e.kind() == Kind::Unsupported)
    );
    let given = cure(refused);
    let words: Vec<&str> = given.split([' ', ',']).collect();
    assert_eq!(words[0], "platform", "{given}");
    let options = ImportOptions {
        platform: Some(words[1].parse().unwrap()),
        ..Default::default()
    };
    store.import(&from, &options, &mut ()).unwrap();
}

#[test]
fn bound_that_an_error_names_is_raised() {
    let (dir, store) = empty_store();
    let mut layout = Layout::new(dir.path().join("oci"));
    let image = layout.image(&[tar_of(&[("a", b""), ("b", b"")])], Codec::Gzip, json!({}));
    let from = layout.add(image, None).complete();
    let mut options = ImportOptions::default();
    options.bounds.entries = 1;
    let given = cure(store.import(&from, &options, &mut ()));
    assert_eq!(given, "a higher bound on entries, if the image is trusted");
    options.bounds.entries = 2;
    store.import(&from, &options, &mut ()).unwrap();
}

#[test]
fn archive_that_an_error_asks_for_is_read() {
    let (dir, store) = empty_store();
    let file = dir.path().join("x.tar");
    let archive = Reference::Archive(file.clone());
    fs::write(&file, "no archive at all, but a text that is long enough").unwrap();
    assert!(cure(store.image(&archive)).contains("docker save"));
    fs::write(&file, tar_of(&[("etc/passwd", b"")])).unwrap();
    assert!(cure(store.image(&archive)).contains("docker save"));
    docker_archive(&file, &[tar_of(&[("x", b"")])], &["a:1"]);
    store.image(&archive).unwrap();
    // Wrong bytes in a source.
    let (layout, from) = simple(dir.path().join("oci"), Codec::Gzip);
    let other = Images::open(dir.path().join("other")).unwrap();
    let blobs = fs::read_dir(layout.dir.join("blobs/sha256")).unwrap();
    let blobs: Vec<_> = blobs.map(|blob| blob.unwrap().path()).collect();
    for blob in &blobs {
        let right = fs::read(blob).unwrap();
        let mut wrong = right.clone();
        wrong[20] ^= 1;
        fs::write(blob, wrong).unwrap();
        assert_eq!(cure(other.image(&from)), "get the image again");
        fs::write(blob, right).unwrap();
    }
    other.image(&from).unwrap();
}

#[test]
fn directory_that_an_error_asks_for_is_unpacked_into() {
    let dir = tempdir().unwrap();
    let (_, from) = simple(dir.path().join("oci"), Codec::Gzip);
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("full")).unwrap();
    fs::write(at("full/x"), "").unwrap();
    fs::create_dir(at("empty")).unwrap();
    symlink(at("empty"), at("link")).unwrap();
    let into = |name: &str| unpack(&from, at(name), UnpackOptions::default(), &mut ());
    assert_eq!(cure(into("full")), "a new or empty directory");
    assert_eq!(cure(into("link")), "a directory, not a link to one");
    into("empty").unwrap();
    into("new").unwrap();
}

#[test]
fn store_is_opened_where_an_error_says() {
    need!(root);
    let dir = tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let open = |name: &str| Images::open(at(name));
    let refused = |name: &str, kind| {
        let refused = open(name);
        assert!(
            refused.as_ref().is_err_and(|e| e.kind() == kind),
            "{refused:?}"
        );
        cure(refused)
    };
    // Modes of the store and of a directory above it.
    for (store, open_to_all) in [("a", "a"), ("b/store", "b")] {
        fs::create_dir_all(at(store)).unwrap();
        fs::set_permissions(at(open_to_all), Permissions::from_mode(0o777)).unwrap();
        run(&refused(store, Kind::Permission));
        open(store).unwrap();
    }
    // What others own.
    fs::create_dir_all(at("c/store")).unwrap();
    chown(at("c"), Some(12345), None).unwrap();
    let given = refused("c/store", Kind::Permission);
    assert!(given.starts_with("TARE_STORE=DIR below"), "{given}");
    fs::create_dir(at("d")).unwrap();
    chown(at("d"), Some(12345), None).unwrap();
    let given = refused("d", Kind::Permission);
    assert!(given.ends_with("of your own"), "{given}");
    fs::create_dir(at("e")).unwrap();
    fs::write(at("e/thesis"), "").unwrap();
    assert_eq!(refused("e", Kind::Invalid), "an empty or new directory");
    assert_eq!(open("e/thesis").unwrap_err().kind(), Kind::Invalid);
    fs::create_dir(at("f")).unwrap();
    fs::write(at("f/store.json"), r#"{"version":99}"#).unwrap();
    let given = refused("f", Kind::Unsupported);
    assert_eq!(given, "a newer libtare, or another TARE_STORE");
    open("new").unwrap();
    let mode = fs::metadata(at("new")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn lock_is_free_after_its_error_is_followed() {
    need!(root, program("flock"));
    let (dir, store) = empty_store();
    let (_, from) = simple(dir.path().join("oci"), Codec::Gzip);
    let image = store.image(&from).unwrap();
    let layer = format!("{}.root", image.layers()[0].diff_id.hex());
    drop(image);
    let file = store.path().join("locks").join(layer);
    let options = ImportOptions {
        patience: Duration::from_millis(20),
        ..Default::default()
    };
    // With -F, flock(1) becomes the program; without, flock ends and leaves the
    // lock to the shell's descriptor.
    for script in [
        r#"exec flock -F "$0" sh -c 'echo; exec sleep 600'"#,
        r#"exec 9>>"$0"; flock 9; echo; exec sleep 600"#,
    ] {
        let mut holder = Command::new("sh");
        holder
            .args(["-c", script])
            .arg(&file)
            .stdout(Stdio::piped());
        let mut holder = holder.spawn().unwrap();
        holder.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        let given = cure(store.import(&from, &options, &mut ()));
        let pid = holder.id().to_string();
        match given.strip_prefix("kill the process that this shows: ") {
            None => assert_eq!(given, format!("kill {pid}"), "{script}"),
            Some(find) => {
                let shown = Command::new("sh").args(["-c", find]).output().unwrap();
                let shown = String::from_utf8(shown.stdout).unwrap();
                assert!(shown.starts_with(&format!("/proc/{pid}/fd/")), "{shown}");
            }
        }
        holder.kill().unwrap();
        holder.wait().unwrap();
        store.import(&from, &options, &mut ()).unwrap();
    }
}

#[test]
fn store_that_is_read_only_is_left_for_another() {
    need!(root);
    let dir = tempdir().unwrap();
    let (_, from) = simple(dir.path().join("oci"), Codec::Gzip);
    let path = dir.path().join("store");
    let store = Images::open(&path).unwrap();
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    let bind = MsFlags::MS_BIND;
    mount(Some(&path), &path, none, bind, none).unwrap();
    mount(
        none,
        &path,
        none,
        bind | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY,
        none,
    )
    .unwrap();
    let given = cure(store.import(&from, &ImportOptions::default(), &mut ()));
    assert_eq!(given, "a store that you may write to (TARE_STORE)");
    let other = Images::open(dir.path().join("other")).unwrap();
    other
        .import(&from, &ImportOptions::default(), &mut ())
        .unwrap();
}
