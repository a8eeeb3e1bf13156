// SPDX-License-Identifier: MIT OR Apache-2.0
//! Makes, replaces and lists the files of a store.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{FallocateFlags, fallocate};

use crate::error::{Error, Result, Step};
use crate::sys::file_size::WithoutSignal;

/// Makes a directory with exactly this mode. An existing directory keeps its
/// own mode.
pub(super) fn make_dir(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(mode)),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e),
    }
}

/// Makes or overwrites a file. A failure may leave a part of the content.
/// [`replace_file`] is atomic.
pub(super) fn write_file(path: &Path, bytes: &[u8], mode: u32) -> io::Result<File> {
    let _without = WithoutSignal::begin();
    let mut file = File::create(path)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    Ok(file)
}

/// Makes a file without a name, which vanishes with the last descriptor.
pub(in crate::image) fn nameless_file(dir: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).mode(0o600);
    options
        .custom_flags(libc::O_TMPFILE | libc::O_CLOEXEC)
        .open(dir)
}

/// Returns the names of a directory's entries.
pub(super) fn names(dir: &Path) -> Result<Vec<OsString>> {
    let wrong = |e| Error::io(Step::ReadStore, format_args!("{dir:?}"), e);
    let entries = fs::read_dir(dir).map_err(wrong)?;
    entries
        .map(|entry| entry.map(|e| e.file_name()).map_err(wrong))
        .collect()
}

/// Writes a file that is missing.
pub(super) fn make_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match path.try_exists()? {
        true => Ok(()),
        false => replace_file(path, bytes),
    }
}

/// Replaces a file at once, for readers and for power cuts. Call under a lock,
/// because all writers use the same name for the new file. Until
/// [`super::sync::entries`] of the directory, a power cut may bring the old
/// file back.
///
/// Writes over the file that [`reserve`] left, so that a full disk has room.
pub(super) fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = named_new(path);
    let done = overwrite(&new, bytes).and_then(|()| fs::rename(&new, path));
    if done.is_err() && !path.exists() {
        // An old file does not exist, so a full disk will not have to replace
        // it.
        let _ = fs::remove_file(&new);
    }
    done
}

/// Takes the room that the next [`replace_file`] of as many bytes needs, if the
/// disk has room. Call under the same lock.
pub(super) fn reserve(path: &Path, len: usize) {
    let new = named_new(path);
    let has = fs::metadata(&new).is_ok_and(|file| file.len() >= len as u64);
    if !has && allocate(&new, len).is_err() {
        // A smaller reservation has no use.
        let _ = fs::remove_file(&new);
    }
}

/// Makes a new file of zeros. Btrfs writes in place only into blocks that
/// fallocate(2) took and that are still unwritten.
fn allocate(path: &Path, len: usize) -> io::Result<()> {
    let _without = WithoutSignal::begin();
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let file = File::create(path)?;
    let size = i64::try_from(len).map_err(io::Error::other)?;
    match fallocate(&file, FallocateFlags::empty(), 0, size) {
        Ok(()) => Ok(()),
        // NFS before 4.2 has no fallocate(2), and a nearly full XFS asks for
        // more blocks than a write takes.
        Err(_) => overwrite_unsynced(path, &vec![0; len]).map(drop),
    }
}

fn named_new(path: &Path) -> PathBuf {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    new.into()
}

fn overwrite(path: &Path, bytes: &[u8]) -> io::Result<()> {
    overwrite_unsynced(path, bytes)?.sync_data()
}

/// Writes in place to use existing blocks again, then truncates.
fn overwrite_unsynced(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let _without = WithoutSignal::begin();
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    file.set_permissions(Permissions::from_mode(0o644))?;
    file.write_all(bytes)?;
    file.set_len(bytes.len() as u64)?;
    Ok(file)
}
