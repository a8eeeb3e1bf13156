// SPDX-License-Identifier: MIT OR Apache-2.0
//! Small images made in the test: layouts and archives with any fault wanted.
#![forbid(unsafe_code)]
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tare::image::{Digest, Reference};

pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// Compression of a layer's tar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    Plain,
    Gzip,
    Zstd,
}

/// A plain tar with files, directories (names that end in `/`) and whiteouts.
pub(crate) fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        let dir = name.ends_with('/');
        header.set_entry_type(if dir {
            tar::EntryType::Directory
        } else {
            tar::EntryType::Regular
        });
        header.set_mode(if dir { 0o755 } else { 0o644 });
        header.set_mtime(1_600_000_000);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, name, *bytes).unwrap();
    }
    tar.into_inner().unwrap()
}

pub(crate) fn compressed(tar: &[u8], codec: Codec) -> Vec<u8> {
    match codec {
        Codec::Plain => tar.to_vec(),
        Codec::Gzip => {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(tar).unwrap();
            gzip.finish().unwrap()
        }
        Codec::Zstd => zstd::encode_all(tar, 1).unwrap(),
    }
}

/// An OCI image layout that grows blob by blob.
pub(crate) struct Layout {
    pub(crate) dir: PathBuf,
    pub(crate) manifests: Vec<Value>,
}

impl Layout {
    pub(crate) fn new(dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        fs::create_dir_all(dir.join("blobs/sha256")).unwrap();
        fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        Self {
            dir,
            manifests: Vec::new(),
        }
    }

    pub(crate) fn blob_path(&self, digest: &str) -> PathBuf {
        self.dir
            .join("blobs/sha256")
            .join(digest.trim_start_matches("sha256:"))
    }

    /// Adds a blob and returns its descriptor.
    pub(crate) fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = Digest::of(bytes).to_string();
        fs::write(self.blob_path(&digest), bytes).unwrap();
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    pub(crate) fn json(&self, media_type: &str, value: &Value) -> Value {
        self.blob(media_type, value.to_string().as_bytes())
    }

    /// Adds an image with these layers; its descriptor is not in the index yet.
    pub(crate) fn image(&self, layers: &[Vec<u8>], codec: Codec, run: Value) -> Value {
        let arch = if cfg!(target_arch = "aarch64") {
            "arm64"
        } else {
            "amd64"
        };
        self.image_for(layers, codec, run, arch)
    }

    pub(crate) fn image_for(
        &self,
        layers: &[Vec<u8>],
        codec: Codec,
        run: Value,
        arch: &str,
    ) -> Value {
        let diff_ids: Vec<String> = layers
            .iter()
            .map(|tar| Digest::of(tar).to_string())
            .collect();
        let config = json!({"architecture": arch, "os": "linux", "config": run,
            "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let suffix = match codec {
            Codec::Plain => "",
            Codec::Gzip => "+gzip",
            Codec::Zstd => "+zstd",
        };
        let kind = format!("application/vnd.oci.image.layer.v1.tar{suffix}");
        let layers: Vec<Value> = layers
            .iter()
            .map(|tar| self.blob(&kind, &compressed(tar, codec)))
            .collect();
        let config = self.json(CONFIG, &config);
        self.json(
            MANIFEST,
            &json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}),
        )
    }

    /// Puts a descriptor into the index, with a name if given.
    pub(crate) fn add(&mut self, mut descriptor: Value, name: Option<&str>) -> &mut Self {
        if let Some(name) = name {
            descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        }
        self.manifests.push(descriptor);
        self
    }

    pub(crate) fn complete(&self) -> Reference {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": self.manifests});
        fs::write(self.dir.join("index.json"), index.to_string()).unwrap();
        self.reference(None)
    }

    pub(crate) fn reference(&self, tag: Option<&str>) -> Reference {
        Reference::Oci {
            path: self.dir.clone(),
            tag: tag.map(str::to_owned),
        }
    }
}

/// The layers that most tests use: the second hides and changes parts of the
/// first.
pub(crate) fn two_layers() -> [Vec<u8>; 2] {
    [
        tar_of(&[
            ("etc/", b""),
            ("etc/a", b"one"),
            ("etc/b", b"one"),
            ("opt/", b""),
            ("opt/x", b"x"),
        ]),
        tar_of(&[
            ("etc/", b""),
            ("etc/.wh.a", b""),
            ("etc/b", b"two"),
            ("opt/", b""),
            ("opt/.wh..wh..opq", b""),
            ("opt/y", b"y"),
        ]),
    ]
}

/// A layout with an image of two layers.
pub(crate) fn simple(dir: impl Into<PathBuf>, codec: Codec) -> (Layout, Reference) {
    let mut layout = Layout::new(dir);
    let image = layout.image(&two_layers(), codec, json!({"Env": ["A=1"], "Cmd": ["sh"]}));
    let reference = layout.add(image, Some("latest")).complete();
    (layout, reference)
}

/// Packs a layout as an oci-archive.
pub(crate) fn oci_archive(layout: &Layout, to: &Path) {
    let mut tar = tar::Builder::new(File::create(to).unwrap());
    tar.append_dir_all(".", &layout.dir).unwrap();
    tar.finish().unwrap();
}

/// The format of `docker save` of old: a JSON file and a directory for each
/// layer.
pub(crate) fn docker_archive(to: &Path, layers: &[Vec<u8>], tags: &[&str]) {
    let diff_ids: Vec<String> = layers
        .iter()
        .map(|tar| Digest::of(tar).to_string())
        .collect();
    let config = json!({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}})
    .to_string();
    let id = format!("{}.json", Digest::of(config.as_bytes()).hex());
    let names: Vec<String> = (0..layers.len())
        .map(|n| format!("{n}/layer.tar"))
        .collect();
    let manifest = json!([{"Config": id, "RepoTags": tags, "Layers": names}]).to_string();
    let mut files: Vec<(&str, &[u8])> = vec![(&id, config.as_bytes())];
    files.extend(
        names
            .iter()
            .map(String::as_str)
            .zip(layers.iter().map(Vec::as_slice)),
    );
    files.push(("manifest.json", manifest.as_bytes()));
    fs::write(to, tar_of(&files)).unwrap();
}

/// Every file below a directory with its size, for before and after.
pub(crate) fn listing(dir: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    let mut left = vec![dir.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            match metadata.is_dir() {
                true => left.push(path),
                false => found.push((path, metadata.len())),
            }
        }
    }
    found.sort();
    found
}

/// Asserts that a store holds only its frame.
pub(crate) fn assert_empty(store: &Path) {
    for dir in ["layers", "scratch", "blobs/sha256"] {
        let left: Vec<_> = fs::read_dir(store.join(dir))
            .unwrap()
            .map(|e| e.unwrap().path())
            .collect();
        assert!(left.is_empty(), "{dir}: {left:?}");
    }
}
