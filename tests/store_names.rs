// SPDX-License-Identifier: MIT OR Apache-2.0
//! Names of images: spellings, and the names of archives and layouts.
#![forbid(unsafe_code)]

#[path = "harness/images.rs"]
mod images;
mod layout;

use std::fs;
use std::path::Path;

use images::{empty_store, named, selected};
use layout::{CONFIG, Codec, Layout, docker_archive, oci_archive, simple, tar_of};
use serde_json::{Value, json};
use tare::Kind;
use tare::image::{Digest, Image, Images, ImportOptions, Reference};
use tempfile::tempdir;

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

fn names(store: &Images) -> Vec<String> {
    let list = store.list().unwrap();
    let mut names: Vec<String> = list.into_iter().filter_map(|image| image.name).collect();
    names.sort();
    names
}

#[test]
fn name_of_docker_s_registry_is_found_in_each_spelling() {
    let (dir, store) = empty_store();
    let (_, first) = simple(dir.path().join("1"), Codec::Gzip);
    let (_, second) = simple(dir.path().join("2"), Codec::Zstd);
    let spellings = [
        "debian:12",
        "docker.io/debian:12",
        "docker.io/library/debian:12",
        "index.docker.io/library/debian:12",
    ];
    for filed in spellings {
        let old = store.import(&first, &named(filed), &mut ()).unwrap();
        assert_eq!(names(&store), [filed]);
        for asked in spellings {
            let found = store.image(&reference(asked)).unwrap();
            assert_eq!(found.digest(), old.digest(), "{asked} of {filed}");
            // What comes under another spelling takes the name, too.
            let new = store.import(&second, &named(asked), &mut ()).unwrap();
            assert_eq!(names(&store), [asked]);
            let found = store.image(&reference(filed)).unwrap();
            assert_eq!(found.digest(), new.digest(), "{asked} of {filed}");
            let digest = Reference::Digest(*old.digest().unwrap());
            store.tag(&digest, &reference(filed)).unwrap();
            assert_eq!(names(&store), [filed]);
        }
        for other in ["debian", "quay.io/library/debian:12", "localhost/debian:12"] {
            let error = store.image(&reference(other)).unwrap_err();
            assert_eq!(error.kind(), Kind::NotFound, "{other}");
        }
        store.remove(&reference(spellings[1])).unwrap();
        assert_eq!(names(&store), [""; 0]);
    }
}

#[test]
fn name_that_other_tools_spelled_twice_must_be_spelled_so() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("store");
    let store = Images::open(&path).unwrap();
    let (_, first) = simple(dir.path().join("1"), Codec::Gzip);
    let (_, second) = simple(dir.path().join("2"), Codec::Zstd);
    let digests = [
        store.import(&first, &named("x"), &mut ()).unwrap(),
        store.import(&second, &named("y"), &mut ()).unwrap(),
    ]
    .map(|image| *image.digest().unwrap());
    let index = path.join("index.json");
    let text = fs::read_to_string(&index).unwrap();
    let text = text.replace("\"x:latest\"", "\"docker.io/a:latest\"");
    fs::write(&index, text.replace("\"y:latest\"", "\"a\"")).unwrap();
    let digest = |name: &str| *store.image(&reference(name)).unwrap().digest().unwrap();
    assert_eq!(digest("docker.io/a"), digests[0]);
    for error in [
        store.image(&reference("docker.io/library/a")).unwrap_err(),
        store.remove(&reference("docker.io/library/a")).unwrap_err(),
        store
            .tag(&reference("docker.io/library/a"), &reference("z"))
            .unwrap_err(),
    ] {
        assert_eq!(error.kind(), Kind::Invalid);
        assert_eq!(error.cure(), Some("one of a, docker.io/a:latest"));
    }
    assert_eq!(store.list().unwrap().len(), 2);
    store.remove(&reference("docker.io/a")).unwrap();
    assert_eq!(digest("docker.io/library/a"), digests[1]);
}

const NAME: &str = "io.containerd.image.name";
const REF: &str = "org.opencontainers.image.ref.name";

/// An image that holds one file of its name.
fn image_of(layout: &Layout, name: &str) -> Value {
    layout.image(&[tar_of(&[(name, b"x")])], Codec::Gzip, json!({}))
}

/// A layout with an image for each annotation: the file's name, then what the
/// entry says.
fn layout_of(dir: &Path, entries: &[(&str, Value)]) -> Layout {
    let mut layout = Layout::new(dir);
    for (file, annotations) in entries {
        let mut image = image_of(&layout, file);
        image["annotations"] = annotations.clone();
        layout.add(image, None);
    }
    layout.complete();
    layout
}

