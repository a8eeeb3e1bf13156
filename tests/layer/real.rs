// SPDX-License-Identifier: MIT OR Apache-2.0
//! Real images: the same tree as umoci makes of them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tare_oracle::tree::{compare, manifest};
use tare_oracle::{image, need};

use crate::cage::{Cage, applying, unpack_into};

fn json(path: PathBuf) -> Value {
    serde_json::from_reader(File::open(path).unwrap()).unwrap()
}

fn blob(layout: &Path, descriptor: &Value) -> PathBuf {
    let digest = descriptor["digest"].as_str().unwrap();
    layout.join("blobs").join(digest.replace(':', "/"))
}

/// The blobs and diff ids of an OCI layout's only image.
pub(crate) fn layers(layout: &Path) -> Vec<(PathBuf, String)> {
    let index = json(layout.join("index.json"));
    let manifest = json(blob(layout, &index["manifests"][0]));
    let config = json(blob(layout, &manifest["config"]));
    let diff_ids = config["rootfs"]["diff_ids"].as_array().unwrap();
    let layers = manifest["layers"].as_array().unwrap();
    let pairs = layers.iter().zip(diff_ids);
    pairs
        .map(|(layer, id)| (blob(layout, layer), id.as_str().unwrap().to_owned()))
        .collect()
}

fn assert_like_umoci(name: &str) {
    let layout = image(name);
    let temp = tempfile::tempdir().unwrap();
    let bundle = temp.path().join("bundle");
    let reference = json(layout.join("index.json"));
    let tag = &reference["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"];
    let from = format!("{}:{}", layout.display(), tag.as_str().unwrap());
    let status = Command::new("umoci")
        .args(["unpack", "--image", &from])
        .arg(&bundle)
        .status()
        .unwrap();
    assert!(status.success());

    let cage = Cage::new();
    for (path, diff_id) in layers(&layout) {
        let unpacked = unpack_into(&cage.root(), &fs::read(path).unwrap(), &applying()).unwrap();
        assert_eq!(unpacked.diff_id.to_string(), diff_id);
        assert!(unpacked.notes.is_empty(), "{:?}", unpacked.notes);
    }
    let theirs = manifest(bundle.join("rootfs")).unwrap();
    let lines = compare(&theirs, &cage.tree());
    assert!(theirs.entries().len() > 10);
    assert!(
        lines.is_empty(),
        "{} lines:\n{}",
        lines.len(),
        lines.join("\n")
    );
}

#[test]
fn real_debian_equals_what_umoci_unpacks() {
    need!(root, program("umoci"), image("debian"));
    assert_like_umoci("debian");
}

#[test]
fn real_busybox_equals_what_umoci_unpacks() {
    need!(root, program("umoci"), image("busybox"));
    assert_like_umoci("busybox");
}
