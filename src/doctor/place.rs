// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks the directory of the store: file system and permission.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{AccessFlags, access};

use super::Check;
use crate::error::{Error, Step};
use crate::image;
use crate::spec::ByteSize;
use crate::sys::mountinfo::Mounts;

pub(super) fn checks(store: Option<&Path>) -> Vec<Check> {
    let dir = match store {
        Some(dir) => std::path::absolute(dir)
            .map_err(|e| Error::io(Step::FindStore, format_args!("{dir:?}"), e)),
        None => image::default_path(),
    };
    match dir {
        Ok(dir) => vec![writable(&dir), kind(&dir)],
        Err(error) => vec![Check::needed("store", false).tried(Err::<(), _>(error))],
    }
}

/// Returns the directory itself, or the nearest existing parent.
fn existing(dir: &Path) -> PathBuf {
    dir.ancestors()
        .find(|path| path.is_dir())
        .unwrap_or(Path::new("/"))
        .to_path_buf()
}

fn writable(dir: &Path) -> Check {
    let there = existing(dir);
    let may = access(&there, AccessFlags::W_OK | AccessFlags::X_OK);
    let said = match (may, there == dir) {
        (Ok(()), true) => "writable".to_owned(),
        (Ok(()), false) => "not made yet".to_owned(),
        (Err(e), _) => format!("{there:?}: {e:?} ({})", e.desc()),
    };
    Check::needed("store", may.is_ok())
        .found(format!("{}: {said}", dir.display()))
        .cure("TARE_STORE=DIR, or --store DIR, for a directory of your own")
}

fn kind(dir: &Path) -> Check {
    let there = existing(dir);
    let fs = file_system(&there).unwrap_or_else(|| "unknown".into());
    let (free, flags) = match statvfs(&there) {
        Ok(stat) => (
            stat.blocks_available().saturating_mul(stat.fragment_size()),
            stat.flags(),
        ),
        Err(_) => (0, FsFlags::empty()),
    };
    // These lack features that an overlay's upper layer needs.
    let poor = matches!(
        fs.as_str(),
        "nfs" | "nfs4" | "cifs" | "vfat" | "exfat" | "9p" | "overlay"
    );
    let noexec = flags.contains(FsFlags::ST_NOEXEC);
    let mut found = format!("{fs}, {} MiB free", ByteSize::new(free).bytes() >> 20);
    if noexec {
        found.push_str(", mounted noexec: no program of an image would run");
    } else if poor {
        found.push_str(", cannot hold an overlay's writable layer");
    }
    Check::optional("store file system", !poor && !noexec)
        .found(found)
        .cure("a store on ext4, xfs, btrfs or tmpfs, mounted exec")
}

/// Returns the type of the mount that shows a path.
fn file_system(path: &Path) -> Option<String> {
    let path = path.canonicalize().ok()?;
    let mounts = Mounts::now().ok()?;
    mounts.showing(&path).map(|mount| mount.kind.clone())
}
