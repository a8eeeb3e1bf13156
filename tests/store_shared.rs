// SPDX-License-Identifier: MIT OR Apache-2.0
//! A store that many processes use, that its users are killed in, and that is
//! not theirs to use.
#![forbid(unsafe_code)]

#[path = "harness/images.rs"]
mod images;
mod layout;

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use images::{count, empty_store, named};
use layout::{Codec, Layout, assert_empty, listing, simple, tar_of};
use serde_json::json;
use tare::Kind;
use tare::image::{Digest, Images, Progress, Reference, UnpackOptions, unpack};
use tare_oracle::again::{only, this_program};
use tempfile::tempdir;

/// Runs the import of `from` into `store` in a process of its own.
fn importer(store: &Path, from: &Path) -> Child {
    only(&mut Command::new(this_program()), "importer_process")
        .env("TARE_TEST_STORE", store)
        .env("TARE_TEST_FROM", from)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
#[ignore = "not a test: the other end of `importer`"]
fn importer_process() {
    let (Some(store), Some(from)) = (
        env::var_os("TARE_TEST_STORE"),
        env::var_os("TARE_TEST_FROM"),
    ) else {
        return;
    };
    let store = Images::open(Path::new(&store)).unwrap();
    let options = named("app");
    let from = Reference::Oci {
        path: from.into(),
        tag: None,
    };
    store.import(&from, &options, &mut ()).unwrap();
}

/// An image whose import takes some tens of milliseconds.
fn slow(dir: &Path) -> Layout {
    let mut layout = Layout::new(dir);
    let noise: Vec<u8> = (0..2_000_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    let layers: Vec<Vec<u8>> = (0..3_usize)
        .map(|n| {
            let names: Vec<String> = (0..300).map(|f| format!("l{n}/f{f}")).collect();
            let chunk = |f: usize| &noise[(n * 300 + f) * 8000..][..8000];
            let files: Vec<(&str, &[u8])> = names
                .iter()
                .enumerate()
                .map(|(f, name)| (name.as_str(), chunk(f)))
                .collect();
            tar_of(&files)
        })
        .collect();
    let image = layout.image(&layers, Codec::Gzip, json!({}));
    layout.add(image, None).complete();
    layout
}

#[test]
fn eight_processes_importing_at_once_end_with_one_copy() {
    let dir = tempdir().unwrap();
    let layout = slow(&dir.path().join("oci"));
    let path = dir.path().join("store");
    for round in 0..2 {
        let importers: Vec<Child> = (0..8).map(|_| importer(&path, &layout.dir)).collect();
        for mut importer in importers {
            assert!(importer.wait().unwrap().success(), "round {round}");
        }
        let store = Images::open(&path).unwrap();
        assert_eq!(store.list().unwrap().len(), 1);
        assert_eq!(count(path.join("layers")), 3);
        assert_eq!(count(path.join("scratch")), 0);
        assert_eq!(store.check().unwrap().problems, []);
        store.remove(&"app".parse().unwrap()).unwrap();
        assert_empty(&path);
    }
}

#[test]
fn import_killed_at_any_moment_is_invisible_and_swept() {
    let dir = tempdir().unwrap();
    let layout = slow(&dir.path().join("oci"));
    let path = dir.path().join("store");
    let (mut cut, mut whole) = (0, 0);
    for n in 0..16 {
        let mut importer = importer(&path, &layout.dir);
        thread::sleep(Duration::from_millis(2 + n * 12));
        importer.kill().unwrap();
        importer.wait().unwrap();
        let store = Images::open(&path).unwrap();
        assert_eq!(count(path.join("scratch")), 0, "after {n}");
        assert_eq!(store.check().unwrap().problems, [], "after {n}");
        match store.list().unwrap().len() {
            0 => cut += 1,
            _ => whole += 1,
        }
        // What became visible without a name is whole, and goes with the next
        // collection.
        store.image(&layout.reference(None)).unwrap();
        let digest = store.list().unwrap()[0].digest;
        store.remove(&Reference::Digest(digest)).unwrap();
        assert_empty(&path);
        assert_eq!(count(path.join("locks")), 1);
    }
    assert!(cut > 0, "no import was cut short, {whole} were whole");
}

#[test]
fn scratch_of_the_living_is_kept_and_that_of_the_dead_swept() {
    let (_dir, store) = empty_store();
    let scratch = store.scratch().unwrap();
    fs::write(scratch.path().join("x"), b"x").unwrap();
    // Left by a process that is gone: with a lock file, without, and a lock
    // alone.
    let left = store.path().join("scratch");
    for name in ["boot.dead", "boot.bare"] {
        fs::create_dir_all(left.join(name).join("a/b")).unwrap();
        fs::set_permissions(left.join(name).join("a"), fs::Permissions::from_mode(0o0)).unwrap();
    }
    fs::write(left.join("boot.dead.lock"), b"").unwrap();
    fs::write(left.join("boot.alone.lock"), b"1").unwrap();
    let recovered = store.recover().unwrap();
    assert_eq!(
        (recovered.removed, recovered.in_use, recovered.left),
        (2, 1, 0)
    );
    assert!(scratch.path().join("x").exists());
    assert_eq!(listing(&left).len(), 2);
    drop(scratch);
    assert_eq!(count(&left), 0);
}

#[test]
fn image_opened_again_is_found_without_its_documents_and_held() {
    let (dir, store) = empty_store();
    let (_, from) = simple(dir.path().join("oci"), Codec::Plain);
    let name: Reference = "app".parse().unwrap();
    let options = named("app");
    let digest = *store
        .import(&from, &options, &mut ())
        .unwrap()
        .digest()
        .unwrap();
    let first = store.image(&name).unwrap();
    fs::write(store.path().join("blobs/sha256").join(digest.hex()), "no").unwrap();
    let again = store.image(&name).unwrap();
    assert_eq!(
        (again.digest(), again.root(), again.reference()),
        (Some(&digest), first.root(), &name)
    );
    // Another process, without a cache.
    let other = Images::open(store.path()).unwrap();
    assert_eq!(other.image(&name).unwrap_err().kind(), Kind::Corrupt);
    // Either of the two holds the layers; a cache does not.
    drop(first);
    assert_eq!(other.remove(&name).unwrap().in_use, 2);
    drop(again);
    assert_eq!(other.gc().unwrap().layers, 2);
    assert_eq!(store.image(&name).unwrap_err().kind(), Kind::NotFound);
    assert_empty(store.path());
}

#[test]
fn image_changed_since_it_was_opened_is_looked_up() {
    let (dir, store) = empty_store();
    let other = Images::open(store.path()).unwrap();
    let name: Reference = "app".parse().unwrap();
    let options = named("app");
    let (_, from) = simple(dir.path().join("1"), Codec::Plain);
    let old = *other
        .import(&from, &options, &mut ())
        .unwrap()
        .digest()
        .unwrap();
    assert_eq!(store.image(&name).unwrap().digest(), Some(&old));
    // Without its layers: they are unpacked again.
    let layers = store.path().join("layers");
    fs::remove_dir_all(&layers).unwrap();
    fs::create_dir(&layers).unwrap();
    store.image(&name).unwrap();
    assert_eq!(count(&layers), 2);
    // By another's name.
    let mut layout = Layout::new(dir.path().join("2"));
    let image = layout.image(&[tar_of(&[("x", b"")])], Codec::Plain, json!({}));
    let from = layout.add(image, None).complete();
    let new = *other
        .import(&from, &options, &mut ())
        .unwrap()
        .digest()
        .unwrap();
    assert_ne!(old, new);
    assert_eq!(store.image(&name).unwrap().digest(), Some(&new));
    assert_eq!(
        store.image(&Reference::Digest(old)).unwrap().digest(),
        Some(&old)
    );
}

/// Removes an image as soon as work on it reports or asks anything.
struct Remover<'a> {
    store: &'a Images,
    name: Reference,
    removed: bool,
}

impl Remover<'_> {
    fn remove(&mut self) {
        if !std::mem::replace(&mut self.removed, true) {
            self.store.remove(&self.name).unwrap();
        }
    }
}

