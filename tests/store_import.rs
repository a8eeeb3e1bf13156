// SPDX-License-Identifier: MIT OR Apache-2.0
//! Images come into a store from every kind of source, whole and verified.
#![forbid(unsafe_code)]

#[path = "harness/images.rs"]
mod images;
mod layout;

use std::fs;
use std::path::{Path, PathBuf};

use images::{count, empty_store, named};
use layout::{
    Codec, Layout, compressed, docker_archive, listing, oci_archive, simple, tar_of, two_layers,
};
use serde_json::json;
use tare::Kind;
use tare::image::{Digest, UnpackOptions, unpack};
use tare::image::{Image, Images, ImportOptions, Platform, Progress, Reference, Root};

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

fn layers(image: &Image) -> Vec<PathBuf> {
    match image.root() {
        Root::Layers(layers) => layers.clone(),
        other => panic!("{other:?}"),
    }
}

fn read(dir: &Path, name: &str) -> Option<String> {
    fs::read_to_string(dir.join(name)).ok()
}

#[test]
fn import_of_every_codec_unpacks_each_layer_once() {
    for codec in [Codec::Plain, Codec::Gzip, Codec::Zstd] {
        let (dir, store) = empty_store();
        let (_, from) = simple(dir.path().join("oci"), codec);
        let image = store
            .import(&from, &ImportOptions::default(), &mut ())
            .unwrap();
        let [below, above] = &layers(&image)[..] else {
            panic!("two layers");
        };
        assert_eq!(read(below, "etc/a").as_deref(), Some("one"), "{codec:?}");
        assert_eq!(read(above, "etc/b").as_deref(), Some("two"));
        assert_eq!(image.config().env, [("A".to_owned(), "1".to_owned())]);
        assert_eq!(image.layers().len(), 2);
        assert_eq!(store.check().unwrap().problems, []);
        assert_eq!(count(store.path().join("scratch")), 0);
        let before = listing(store.path());
        let again = store.image(&from).unwrap();
        assert_eq!(again.digest(), image.digest());
        assert_eq!(listing(store.path()), before);
    }
}

#[test]
fn import_of_an_archive_equals_that_of_its_layout() {
    let (dir, store) = empty_store();
    let (layout, from) = simple(dir.path().join("oci"), Codec::Gzip);
    let plain = dir.path().join("x.tar");
    oci_archive(&layout, &plain);
    let image = store.image(&from).unwrap();
    for (name, codec) in [
        ("x.tar", Codec::Plain),
        ("x.tgz", Codec::Gzip),
        ("x.zst", Codec::Zstd),
    ] {
        let path = dir.path().join(name);
        fs::write(&path, compressed(&fs::read(&plain).unwrap(), codec)).unwrap();
        let store = Images::open(dir.path().join(format!("{name}.store"))).unwrap();
        let archived = store.image(&Reference::Archive(path)).unwrap();
        assert_eq!(archived.digest(), image.digest());
        assert_eq!(count(store.path().join("scratch")), 0);
    }
}

#[test]
fn import_of_a_docker_archive_makes_a_manifest_and_takes_names_only_if_asked() {
    let (dir, store) = empty_store();
    let path = dir.path().join("x.tar");
    docker_archive(&path, &two_layers(), &["app:1", "app:2"]);
    let image = store.image(&Reference::Archive(path.clone())).unwrap();
    assert_eq!(layers(&image).len(), 2);
    assert_eq!(image.layers()[0].digest, image.layers()[0].diff_id);
    assert_eq!(
        store.image(&reference("app:1")).unwrap_err().kind(),
        Kind::NotFound
    );
    let options = ImportOptions {
        source_names: true,
        ..Default::default()
    };
    store
        .import(&Reference::Archive(path), &options, &mut ())
        .unwrap();
    for name in ["app:1", "app:2"] {
        assert_eq!(
            store.image(&reference(name)).unwrap().digest(),
            image.digest()
        );
    }
    assert_eq!(store.list().unwrap().len(), 2);
    assert_eq!(store.check().unwrap().problems, []);
}

#[test]
fn image_of_a_directory_or_the_host_is_used_in_place() {
    let (dir, store) = empty_store();
    let image = store.image(&Reference::Dir(dir.path().to_owned())).unwrap();
    assert_eq!(image.root(), &Root::Dir(dir.path().canonicalize().unwrap()));
    assert_eq!(store.image(&Reference::Host).unwrap().root(), &Root::Host);
    assert_eq!(image.digest(), None);
    let error = store.image(&reference("dir:/nowhere/at/all")).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    layout::assert_empty(store.path());
}

