// SPDX-License-Identifier: MIT OR Apache-2.0
//! Opens a store: finds or makes the directory, and refuses a directory that is
//! no store.
#![forbid(unsafe_code)]

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::unistd::geteuid;
use serde::Deserialize;

use super::chase::chase;
use super::fs::{make_dir, make_file, replace_file};
use super::lock::Lock;
use super::parts::{DAMAGED, INDEX, MARKER};
use super::{Images, Inner, sync};
use crate::error::{Error, Kind, Result, Step};
use crate::image::layer::Ids;
use crate::image::oci;
use crate::sys::flock::Operation;
use crate::sys::{auxv, user};

/// Version of the format. Version 1 had layers without a listing of
/// directories.
pub(super) const VERSION: u32 = 2;
const OLDEST: u32 = 1;
const DIRS: [&str; 5] = ["blobs", "blobs/sha256", "layers", "scratch", "locks"];
/// Other names in a store's directory: records of mounts, a replaced index, and
/// `lost+found` of mkfs.ext4(8).
const OTHERS: [&str; 3] = ["mounts", DAMAGED, "lost+found"];
const FILES: [&str; 3] = ["oci-layout", INDEX, MARKER];
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct Marker {
    version: u32,
}

impl Images {
    /// Opens the store in a directory; makes a missing directory, mode 0700.
    /// Then sweeps the work of killed processes.
    ///
    /// # Errors
    /// [`Kind::Permission`] if the directory or a parent belongs to a user
    /// other than root and the caller, or if other users may write to it and it
    /// is not sticky, [`Kind::Invalid`] if the directory holds other files,
    /// [`Kind::Unsupported`] if a newer version of this library made the store.
    ///
    /// A store of an older version is used unchanged.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let store = Self::open_unswept(path.as_ref())?;
        store.recover()?;
        Ok(store)
    }

    /// Opens a store without the sweep. [`Images::with_chown`] must come first
    /// where other ids own files of killed processes.
    pub(crate) fn open_unswept(path: &Path) -> Result<Self> {
        let wrong = |e| Error::io(Step::OpenStore, format_args!("{path:?}"), e);
        let root = chase(path)?;
        check_owner(&root)?;
        let version = match fs::read(root.join(MARKER)) {
            Ok(marker) => {
                let version = check_version(&root, &marker)?;
                make_missing(&root).map_err(wrong)?;
                version
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => create(&root)?,
            Err(e) => return Err(wrong(e)),
        };
        let ids = match user::is_machine_root() {
            true => Ids::Root,
            false => Ids::Single,
        };
        Ok(Self(Arc::new(Inner {
            root,
            version,
            ids,
            gives_away: false,
            chown: None,
            cache: Mutex::default(),
        })))
    }

    /// Opens the default store: `$TARE_STORE`, else `/var/lib/tare` for root
    /// and `$XDG_DATA_HOME/tare` or `~/.local/share/tare` for others. A
    /// set-user-id program ignores the environment, as secure_getenv(3) does,
    /// so only root has a default there.
    ///
    /// # Errors
    /// As [`Images::open`]; [`Kind::NotFound`] if no directory is known.
    pub fn open_default() -> Result<Self> {
        Self::open(default_path()?)
    }
}

/// Returns the directory of the default store.
pub(crate) fn default_path() -> Result<PathBuf> {
    let secure = auxv::is_secure();
    let dir = |name| {
        env::var_os(name)
            .filter(|v| !v.is_empty() && !secure)
            .map(PathBuf::from)
    };
    if let Some(path) = dir("TARE_STORE") {
        return Ok(path);
    }
    if user::owns_system() {
        return Ok("/var/lib/tare".into());
    }
    // XDG base directory spec: a relative path must be ignored.
    let data = dir("XDG_DATA_HOME").filter(|path| path.is_absolute());
    let home = || dir("HOME").filter(|path| path.is_absolute());
    let data = data.or_else(|| Some(home()?.join(".local/share")));
    let data = data.map(|data| data.join("tare"));
    data.ok_or_else(|| {
        if secure {
            let why = "the environment of a set-user-id program does not count";
            let error = Error::new(Kind::NotFound, Step::OpenStore, why);
            return error.with_cure("a directory that the program names, tare --store DIR");
        }
        let why = "neither XDG_DATA_HOME nor HOME is an absolute path";
        Error::new(Kind::NotFound, Step::OpenStore, why).with_cure("TARE_STORE=/some/directory")
    })
}

