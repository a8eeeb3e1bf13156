// SPDX-License-Identifier: MIT OR Apache-2.0
//! A directory to unpack into, beside a victim that no archive may reach.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use tare::image::layer::{Bounds, Ids, Options, OverlayXattr, Unpacked, Whiteouts, unpack};
use tare_oracle::Victim;
use tare_oracle::tree::{Field, Manifest, manifest};

use crate::tar::Tar;

/// The target of each test.
pub(crate) struct Cage {
    temp: tempfile::TempDir,
    pub(crate) victim: Victim,
}

impl Cage {
    pub(crate) fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let victim = Victim::new(temp.path());
        fs::create_dir(temp.path().join("root")).unwrap();
        Self { temp, victim }
    }

    /// A layer alone.
    #[track_caller]
    pub(crate) fn of(tar: Tar) -> Self {
        let cage = Self::new();
        cage.unpack(&tar.end()).unwrap();
        cage
    }

    /// Layers over each other.
    #[track_caller]
    pub(crate) fn of_layers(layers: &[&str]) -> Self {
        let cage = Self::new();
        for words in layers {
            cage.apply(&Tar::of(words).end()).unwrap();
        }
        cage
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.temp.path().join("root")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// Unpacks `blob` and checks that nothing beside the root changed.
    #[track_caller]
    pub(crate) fn unpack_with(&self, blob: &[u8], options: &Options) -> tare::Result<Unpacked> {
        let result = unpack_into(&self.root(), blob, options);
        self.victim.assert_intact();
        let beside: Vec<_> = fs::read_dir(self.temp.path()).unwrap().collect();
        assert_eq!(beside.len(), 2, "something was made beside the root");
        result
    }

    #[track_caller]
    pub(crate) fn unpack(&self, blob: &[u8]) -> tare::Result<Unpacked> {
        self.unpack_with(blob, &options())
    }

    /// Unpacks onto existing files, whiteouts carried out.
    #[track_caller]
    pub(crate) fn apply(&self, blob: &[u8]) -> tare::Result<Unpacked> {
        self.unpack_with(blob, &applying())
    }

    /// Unpacks a layer that must be refused for `reason`; returns the message.
    #[track_caller]
    pub(crate) fn refused(&self, blob: &[u8], reason: &str) -> String {
        let Err(error) = self.unpack(blob) else {
            panic!("{reason}: unpacked");
        };
        let message = error.to_string();
        assert!(message.contains(reason), "{reason}: {message}");
        message
    }

    pub(crate) fn tree(&self) -> Manifest {
        manifest(self.root()).unwrap()
    }

    /// The names below the root, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        let tree = self.tree();
        let names = tree.entries().keys().map(|path| path.display().to_string());
        names.filter(|name| !name.is_empty()).collect()
    }

    pub(crate) fn field(&self, name: &str, field: Field) -> Option<String> {
        self.tree().field(Path::new(name), field).map(str::to_owned)
    }

    #[track_caller]
    pub(crate) fn assert_field(&self, name: &str, field: Field, expected: &str) {
        let found = self.field(name, field);
        assert_eq!(found.as_deref(), Some(expected), "{name:?}");
    }

    #[track_caller]
    pub(crate) fn assert_content(&self, name: &str, expected: &str) {
        assert_eq!(fs::read_to_string(self.path(name)).unwrap(), expected);
    }

    #[track_caller]
    pub(crate) fn assert_names(&self, expected: &str) {
        assert_eq!(self.names().join(" "), expected);
    }

    /// The number of hard links.
    pub(crate) fn links(&self, name: &str) -> u64 {
        fs::symlink_metadata(self.path(name)).unwrap().nlink()
    }
}

pub(crate) fn unpack_into(root: &Path, blob: &[u8], options: &Options) -> tare::Result<Unpacked> {
    let root = File::open(root).unwrap();
    unpack(blob, root.as_fd(), options, &mut |_| ())
}

pub(crate) fn options() -> Options {
    let root = geteuid().is_root();
    Options {
        ids: if root { Ids::Root } else { Ids::Single },
        whiteouts: Whiteouts::Convert,
        overlay_xattr: match root {
            true => OverlayXattr::Trusted,
            false => OverlayXattr::User,
        },
        bounds: Bounds::default(),
    }
}

pub(crate) fn applying() -> Options {
    Options {
        whiteouts: Whiteouts::Apply,
        ..options()
    }
}
