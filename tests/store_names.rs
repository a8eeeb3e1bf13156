// SPDX-License-Identifier: MIT OR Apache-2.0
//! Names of images: how they are spelled, and what archives and layouts give.
#![forbid(unsafe_code)]

mod layout;

use std::fs;

use layout::{Codec, simple};
use tare::Kind;
use tare::image::{ImportOptions, Reference, Store};
use tempfile::tempdir;

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

fn named(name: &str) -> ImportOptions {
    ImportOptions {
        names: vec![reference(name)],
        ..Default::default()
    }
}

fn names(store: &Store) -> Vec<String> {
    let list = store.list().unwrap();
    let mut names: Vec<String> = list.into_iter().filter_map(|image| image.name).collect();
    names.sort();
    names
}

#[test]
fn name_of_docker_s_registry_is_found_in_each_spelling() {
    let dir = tempdir().unwrap();
    let store = Store::open(dir.path().join("store")).unwrap();
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
    let store = Store::open(&path).unwrap();
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