/// Refuses a directory that other users can change, because they would decide
/// which files run in sandboxes.
fn check_owner(root: &Path) -> Result<()> {
    let wrong = |why: String| {
        let why = format_args!("{root:?}: {why}");
        Error::new(Kind::Permission, Step::OpenStore, why)
    };
    let metadata =
        fs::metadata(root).map_err(|e| Error::io(Step::OpenStore, format_args!("{root:?}"), e))?;
    if !metadata.is_dir() {
        return Err(wrong("not a directory".to_owned()).with_kind(Kind::Invalid));
    }
    let (owner, us) = (metadata.uid(), geteuid().as_raw());
    if owner != us {
        let why = format!("it belongs to user {owner}, not to user {us}");
        return Err(wrong(why).with_cure("TARE_STORE=/some/directory of your own"));
    }
    if metadata.mode() & 0o022 != 0 {
        let why = "other users may write to it".to_owned();
        return Err(wrong(why).with_cure(format!("chmod go-w {}", root.display())));
    }
    Ok(())
}

/// Returns the version in a marker.
pub(super) fn check_version(root: &Path, marker: &[u8]) -> Result<u32> {
    let path = root.join(MARKER);
    let marker: Marker = oci::parse(marker, Step::OpenStore, &format!("{path:?}"))
        .map_err(|e| e.with_cure(format!("rm {}", path.display())))?;
    if (OLDEST..=VERSION).contains(&marker.version) {
        return Ok(marker.version);
    }
    let version = marker.version;
    let why = format!("{root:?}: version {version} of the format, this library knows {VERSION}");
    let error = Error::new(Kind::Unsupported, Step::OpenStore, why);
    Err(error.with_cure("a newer libtare, or another TARE_STORE"))
}

/// Writes the marker; call under the lock of the index.
pub(super) fn write_marker(root: &Path, version: u32) -> io::Result<()> {
    let marker = format!("{{\"version\":{version}}}");
    replace_file(&root.join(MARKER), marker.as_bytes())
}

/// Makes missing directories.
fn make_missing(root: &Path) -> io::Result<()> {
    for name in DIRS {
        let dir = root.join(name);
        if !dir.try_exists()? {
            make_dir(&dir, 0o700)?;
            sync::entry(&dir)?;
        }
    }
    Ok(())
}

/// Makes missing parts of a store; several processes may do so at once. Returns
/// the version of the store.
fn create(root: &Path) -> Result<u32> {
    let wrong = |e| Error::io(Step::MakeStore, format_args!("{root:?}"), e);
    for entry in fs::read_dir(root).map_err(wrong)? {
        let name = entry.map_err(wrong)?.file_name();
        let is_ours = |name: &str| {
            let file = name.strip_suffix(".new").unwrap_or(name);
            DIRS.contains(&name) || OTHERS.contains(&name) || FILES.contains(&file)
        };
        if !name.to_str().is_some_and(is_ours) {
            let why = format!("{root:?}: there is {name:?} in it, so it is not a store");
            let error = Error::new(Kind::Invalid, Step::OpenStore, why);
            return Err(error.with_cure("an empty or new directory"));
        }
    }
    make_missing(root).map_err(wrong)?;
    let lock = root.join("locks/index");
    let _lock = Lock::take(&lock, Operation::Exclusive, PATIENCE, || Ok(()))?;
    match fs::read(root.join(MARKER)) {
        // Another process was first.
        Ok(marker) => return check_version(root, &marker),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(wrong(e)),
    }
    let is_empty = |name: &str| Ok(fs::read_dir(root.join(name))?.next().is_none());
    let index = serde_json::to_vec(&oci::Index::empty()).expect("an index is plain data");
    // A repair restores a lost index from the blobs; an empty index would have
    // them removed.
    if is_empty("blobs/sha256").map_err(wrong)? {
        make_file(&root.join(INDEX), &index).map_err(wrong)?;
    }
    write_layout(root).map_err(wrong)?;
    // After a power cut, a store with a marker must have the rest.
    sync::entries(root).map_err(wrong)?;
    // Layers of any version may be in a store that lost its marker.
    let version = match is_empty("layers").map_err(wrong)? {
        true => VERSION,
        false => OLDEST,
    };
    write_marker(root, version)
        .and_then(|()| sync::entries(root))
        .map_err(wrong)?;
    Ok(version)
}

/// Writes the missing file that marks an OCI image layout for other tools.
pub(super) fn write_layout(root: &Path) -> io::Result<()> {
    make_file(
        &root.join("oci-layout"),
        br#"{"imageLayoutVersion":"1.0.0"}"#,
    )
}
