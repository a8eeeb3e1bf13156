// SPDX-License-Identifier: MIT OR Apache-2.0
//! A store that lost a part, has wrong bytes, or is of another version: each
//! cure that an error names is done, and cures.
#![forbid(unsafe_code)]

#[path = "harness/images.rs"]
mod images;
mod layout;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use images::{count, named};
use layout::{Codec, simple};
use serde_json::{Value, json};
use tare::Kind;
use tare::error::Error;
use tare::image::{Image, Images, Reference};
use tempfile::{TempDir, tempdir};

const REPAIR: &str = "tare store check --repair";
const REPAIR_AND_IMPORT: &str = "tare store check --repair, then import the image again";
const IMPORT: &str = "import the image again";

/// A store with the image `app`, and where that came from.
struct Ground {
    _dir: TempDir,
    path: PathBuf,
    from: Reference,
}

impl Ground {
    fn new() -> Self {
        let dir = tempdir().unwrap();
        let (_, from) = simple(dir.path().join("oci"), Codec::Gzip);
        let path = dir.path().join("store");
        let ground = Self {
            _dir: dir,
            path,
            from,
        };
        ground.import();
        ground
    }

    fn store(&self) -> Images {
        Images::open(&self.path).unwrap()
    }

    fn app(&self) -> tare::Result<Image> {
        self.store().image(&"app".parse().unwrap())
    }

    fn import(&self) {
        let options = named("app");
        self.store()
            .import(&self.from, &options, &mut ())
            .expect("the source is sound");
    }

    /// Follows the error's cure.
    fn cure(&self, error: &Error) {
        let cure = error.cure().unwrap_or_else(|| panic!("{error}"));
        match cure {
            IMPORT => self.import(),
            REPAIR => self.repair(),
            REPAIR_AND_IMPORT => {
                self.repair();
                self.import();
            }
            other => match other.strip_prefix("rm ") {
                Some(file) => fs::remove_file(file).unwrap(),
                None => panic!("{error}"),
            },
        }
    }

    fn repair(&self) {
        let store = self.store();
        let report = store.check().unwrap();
        assert_ne!(report.problems, []);
        store.repair(&report).unwrap();
    }

    fn is_sound(&self) {
        let image = self.app().unwrap();
        assert_eq!(image.layers().len(), 2);
        let report = self.store().check().unwrap();
        assert_eq!((report.problems, report.images), (vec![], 1));
    }

    fn forget_layers(&self) {
        let layers = self.path.join("layers");
        fs::remove_dir_all(&layers).unwrap();
        fs::create_dir(&layers).unwrap();
    }
}

#[test]
fn store_without_one_of_its_parts_is_mended_by_what_the_error_says() {
    for part in [
        "index.json",
        "oci-layout",
        "store.json",
        "blobs",
        "blobs/sha256",
        "layers",
        "locks",
        "scratch",
    ] {
        let ground = Ground::new();
        let lost = ground.path.join(part);
        match lost.is_dir() {
            true => fs::remove_dir_all(lost).unwrap(),
            false => fs::remove_file(lost).unwrap(),
        }
        match (part, ground.app()) {
            ("index.json", Err(e)) => {
                assert_eq!(e.cure(), Some(REPAIR), "{e}");
                ground.cure(&e);
                // The image is there, without its name.
                let listed = ground.store().list().unwrap();
                assert_eq!((listed.len(), &listed[0].name), (1, &None));
                assert_eq!(listed[0].damage, None);
                let digest = Reference::Digest(listed[0].digest);
                ground.store().image(&digest).unwrap();
                ground.import();
            }
            ("blobs" | "blobs/sha256", Err(e)) => {
                assert_eq!(e.cure(), Some(IMPORT), "{e}");
                ground.cure(&e);
            }
            ("index.json" | "blobs" | "blobs/sha256", Ok(_)) => panic!("{part}"),
            (_, image) => drop(image.unwrap()),
        }
        ground.store().gc().unwrap();
        if part == "oci-layout" {
            let store = ground.store();
            store.repair(&store.check().unwrap()).unwrap();
            assert!(ground.path.join(part).exists());
        }
        ground.is_sound();
    }
}

#[test]
fn index_that_is_cut_is_made_anew_and_kept() {
    for cut in ["", "{", r#"{"schemaVersion":1,"manifests":[]}"#] {
        let ground = Ground::new();
        fs::write(ground.path.join("index.json"), cut).unwrap();
        let store = ground.store();
        for error in [
            ground.app().unwrap_err(),
            store.list().unwrap_err(),
            store.gc().unwrap_err(),
        ] {
            assert_eq!(error.cure(), Some(REPAIR), "{error}");
        }
        let repaired = store.repair(&store.check().unwrap()).unwrap();
        assert_eq!(repaired.indexed, Some(1));
        let kept = fs::read_to_string(ground.path.join("index.json.damaged"));
        assert_eq!(kept.unwrap(), cut);
        ground.import();
        ground.is_sound();
    }
}

#[test]
fn marker_that_is_cut_is_mended_by_what_the_error_says() {
    let ground = Ground::new();
    fs::write(ground.path.join("store.json"), "{").unwrap();
    let error = Images::open(&ground.path).unwrap_err();
    ground.cure(&error);
    ground.is_sound();
}

/// The manifest, the config and the first layer of the image.
fn blobs(ground: &Ground) -> Vec<PathBuf> {
    let image = ground.app().unwrap();
    let path = |hex: String| ground.path.join("blobs/sha256").join(hex);
    let manifest = path(image.digest().unwrap().hex());
    let read: Value = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    let named = |entry: &Value| {
        let digest = entry["digest"].as_str().unwrap();
        path(digest.trim_start_matches("sha256:").to_owned())
    };
    let (config, layer) = (named(&read["config"]), named(&read["layers"][0]));
    vec![manifest, config, layer]
}

