// SPDX-License-Identifier: MIT OR Apache-2.0
//! An ordinary user's store: a single id, or subordinate ids set by root.
#![forbid(unsafe_code)]

mod layout;

use std::env;
use std::ffi::CStr;
use std::fs;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use layout::{Codec, Layout, assert_empty};
use serde_json::json;
use tare::Result;
use tare::image::layer::Fixup;
use tare::image::{Chown, Image, Images, Reference, Root, UnpackOptions, unpack};
use tare_oracle::again::{passes_again, this_program};
use tare_oracle::{need, ordinary_user};

/// A layer with owners, a directory that no user may enter, and a file in it.
fn layer() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |name: &str, mode: u32, owner: u64| {
        let dir = name.ends_with('/');
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(if dir {
            tar::EntryType::Directory
        } else {
            tar::EntryType::Regular
        });
        header.set_mode(mode);
        header.set_uid(owner);
        header.set_gid(owner);
        header.set_size(0);
        tar.append_data(&mut header, name, &b""[..]).unwrap();
    };
    add("closed/", 0o0, 0);
    add("closed/inside", 0o600, 33);
    add("mine", 0o644, 0);
    add("theirs", 0o4755, 33);
    tar.into_inner().unwrap()
}

#[derive(Default)]
struct Asked {
    owners: Vec<(PathBuf, u32)>,
    removed: usize,
}

/// Stands for the helper in a user namespace, and writes down what it is asked.
struct Recorder(Arc<Mutex<Asked>>);

impl Chown for Recorder {
    fn apply(&mut self, _: BorrowedFd<'_>, fixups: &[Fixup]) -> Result<()> {
        let path = |fixup: &Fixup| PathBuf::from(fixup.path.to_str().unwrap());
        let owners = fixups.iter().map(|fixup| (path(fixup), fixup.uid));
        self.0.lock().unwrap().owners.extend(owners);
        Ok(())
    }

    fn remove_tree(&mut self, _: BorrowedFd<'_>, _: &CStr) -> Result<()> {
        self.0.lock().unwrap().removed += 1;
        Ok(())
    }
}

fn only_layer(image: &Image) -> PathBuf {
    match image.root() {
        Root::Layers(layers) => layers[0].clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn store_of_an_ordinary_user_holds_and_removes_any_layer() {
    need!(user("plain"));
    let user = ordinary_user(false);
    let dir = user.tempdir();
    let mut layout = Layout::new(dir.path().join("oci"));
    let image = layout.image(&[layer()], Codec::Gzip, json!({}));
    layout.add(image, None).complete();
    let mut command = user.command(this_program());
    let said = passes_again(command.env("TARE_TEST_DIR", dir.path()), "ordinary_process");
    assert!(dir.path().join("done").exists(), "{said}");
}

#[test]
#[ignore = "not a test: what the ordinary user does"]
fn ordinary_process() {
    let Some(dir) = env::var_os("TARE_TEST_DIR").map(PathBuf::from) else {
        return;
    };
    let from = Reference::Oci {
        path: dir.join("oci"),
        tag: None,
    };
    let store = Images::open(dir.join("store")).unwrap();
    let image = store.image(&from).unwrap();
    check_single(&only_layer(&image));

    let asked = Arc::new(Mutex::new(Asked::default()));
    let with_ids = store.with_chown(Box::new(Recorder(Arc::clone(&asked))));
    let other = with_ids.image(&from).unwrap();
    assert_eq!(other.digest(), image.digest());
    assert_ne!(only_layer(&other), only_layer(&image));
    let owners = asked.lock().unwrap().owners.clone();
    assert!(
        owners
            .iter()
            .any(|(path, uid)| path.ends_with("closed/inside") && *uid == 33),
        "{owners:?}"
    );

    let root = dir.join("root");
    unpack(&from, &root, UnpackOptions::default(), &mut ()).unwrap();
    check_single(&root);

    let digest = Reference::Digest(*image.digest().unwrap());
    drop((image, other));
    assert_eq!(store.remove(&digest).unwrap().layers, 2);
    assert_empty(store.path());
    fs::write(dir.join("done"), b"").unwrap();
}

fn check_single(root: &Path) {
    let us = nix::unistd::geteuid().as_raw();
    for (name, mode) in [("closed", 0o0), ("mine", 0o644), ("theirs", 0o4755)] {
        let metadata = fs::symlink_metadata(root.join(name)).unwrap();
        assert_eq!(metadata.uid(), us, "{name}");
        // No other user has the id, so a directory of mode 0 may stay open to
        // its owner.
        let found = metadata.permissions().mode() & 0o7777;
        assert!(
            found == mode || name == "closed" && found & 0o077 == 0,
            "{name}: {found:o}"
        );
    }
}
