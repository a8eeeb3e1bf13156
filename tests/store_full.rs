// SPDX-License-Identifier: MIT OR Apache-2.0
//! A store whose disk is full: removing an image is the way out, so a removal
//! must not need room.
#![forbid(unsafe_code)]

mod layout;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use layout::{Codec, Layout, assert_empty, compressed, docker_archive, tar_of};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use serde_json::json;
use tare::Kind;
use tare::error::Error;
use tare::image::{Images, ImportOptions, Reference, UnpackOptions, unpack};
use tare_oracle::need;
use tempfile::{TempDir, tempdir};

/// Files that fill the bytes, or the inodes, of a file system.
#[derive(Clone, Copy)]
enum Filled {
    Bytes,
    Inodes,
}

/// The room of a small tmpfs.
const SMALL: &str = "size=4m,nr_inodes=400";

/// A small file system, mounted for this thread alone.
struct Disk {
    dir: TempDir,
}

impl Disk {
    fn new(kind: &str) -> Self {
        let dir = tempdir().unwrap();
        let none: Option<&str> = None;
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        let disk = Self { dir };
        let at = disk.at();
        fs::create_dir(&at).unwrap();
        match kind {
            "tmpfs" => {
                mount(Some("x"), &at, Some(kind), MsFlags::empty(), Some(SMALL)).unwrap();
            }
            _ => {
                let image = disk.dir.path().join("image");
                File::create(&image).unwrap().set_len(24 << 20).unwrap();
                let made = Command::new("mkfs.ext4")
                    .args(["-qF", "-m0", "-N400"])
                    .arg(&image)
                    .status();
                assert!(made.unwrap().success());
                let mounted = Command::new("mount")
                    .args(["-o", "loop"])
                    .arg(&image)
                    .arg(&at)
                    .status();
                assert!(mounted.unwrap().success());
            }
        }
        disk
    }

    fn at(&self) -> PathBuf {
        self.dir.path().join("disk")
    }

    /// Has more room, or less, on a tmpfs.
    fn resize(&self, size: &str) {
        let none: Option<&str> = None;
        mount(none, &self.at(), none, MsFlags::MS_REMOUNT, Some(size)).unwrap();
    }

    /// Leaves not a byte, or not an inode.
    fn fill(&self, filled: Filled) {
        let dir = self.at().join("full");
        fs::create_dir(&dir).unwrap();
        match filled {
            Filled::Bytes => {
                let mut file = File::create(dir.join("bytes")).unwrap();
                for len in [1 << 20, 4096, 512, 1] {
                    while file.write_all(&vec![1; len]).is_ok() {}
                    let _ = file.sync_all();
                }
                // A directory that has to grow finds no block either.
                (0..10_000).all(|n| File::create(dir.join(n.to_string())).is_ok());
            }
            Filled::Inodes => {
                assert!(!(0..10_000).all(|n| File::create(dir.join(n.to_string())).is_ok()))
            }
        }
        let more = self.at().join("more");
        let written = File::create(&more).and_then(|mut file| file.write_all(b"x"));
        assert!(written.is_err(), "it is not full");
        let _ = fs::remove_file(more);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The namespace goes with the thread.
        let _ = umount2(&self.at(), MntFlags::MNT_DETACH);
    }
}

fn import(store: &Images, from: &Path, names: &[&str], byte: u8) {
    let mut layout = Layout::new(from);
    let noise: Vec<u8> = (0..100_000u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8 ^ byte)
        .collect();
    let image = layout.image(&[tar_of(&[("file", &noise)])], Codec::Gzip, json!({}));
    let from = layout.add(image, None).complete();
    let options = ImportOptions {
        names: names.iter().map(|name| name.parse().unwrap()).collect(),
        ..Default::default()
    };
    store.import(&from, &options, &mut ()).unwrap();
}