/// The layout of `ctr image export` for two images, and of `docker save` since
/// 25.
fn of_containerd(dir: &Path) -> Layout {
    let named = |name: &str| json!({NAME: name, REF: "latest"});
    let a = named("docker.io/library/a:latest");
    layout_of(dir, &[("a", a), ("b", named("docker.io/library/b:latest"))])
}

/// The file in an image's only layer.
fn file(image: &Image) -> String {
    let tare::image::Root::Layers(layers) = image.root() else {
        panic!("layers");
    };
    let mut entries = fs::read_dir(&layers[0]).unwrap();
    let name = entries.next().unwrap().unwrap().file_name();
    name.into_string().unwrap()
}

/// Files of the images that a load gives, and the names they are filed under.
fn loaded(from: &Reference) -> (Vec<String>, Vec<(String, String)>, Vec<String>) {
    let (_dir, store) = empty_store();
    let images = store
        .load(from, &ImportOptions::default(), &mut ())
        .unwrap();
    assert_eq!(store.check().unwrap().problems, []);
    let filed = names(&store).into_iter().map(|name| {
        let found = file(&store.image(&reference(&name)).unwrap());
        (name, found)
    });
    let filed = filed.collect();
    let notes = images.iter().flat_map(|image| image.notes().to_vec());
    (images.iter().map(file).collect(), filed, notes.collect())
}

#[test]
fn source_of_several_images_gives_each_its_own_names() {
    let dir = tempdir().unwrap();
    let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        let owned = |(name, file): &(&str, &str)| ((*name).to_owned(), (*file).to_owned());
        pairs.iter().map(owned).collect()
    };
    let ab = pairs(&[
        ("docker.io/library/a:latest", "a"),
        ("docker.io/library/b:latest", "b"),
    ]);
    let one = json!({REF: "localhost/one:1"});
    let latest = |name: &str| json!({NAME: name});
    // Who writes such, the source, images, names with the image of each, notes.
    type Row<'a> = (&'a str, Layout, usize, Vec<(String, String)>, usize);
    let table: [Row<'_>; 6] = [
        ("containerd", of_containerd(&dir.path().join("0")), 2, ab, 0),
        // podman save --format oci-archive, skopeo copy oci-archive:FILE:NAME.
        (
            "podman",
            layout_of(&dir.path().join("1"), &[("a", one)]),
            1,
            pairs(&[("localhost/one:1", "a")]),
            0,
        ),
        (
            "umoci",
            layout_of(
                &dir.path().join("2"),
                &[("a", json!({REF: "latest"})), ("b", json!({REF: "12"}))],
            ),
            2,
            Vec::new(),
            2,
        ),
        (
            "one image of two names",
            layout_of(
                &dir.path().join("3"),
                &[("a", latest("x:1")), ("a", latest("y:2"))],
            ),
            1,
            pairs(&[("x:1", "a"), ("y:2", "a")]),
            0,
        ),
        (
            "a name given twice",
            layout_of(
                &dir.path().join("4"),
                &[("a", latest("x:1")), ("b", latest("docker.io/x:1"))],
            ),
            2,
            pairs(&[("docker.io/x:1", "b")]),
            0,
        ),
        (
            "no names at all, and some that are none",
            layout_of(
                &dir.path().join("5"),
                &[
                    ("a", json!({})),
                    ("b", latest("X Y")),
                    ("c", json!({REF: "A/b:c:d"})),
                ],
            ),
            3,
            Vec::new(),
            2,
        ),
    ];
    for (who, layout, count, filed, notes) in table {
        let archive = dir.path().join("x.tar");
        oci_archive(&layout, &archive);
        for from in [layout.reference(None), Reference::Archive(archive.clone())] {
            let (files, named, noted) = loaded(&from);
            assert_eq!(files, ["a", "b", "c"][..count], "{who}");
            assert_eq!(named, filed, "{who}");
            assert_eq!(noted.len(), notes, "{who}: {noted:?}");
        }
    }
}

#[test]
fn source_of_several_images_is_asked_for_one() {
    let (dir, store) = empty_store();
    let layout = of_containerd(&dir.path().join("0"));
    let from = layout.reference(None);
    let own = |select: Option<&str>| ImportOptions {
        select: select.map(str::to_owned),
        ..named("mine")
    };
    for error in [
        store.image(&from).unwrap_err(),
        store.import(&from, &own(None), &mut ()).unwrap_err(),
        store.image(&layout.reference(Some("latest"))).unwrap_err(),
    ] {
        assert_eq!(error.kind(), Kind::Invalid, "{error}");
        let cure = "one of docker.io/library/a:latest, docker.io/library/b:latest";
        assert_eq!(error.cure(), Some(cure));
    }
    layout::assert_empty(store.path());
    let digest = layout.manifests[1]["digest"].as_str().unwrap();
    for word in ["docker.io/library/b:latest", "b", "docker.io/b", digest] {
        let image = store.import(&from, &own(Some(word)), &mut ()).unwrap();
        assert_eq!(file(&image), "b", "{word}");
        let tagged = layout.reference(Some(word));
        assert_eq!(file(&store.image(&tagged).unwrap()), "b", "{word}");
    }
    assert_eq!(names(&store), ["mine:latest"]);
    let select = selected("a");
    assert_eq!(store.load(&from, &select, &mut ()).unwrap().len(), 1);
    assert_eq!(names(&store), ["docker.io/library/a:latest", "mine:latest"]);
    let error = store.load(&from, &own(None), &mut ()).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
}