impl Progress for Remover<'_> {
    fn layer(&mut self, _: usize, _: usize, _: &Digest, _: u64, _: u64) {
        self.remove();
    }

    fn keep_going(&mut self) -> bool {
        self.remove();
        true
    }
}

#[test]
fn unpack_of_an_image_that_is_removed_meanwhile_is_whole() {
    let (dir, store) = empty_store();
    let (_layout, from) = simple(dir.path().join("layout"), Codec::Gzip);
    let name: Reference = "app".parse().unwrap();
    let options = named("app");
    store.import(&from, &options, &mut ()).unwrap();
    let unpack_to = |to: &Path, progress: &mut dyn Progress| {
        let options = UnpackOptions {
            store: Some(&store),
            ..UnpackOptions::default()
        };
        unpack(&name, to, options, progress)
    };
    let (whole, beside) = (dir.path().join("whole"), dir.path().join("beside"));
    unpack_to(&whole, &mut ()).unwrap();
    let mut remover = Remover {
        store: &store,
        name: name.clone(),
        removed: false,
    };
    unpack_to(&beside, &mut remover).unwrap();
    assert!(remover.removed);
    let below = |dir: &Path| -> Vec<_> {
        let all = listing(dir).into_iter();
        all.map(|(path, size)| (path.strip_prefix(dir).unwrap().to_owned(), size))
            .collect()
    };
    assert_eq!(below(&beside), below(&whole));
    assert_eq!(store.list().unwrap(), []);
}