#[test]
fn index_with_several_platforms_gives_the_one_that_fits() {
    let (dir, store) = empty_store();
    let mut layout = Layout::new(dir.path().join("oci"));
    let mut manifests = Vec::new();
    for arch in ["amd64", "arm64", "s390x"] {
        let tar = tar_of(&[("arch", arch.as_bytes())]);
        let mut manifest = layout.image_for(&[tar], Codec::Gzip, json!({}), arch);
        manifest["platform"] = json!({"os": "linux", "architecture": arch});
        manifests.push(manifest);
    }
    // What buildkit adds for each platform.
    let mut attestation = layout.image_for(&[], Codec::Plain, json!({}), "unknown");
    attestation["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    manifests.insert(0, attestation);
    let index = json!({"schemaVersion": 2, "mediaType": layout::INDEX, "manifests": manifests});
    let index = layout.json(layout::INDEX, &index);
    let nested = json!({"schemaVersion": 2, "manifests": [index]});
    let nested = layout.json(layout::INDEX, &nested);
    let from = layout.add(nested, Some("latest")).complete();
    for arch in ["amd64", "arm64"] {
        let platform: Platform = arch.parse().unwrap();
        let options = ImportOptions {
            platform: Some(platform),
            ..Default::default()
        };
        let image = store.import(&from, &options, &mut ()).unwrap();
        assert_eq!(read(&layers(&image)[0], "arch").as_deref(), Some(arch));
        assert_eq!(image.config().architecture, arch);
    }
    let options = ImportOptions {
        platform: Some("riscv64".parse().unwrap()),
        ..Default::default()
    };
    let error = store.import(&from, &options, &mut ()).unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
    assert!(error.to_string().contains("linux/s390x"), "{error}");
}

#[test]
fn layer_that_is_there_twice_is_stacked_once_and_on_top() {
    let (dir, store) = empty_store();
    let mut layout = Layout::new(dir.path().join("oci"));
    let [a, b] = two_layers();
    let (digest_a, digest_b) = (Digest::of(&a), Digest::of(&b));
    let image = layout.image(&[a.clone(), b, a], Codec::Gzip, json!({}));
    let from = layout.add(image, None).complete();
    let image = store.image(&from).unwrap();
    let stacked = layers(&image);
    let begins =
        |path: &PathBuf, digest: Digest| path.display().to_string().contains(&digest.hex());
    assert_eq!(stacked.len(), 2);
    assert!(begins(&stacked[0], digest_b) && begins(&stacked[1], digest_a));
    assert_eq!(image.layers().len(), 3);
}

#[test]
fn name_moves_to_the_new_image_and_the_old_one_stays_by_digest() {
    let (dir, store) = empty_store();
    let (_, first) = simple(dir.path().join("1"), Codec::Gzip);
    let (_, second) = simple(dir.path().join("2"), Codec::Zstd);
    let named = named("app");
    let old = store.import(&first, &named, &mut ()).unwrap();
    let new = store.import(&second, &named, &mut ()).unwrap();
    assert_ne!(old.digest(), new.digest());
    assert_eq!(
        store.image(&reference("app")).unwrap().digest(),
        new.digest()
    );
    let digest = *old.digest().unwrap();
    assert_eq!(
        store.image(&Reference::Digest(digest)).unwrap().digest(),
        old.digest()
    );
    store
        .tag(&Reference::Digest(digest), &reference("app:old"))
        .unwrap();
    let full = reference(&format!("app:old@{digest}"));
    assert_eq!(store.image(&full).unwrap().digest(), old.digest());
    let mixed = reference(&format!("app:latest@{digest}"));
    assert_eq!(store.image(&mixed).unwrap_err().kind(), Kind::NotFound);
    assert_eq!(store.list().unwrap().len(), 2);
    // Both images have the same two layers.
    assert_eq!(count(store.path().join("layers")), 2);
}

#[test]
fn image_removed_leaves_what_others_need_and_what_is_in_use() {
    let (dir, store) = empty_store();
    let (_, from) = simple(dir.path().join("1"), Codec::Gzip);
    let mut layout = Layout::new(dir.path().join("2"));
    let other = layout.image(&two_layers()[..1], Codec::Gzip, json!({}));
    let other = layout.add(other, None).complete();
    let name = |name: &str| ImportOptions {
        names: vec![reference(name)],
        ..Default::default()
    };
    drop(store.import(&other, &name("other"), &mut ()).unwrap());
    let image = store.import(&from, &name("app"), &mut ()).unwrap();
    let collected = store.remove(&reference("app")).unwrap();
    assert_eq!((collected.layers, collected.in_use), (0, 1));
    assert!(
        layers(&image)
            .iter()
            .all(|layer| layer.join("etc").is_dir())
    );
    drop(image);
    assert_eq!(store.gc().unwrap().layers, 1);
    assert_eq!(
        store.remove(&reference("app")).unwrap_err().kind(),
        Kind::NotFound
    );
    assert_eq!(store.check().unwrap().problems, []);
    store.image(&reference("other")).unwrap();
    store.remove(&reference("other")).unwrap();
    layout::assert_empty(store.path());
    assert_eq!(count(store.path().join("locks")), 1);
}

#[test]
fn unpack_of_an_image_into_a_directory_applies_whiteouts() {
    let (dir, store) = empty_store();
    let (layout, from) = simple(dir.path().join("oci"), Codec::Zstd);
    let archive = dir.path().join("x.tar");
    oci_archive(&layout, &archive);
    let digest = *store.image(&from).unwrap().digest().unwrap();
    let sources = [from, Reference::Archive(archive), Reference::Digest(digest)];
    for (n, from) in sources.iter().enumerate() {
        let to = dir.path().join(format!("root{n}"));
        let options = UnpackOptions {
            store: Some(&store),
            ..Default::default()
        };
        let config = unpack(from, &to, options, &mut ()).unwrap();
        assert_eq!(config.cmd, ["sh"]);
        let names: Vec<PathBuf> = listing(&to).into_iter().map(|(path, _)| path).collect();
        assert_eq!(names, [to.join("etc/b"), to.join("opt/y")]);
        assert_eq!(read(&to, "etc/b").as_deref(), Some("two"));
        let error = unpack(from, &to, UnpackOptions::default(), &mut ()).unwrap_err();
        assert!(
            matches!(error.kind(), Kind::Exists | Kind::Invalid),
            "{error}"
        );
    }
}

#[test]
fn progress_sees_every_layer_to_its_end_and_can_stop_the_import() {
    struct Seen(Vec<(usize, u64, u64)>, bool);
    impl Progress for Seen {
        fn layer(&mut self, index: usize, total: usize, _: &Digest, done: u64, of: u64) {
            assert_eq!(total, 2);
            self.0.push((index, done, of));
        }
        fn keep_going(&mut self) -> bool {
            self.1
        }
    }
    let (dir, store) = empty_store();
    let (_, from) = simple(dir.path().join("oci"), Codec::Gzip);
    let options = ImportOptions::default();
    let error = store
        .import(&from, &options, &mut Seen(Vec::new(), false))
        .unwrap_err();
    assert_eq!(error.errno(), Some(libc::ECANCELED), "{error}");
    layout::assert_empty(store.path());
    let mut seen = Seen(Vec::new(), true);
    store.import(&from, &options, &mut seen).unwrap();
    for index in 0..2 {
        assert!(
            seen.0.iter().any(|(i, done, of)| *i == index && done == of),
            "{:?}",
            seen.0
        );
    }
}

#[test]
fn check_reports_a_lost_tree_and_a_damaged_index() {
    let (dir, store) = empty_store();
    let (_, from) = simple(dir.path().join("oci"), Codec::Plain);
    let image = store
        .import(&from, &ImportOptions::default(), &mut ())
        .unwrap();
    let lost = &layers(&image)[0];
    // A layer in use is not removed.
    drop(image);
    fs::remove_dir_all(lost).unwrap();
    let report = store.check().unwrap();
    let [problem] = &report.problems[..] else {
        panic!("{report:?}");
    };
    let name = lost.parent().unwrap().file_name().unwrap();
    assert_eq!(
        problem.subject,
        format!("layers/{}", name.to_str().unwrap())
    );
    assert_eq!(store.repair(&report).unwrap().removed, 1);
    store.image(&from).unwrap();
    assert_eq!(store.check().unwrap().problems, []);

    fs::write(store.path().join("index.json"), "{").unwrap();
    let report = store.check().unwrap();
    let subjects: Vec<_> = report.problems.iter().map(|p| p.subject.as_str()).collect();
    assert_eq!(subjects, ["index.json"]);
    assert_eq!(report.images, 0);
}

#[test]
fn notes_of_layers_are_the_image_s() {
    let (dir, store) = empty_store();
    let mut tar = tar::Builder::new(Vec::new());
    let attribute = ("SCHILY.xattr.trusted.overlay.opaque", &b"y"[..]);
    tar.append_pax_extensions([attribute]).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o644);
    header.set_size(1);
    tar.append_data(&mut header, "a", &b"x"[..]).unwrap();
    let mut layout = Layout::new(dir.path().join("oci"));
    let run = json!({"Volumes": {"data": {}}});
    let image = layout.image(&[tar.into_inner().unwrap()], Codec::Gzip, run);
    let from = layout.add(image, None).complete();
    let options = named("x");
    let image = store.import(&from, &options, &mut ()).unwrap();
    let notes = image.notes().to_vec();
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(
        notes[0].contains("Volumes") && notes[1].contains("xattrs"),
        "{notes:?}"
    );
    assert_eq!(image.config().notes, notes[..1]);
    for again in [store.image(&from), store.image(&reference("x"))] {
        assert_eq!(again.unwrap().notes(), notes);
    }
    let into = dir.path().join("root");
    let config = unpack(&from, into, UnpackOptions::default(), &mut ()).unwrap();
    assert_eq!(config.notes, notes);
}