/// A docker-archive of an image for each file, with `RepoTags`.
fn saved(to: &Path, images: &[(&str, Value)]) {
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    let mut manifest = Vec::new();
    for (file, tags) in images {
        let layer = tar_of(&[(file, b"x")]);
        let config = json!({"architecture": "amd64", "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer)]}});
        let config = config.to_string().into_bytes();
        let id = format!("{}.json", Digest::of(&config).hex());
        manifest.push(json!({"Config": id, "RepoTags": tags, "Layers": [format!("{file}.tar")]}));
        files.push((id, config));
        files.push((format!("{file}.tar"), layer));
    }
    files.push((
        "manifest.json".to_owned(),
        json!(manifest).to_string().into(),
    ));
    let files: Vec<_> = files.iter().map(|(n, b)| (&n[..], &b[..])).collect();
    fs::write(to, tar_of(&files)).unwrap();
}

#[test]
fn docker_archive_of_several_images_gives_each_its_own_names() {
    let (dir, store) = empty_store();
    let path = dir.path().join("x.tar");
    let from = Reference::Archive(path.clone());
    saved(
        &path,
        &[
            (
                "a",
                json!(["a:1", "A strange tag", null, "a:1@sha256:00", "a:2"]),
            ),
            ("b", json!(null)),
            ("c", json!("c:1")),
        ],
    );
    let (files, filed, notes) = loaded(&from);
    assert_eq!(files, ["a", "b", "c"]);
    let of = |name: &str, file: &str| (name.to_owned(), file.to_owned());
    assert_eq!(filed, [of("a:1", "a"), of("a:2", "a"), of("c:1", "c")]);
    assert_eq!(notes.len(), 2, "{notes:?}");
    let error = store.image(&from).unwrap_err();
    assert_eq!(error.cure(), Some("one of a:1, a:2, c:1"));
    let select = ImportOptions {
        select: Some("docker.io/library/c:1".to_owned()),
        ..named("mine")
    };
    assert_eq!(file(&store.import(&from, &select, &mut ()).unwrap()), "c");
    // An import that names its own does not look at the tags.
    docker_archive(&path, &[tar_of(&[("a", b"x")])], &["A strange tag"]);
    let image = store.import(&from, &named("own"), &mut ()).unwrap();
    assert_eq!(image.notes(), [""; 0]);
    assert_eq!(names(&store), ["mine:latest", "own:latest"]);
}

#[test]
fn documents_that_name_one_image_apart_are_refused() {
    let dir = tempdir().unwrap();
    let layout = of_containerd(&dir.path().join("0"));
    let config = |entry: &Value| -> Value {
        let path = layout.blob_path(entry["digest"].as_str().unwrap());
        let manifest: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        manifest["config"].clone()
    };
    let configs: Vec<Value> = layout.manifests.iter().map(config).collect();
    let member = |config: &Value| {
        let digest = config["digest"].as_str().unwrap();
        assert_eq!(config["mediaType"], CONFIG);
        format!("blobs/sha256/{}", &digest["sha256:".len()..])
    };
    let archive = dir.path().join("x.tar");
    let from = Reference::Archive(archive.clone());
    for (tags, fits) in [
        (["a:latest", "b:latest"], true),
        (["b:latest", "a:latest"], false),
    ] {
        let saved: Vec<Value> = configs
            .iter()
            .zip(tags)
            .map(|(config, tag)| json!({"Config": member(config), "RepoTags": [tag], "Layers": []}))
            .collect();
        fs::write(layout.dir.join("manifest.json"), json!(saved).to_string()).unwrap();
        oci_archive(&layout, &archive);
        let store = Images::open(dir.path().join(format!("store-{fits}"))).unwrap();
        match store.load(&from, &ImportOptions::default(), &mut ()) {
            Ok(images) => assert!(fits && images.len() == 2),
            Err(error) => {
                assert!(!fits && error.kind() == Kind::Corrupt, "{error}");
                layout::assert_empty(store.path());
            }
        }
        // An import takes no name from either.
        let select = ImportOptions {
            select: Some("b".to_owned()),
            ..named("mine")
        };
        assert_eq!(file(&store.import(&from, &select, &mut ()).unwrap()), "b");
    }
}