fn removes_where_nothing_is_left(kind: &str, filled: Filled) {
    let disk = Disk::new(kind);
    let from = [(), ()].map(|()| tempdir().unwrap());
    let at = disk.at().join("store");
    let store = Images::open(&at).unwrap();
    import(&store, from[0].path(), &["one", "uno"], 1);
    import(&store, from[1].path(), &["two"], 2);
    disk.fill(filled);
    drop(store);
    let store = Images::open(&at).unwrap();
    // First a name alone, which frees nothing.
    let removed = store.remove(&"uno".parse().unwrap()).unwrap();
    assert_eq!((removed.blobs, removed.layers), (0, 0));
    let removed = store.remove(&"one".parse().unwrap()).unwrap();
    assert_eq!((removed.blobs, removed.layers, removed.in_use), (3, 1, 0));
    assert!(store.image(&"one".parse().unwrap()).is_err());
    store.image(&"two".parse().unwrap()).unwrap();
    assert_eq!(store.list().unwrap().len(), 1);
    let report = store.check().unwrap();
    assert!(report.problems.is_empty(), "{report:?}");
    // What was freed is free.
    fs::write(disk.at().join("more"), vec![1; 100_000]).unwrap();
}

/// Noise, which takes as much room compressed.
fn noise(len: u32) -> Vec<u8> {
    let bytes = (0..len).map(|n| n.wrapping_mul(2_654_435_761).rotate_left(n % 31) as u8);
    bytes.collect()
}

#[test]
fn error_of_a_full_disk_names_what_is_full() {
    need!(root);
    let disk = Disk::new("tmpfs");
    let from = tempdir().unwrap();
    let plain = from.path().join("plain.tar");
    docker_archive(&plain, &[tar_of(&[("file", &noise(8 << 20))])], &["big"]);
    let packed = from.path().join("packed.tar.gz");
    fs::write(&packed, compressed(&fs::read(&plain).unwrap(), Codec::Gzip)).unwrap();
    let (small, big) = (from.path().join("store"), disk.at().join("store"));
    let (small, big) = (Images::open(small).unwrap(), Images::open(big).unwrap());
    let options = ImportOptions::default();
    for archive in [plain, packed] {
        let archive = Reference::Archive(archive);
        let error = big.import(&archive, &options, &mut ()).unwrap_err();
        is_full(&error, big.path());
        assert_empty(big.path());
        let dir = disk.at().join("unpacked");
        let unpacked = || {
            let options = UnpackOptions {
                store: Some(&small),
                ..Default::default()
            };
            unpack(&archive, &dir, options, &mut ())
        };
        let error = unpacked().unwrap_err();
        is_full(&error, &dir);
        assert!(!dir.exists());
        disk.resize("size=64m,nr_inodes=4000");
        unpacked().unwrap();
        fs::remove_dir_all(&dir).unwrap();
        let image = big.import(&archive, &options, &mut ()).unwrap();
        let digest = Reference::Digest(*image.digest().unwrap());
        drop(image);
        big.remove(&digest).unwrap();
        disk.resize(SMALL);
    }
}

/// Asserts that the error is ENOSPC and that its cure names the full directory.
///
/// The subject differs: a blob and the tree that is unpacked from it fill the
/// disk in turns, and either write may fail first, of a file of the store or an
/// entry of the layer.
fn is_full(error: &Error, room: &Path) {
    assert_eq!(error.errno(), Some(libc::ENOSPC), "{error}");
    assert_eq!(error.kind(), Kind::Exhausted, "{error}");
    let cure = error.cure().unwrap_or_else(|| panic!("{error}"));
    let begin = format!("more room below {room:?}");
    assert!(cure.starts_with(&begin), "{error}");
}

#[test]
fn full_tmpfs_lets_an_image_go() {
    need!(root);
    removes_where_nothing_is_left("tmpfs", Filled::Bytes);
    removes_where_nothing_is_left("tmpfs", Filled::Inodes);
}

#[test]
fn full_ext4_lets_an_image_go() {
    need!(root, program("mkfs.ext4"));
    removes_where_nothing_is_left("ext4", Filled::Bytes);
    removes_where_nothing_is_left("ext4", Filled::Inodes);
}