fn spoil(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes[20] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// A store with wrong bytes in a blob, whose layers may be gone.
fn spoiled(blob: usize, unpacked: bool) -> Ground {
    let ground = Ground::new();
    spoil(&blobs(&ground)[blob]);
    if !unpacked {
        ground.forget_layers();
    }
    ground
}

#[test]
fn blob_with_wrong_bytes_of_the_right_size_is_mended_by_what_the_error_says() {
    for (n, unpacked) in [(0, true), (1, true), (0, false), (1, false), (2, false)] {
        let ground = spoiled(n, unpacked);
        let error = ground.app().unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "{error}");
        assert_eq!(error.cure(), Some(REPAIR_AND_IMPORT), "{error}");
        ground.cure(&error);
        ground.is_sound();
        // An import alone mends as much.
        let ground = spoiled(n, unpacked);
        ground.import();
        ground.is_sound();
    }
}

#[test]
fn import_reads_no_layer_that_is_unpacked() {
    let ground = Ground::new();
    let layer = &blobs(&ground)[2];
    spoil(layer);
    ground.import();
    let problems = ground.store().check().unwrap().problems;
    let name = layer.file_name().unwrap().to_str().unwrap();
    assert!(
        problems.len() == 1 && problems[0].subject.contains(name),
        "{problems:?}"
    );
    ground.repair();
    assert!(!layer.exists());
    ground.import();
    ground.is_sound();
}

#[test]
fn repair_keeps_what_was_brought_since_the_check() {
    let ground = Ground::new();
    let blobs = blobs(&ground);
    spoil(&blobs[0]);
    let store = ground.store();
    let report = store.check().unwrap();
    assert_ne!(report.problems, []);
    ground.import();
    assert_eq!(store.repair(&report).unwrap().removed, 0);
    ground.is_sound();
}

#[test]
fn new_file_system_of_ext4_may_be_a_store() {
    let dir = tempdir().unwrap();
    fs::create_dir(dir.path().join("lost+found")).unwrap();
    let store = Images::open(dir.path()).unwrap();
    assert_eq!(store.check().unwrap().problems, []);
}

fn version(path: &Path) -> Value {
    let json = fs::read(path.join("store.json")).unwrap();
    serde_json::from_slice::<Value>(&json).unwrap()["version"].clone()
}

/// Makes the store one that version 1 left.
fn age(path: &Path) {
    for layer in fs::read_dir(path.join("layers")).unwrap() {
        fs::remove_file(layer.unwrap().path().join("directories")).unwrap();
    }
    fs::write(path.join("store.json"), r#"{"version":1}"#).unwrap();
}

fn listings(path: &Path) -> usize {
    let layers = fs::read_dir(path.join("layers")).unwrap();
    layers
        .filter(|layer| layer.as_ref().unwrap().path().join("directories").exists())
        .count()
}

#[test]
fn store_of_an_older_version_is_upgraded_once_its_layers_are_free() {
    let ground = Ground::new();
    age(&ground.path);
    let held = ground.app().unwrap();
    let old = tare::Store::open(&ground.path).unwrap();
    // In use: as it was.
    assert_eq!(
        (version(&ground.path), listings(&ground.path)),
        (json!(1), 0)
    );
    drop((held, old));
    drop(tare::Store::open(&ground.path).unwrap());
    assert_eq!(version(&ground.path), json!(2));
    ground.is_sound();
    assert_eq!(listings(&ground.path), 2);
    fs::write(ground.path.join("store.json"), r#"{"version":3}"#).unwrap();
    let error = Images::open(&ground.path).unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
    assert!(error.to_string().contains("version 3"), "{error}");
}

#[test]
fn store_that_lost_its_marker_may_have_layers_of_an_older_version() {
    let ground = Ground::new();
    age(&ground.path);
    fs::remove_file(ground.path.join("store.json")).unwrap();
    drop(tare::Store::open(&ground.path).unwrap());
    assert_eq!(version(&ground.path), json!(2));
    ground.is_sound();
    assert_eq!(listings(&ground.path), 2);
}

#[test]
fn entry_of_another_tool_is_kept_with_what_it_leads_to() {
    let ground = Ground::new();
    let path = ground.path.join("index.json");
    let bytes = b"of another tool";
    let digest = tare::image::Digest::of(bytes);
    let blob = ground.path.join("blobs/sha256").join(digest.hex());
    fs::write(&blob, bytes).unwrap();
    let strange = json!({"mediaType": "x/y", "digest": digest.to_string(), "size": "none"});
    let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let entries = index["manifests"].as_array_mut().unwrap();
    entries.insert(0, strange.clone());
    fs::write(&path, index.to_string()).unwrap();
    ground.is_sound();
    let store = ground.store();
    let app: Reference = "app".parse().unwrap();
    store.tag(&app, &"again".parse().unwrap()).unwrap();
    store.remove(&app).unwrap();
    store.gc().unwrap();
    let index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert!(index["manifests"].as_array().unwrap().contains(&strange));
    assert!(blob.exists());
}

#[test]
fn scratch_directory_is_made_while_others_sweep() {
    // In memory, where nothing waits for a disk.
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let store = Images::open(dir.path()).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    store.recover().unwrap();
                }
            });
        }
        let made = (0..3000).map(|_| store.scratch().map(drop));
        let made = made.collect::<tare::Result<()>>();
        done.store(true, Ordering::Relaxed);
        made.unwrap();
    });
    assert_eq!(count(dir.path().join("scratch")), 0);
}
