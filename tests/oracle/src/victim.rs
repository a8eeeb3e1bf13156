// SPDX-License-Identifier: MIT OR Apache-2.0
//! A tree that an attack would reach: it must stay as it is, and its marker
//! must be readable nowhere.
#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::stat::Mode;
use rustix::fs::{XattrFlags, setxattr};

use crate::tree::{self, Manifest};

/// A directory `victim` beside a test's target, as it was when it was made.
#[derive(Debug)]
pub struct Victim {
    path: PathBuf,
    marker: String,
    before: Manifest,
}

impl Victim {
    /// Makes `dir/victim`: files, directories, a setuid file, a fifo,
    /// symlinks, hard links, extended attributes where the file system takes
    /// them, and [`Victim::marker`] in every file.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn new(dir: impl AsRef<Path>) -> Self {
        let path = dir.as_ref().join("victim");
        let marker = unique_marker();
        fill(&path, &marker).expect("make the victim tree");
        let before = tree::manifest(&path).expect("list the victim tree");
        Self {
            path,
            marker,
            before,
        }
    }

    /// The tree's root.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Text that is in the victim's files and nowhere else.
    pub fn marker(&self) -> &str {
        &self.marker
    }

    /// The changes since its making, a line each.
    pub fn diff(&self) -> Vec<String> {
        match tree::manifest(&self.path) {
            Ok(after) => tree::compare(&self.before, &after),
            Err(e) => vec![format!("list the victim tree: {e}")],
        }
    }

    /// Fails the test when the tree changed in any way.
    ///
    /// # Panics
    /// Listing the differences.
    #[track_caller]
    pub fn assert_intact(&self) {
        let lines = self.diff();
        assert!(lines.is_empty(), "victim changed:\n{}", lines.join("\n"));
    }

    /// Fails the test when `seen`, anything an attacker got to read, has the
    /// marker.
    ///
    /// # Panics
    /// When it has.
    #[track_caller]
    pub fn assert_unread(&self, seen: impl AsRef<[u8]>) {
        let marker = self.marker.as_bytes();
        let found = seen.as_ref().windows(marker.len()).any(|w| w == marker);
        assert!(!found, "the victim's marker was read");
    }

    /// Paths below `root`, names and symlink targets included, that hold the
    /// marker: where an escape would have left it.
    ///
    /// # Panics
    /// When a file cannot be read.
    pub fn marker_below(&self, root: impl AsRef<Path>) -> Vec<PathBuf> {
        let mut found = Vec::new();
        search(root.as_ref(), self.marker.as_bytes(), &mut found).expect("search for the marker");
        found
    }
}

fn unique_marker() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_nanos());
    let nth = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("victim-{}-{nth}-{now:x}", std::process::id())
}

fn fill(path: &Path, marker: &str) -> io::Result<()> {
    let at = |name: &str| path.join(name);
    fs::create_dir(path)?;
    fs::create_dir(at("dir"))?;
    fs::create_dir(at("dir/empty"))?;
    for name in [
        "file", "dir/file", "setuid", "secret", "passwd", "ptmx", "null",
    ] {
        fs::write(at(name), format!("{marker}\n"))?;
    }
    fs::write(at(marker), marker)?;
    fs::hard_link(at("file"), at("dir/hard"))?;
    symlink("file", at("link"))?;
    symlink("dir", at("dirlink"))?;
    nix::unistd::mkfifo(&at("fifo"), Mode::from_bits_truncate(0o640))?;
    fs::set_permissions(at("setuid"), fs::Permissions::from_mode(0o4755))?;
    fs::set_permissions(at("secret"), fs::Permissions::from_mode(0o600))?;
    fs::set_permissions(at("dir"), fs::Permissions::from_mode(0o2775))?;
    match setxattr(
        at("file"),
        "user.victim",
        marker.as_bytes(),
        XattrFlags::empty(),
    ) {
        Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

fn search(path: &Path, marker: &[u8], found: &mut Vec<PathBuf>) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt as _;
    let has = |bytes: &[u8]| bytes.windows(marker.len()).any(|w| w == marker);
    let kind = fs::symlink_metadata(path)?.file_type();
    let hit = if kind.is_symlink() {
        has(fs::read_link(path)?.as_os_str().as_bytes())
    } else {
        kind.is_file() && has(&fs::read(path)?)
    };
    if hit || path.file_name().is_some_and(|name| has(name.as_bytes())) {
        found.push(path.to_owned());
    }
    if kind.is_dir() {
        for entry in fs::read_dir(path)? {
            search(&entry?.path(), marker, found)?;
        }
    }
    Ok(())
}
