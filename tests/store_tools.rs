// SPDX-License-Identifier: MIT OR Apache-2.0
//! Real images, and other people's tools on our store.
#![forbid(unsafe_code)]

#[path = "harness/images.rs"]
mod images;
mod layout;

use std::path::Path;
use std::process::Command;

use images::empty_store;
use layout::{Codec, simple};
use tare::image::{Images, ImportOptions, Reference, UnpackOptions, unpack};
use tare_oracle::{image, need};
use tempfile::tempdir;

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

fn store_with(dir: &Path, names: &[&str]) -> Images {
    let (_, from) = simple(dir.join("oci"), Codec::Gzip);
    let store = Images::open(dir.join("store")).unwrap();
    let names = names.iter().map(|name| name.parse().unwrap()).collect();
    let options = ImportOptions {
        names,
        ..Default::default()
    };
    store.import(&from, &options, &mut ()).unwrap();
    store
}

#[test]
fn store_is_read_by_skopeo_and_umoci() {
    need!(program("skopeo"), program("umoci"));
    let dir = tempdir().unwrap();
    let store = store_with(dir.path(), &["app", "app:2"]);
    let path = store.path().display().to_string();
    let inspect = run("skopeo", &["inspect", &format!("oci:{path}:app:latest")]);
    assert!(
        inspect.contains("\"LayersData\"") || inspect.contains("\"Layers\""),
        "{inspect}"
    );
    let names = run("umoci", &["ls", "--layout", &path]);
    assert!(
        names.contains("app:latest") && names.contains("app:2"),
        "{names}"
    );
}

#[test]
fn archives_and_layouts_of_skopeo_are_imported() {
    need!(program("skopeo"));
    let dir = tempdir().unwrap();
    let store = store_with(dir.path(), &["app"]);
    let from = format!("oci:{}:app:latest", store.path().display());
    let digest = *store
        .image(&"app".parse().unwrap())
        .unwrap()
        .digest()
        .unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    for (format, to) in [
        ("oci", format!("docker-archive:{}:app:1", at("d.tar"))),
        ("oci", format!("oci-archive:{}:app:1", at("o.tar"))),
        ("oci", format!("oci:{}:app:1", at("layout"))),
        ("v2s2", format!("oci:{}:v2", at("layout"))),
    ] {
        let mut words = vec!["--insecure-policy", "copy", &from, &to];
        if format == "v2s2" {
            words.insert(2, "--format=v2s2");
        }
        run("skopeo", &words);
    }
    let open = |text: String| text.parse::<Reference>().unwrap();
    for (from, same) in [
        (format!("archive:{}", at("o.tar")), true),
        (format!("oci:{}:app:1", at("layout")), true),
        (format!("archive:{}", at("d.tar")), false),
    ] {
        let fresh = tempdir().unwrap();
        let fresh = Images::open(fresh.path().join("store")).unwrap();
        let image = fresh.image(&open(from.clone())).unwrap();
        assert_eq!(*image.digest().unwrap() == digest, same, "{from}");
        assert_eq!(image.layers().len(), 2);
        assert_eq!(image.config().cmd, ["sh"]);
    }
}

#[test]
fn archives_of_skopeo_are_loaded_under_their_names() {
    need!(program("skopeo"));
    let dir = tempdir().unwrap();
    let store = store_with(dir.path(), &["app"]);
    let from = format!("oci:{}:app:latest", store.path().display());
    for (kind, given, filed) in [
        ("oci-archive", "localhost/one:1", Some("localhost/one:1")),
        ("oci-archive", "quay.io/a/b:2", Some("quay.io/a/b:2")),
        ("oci-archive", "latest", None),
        ("docker-archive", "one:1", Some("docker.io/library/one:1")),
    ] {
        let file = dir.path().join("x.tar");
        let _ = std::fs::remove_file(&file);
        let to = format!("{kind}:{}:{given}", file.display());
        run("skopeo", &["--insecure-policy", "copy", &from, &to]);
        let fresh = tempdir().unwrap();
        let fresh = Images::open(fresh.path().join("store")).unwrap();
        let reference = Reference::Archive(file);
        let images = fresh.load(&reference, &ImportOptions::default(), &mut ());
        let images = images.unwrap();
        assert_eq!(images.len(), 1);
        assert_eq!(images[0].notes().is_empty(), filed.is_some(), "{given}");
        let found = fresh.list().unwrap().remove(0).name;
        match filed {
            Some(filed) => {
                let named = fresh.image(&filed.parse().unwrap()).unwrap();
                assert_eq!(named.digest(), images[0].digest(), "{found:?}");
            }
            None => assert_eq!(found, None),
        }
    }
}

#[test]
fn images_of_every_kind_hold_the_same_debian() {
    need!(
        root,
        image("debian"),
        image("debian-zstd"),
        image("debian-plain"),
        image("debian.docker.tar"),
        image("debian.oci.tar")
    );
    let (dir, store) = empty_store();
    let oci = |name: &str| Reference::Oci {
        path: image(name),
        tag: Some("two".into()),
    };
    let diff_ids = |from: &Reference| -> Vec<String> {
        let image = store.image(from).unwrap();
        image
            .layers()
            .iter()
            .map(|layer| layer.diff_id.to_string())
            .collect()
    };
    let debian = diff_ids(&oci("debian"));
    assert_eq!(debian.len(), 2);
    let root = dir.path().join("root");
    unpack(&oci("debian"), &root, UnpackOptions::default(), &mut ()).unwrap();
    assert!(root.join("usr/bin/dpkg").is_file() && !root.join("etc/debian_version").exists());
    for archive in ["debian.docker.tar", "debian.oci.tar"] {
        let image = store.image(&Reference::Archive(image(archive))).unwrap();
        assert!(
            image
                .layers()
                .iter()
                .all(|l| debian.contains(&l.diff_id.to_string())),
            "{archive}"
        );
    }
    assert_eq!(store.check().unwrap().problems, []);
}
