// SPDX-License-Identifier: MIT OR Apache-2.0
//! Unpacks a whole image into one directory: the primitive alone, no store needed.
#![forbid(unsafe_code)]

use std::ffi::CString;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::image::layer::{self, Bounds, Ids};
use crate::image::remove_tree::remove_tree;
use crate::image::source::{self, Choice, Files, Found};
use crate::image::store::{self, FileSystem, nameless_file};
use crate::image::{Chown, ImageConfig, Platform, Progress, Reference, Store};

/// How an image is unpacked into a directory.
pub struct UnpackOptions<'a> {
    /// Where names are looked up. Default: none, so that only `oci:` and `archive:` work.
    pub store: Option<&'a Store>,
    /// Which image of an archive that holds several, by its name there. Default: the only one.
    pub select: Option<String>,
    /// Which platform of an index. Default: this machine's.
    pub platform: Option<Platform>,
    /// How much a layer may ask for. Default: [`Bounds::default`].
    pub bounds: Bounds,
    /// Gives files to subordinate ids. Default: none; then an ordinary user's files
    /// are all the user's own. Root needs none.
    pub chown: Option<&'a mut dyn Chown>,
    /// One syncfs(2) of the directory's file system at the end, so that a power cut
    /// takes nothing of an image whose unpacking returned. Default: true.
    pub sync: bool,
}

impl Default for UnpackOptions<'_> {
    fn default() -> Self {
        Self {
            store: None,
            select: None,
            platform: None,
            bounds: Bounds::default(),
            chown: None,
            sync: true,
        }
    }
}

/// Unpacks all layers of an image into `dir`, which is made or must be empty, and
/// verifies both digests of each. Returns the image's configuration.
///
/// After an error `dir` is as it was before.
///
/// # Errors
/// As [`Store::import`], and [`Kind::Exists`] if there is something in `dir`.
pub fn unpack(
    reference: &Reference,
    dir: impl AsRef<Path>,
    mut options: UnpackOptions<'_>,
    progress: &mut dyn Progress,
) -> Result<ImageConfig> {
    let dir = dir.as_ref();
    let (files, found) = find(reference, dir, &options)?;
    let made = ensure_empty(dir)?;
    let done = match options.sync {
        true => FileSystem::of(dir).and_then(|file_system| {
            layers(&*files, &found, dir, &mut options, progress)?;
            file_system.sync()
        }),
        false => layers(&*files, &found, dir, &mut options, progress),
    };
    match done {
        Ok(()) => Ok(found.parsed.config),
        Err(e) => {
            // The first error is the one to tell; what stays after a second one is
            // in a directory that the caller named.
            let _ = clear(dir, made, &mut options);
            Err(e)
        }
    }
}

fn find(
    reference: &Reference,
    dir: &Path,
    options: &UnpackOptions<'_>,
) -> Result<(Box<dyn Files>, Found)> {
    let mut choice = Choice {
        tag: options.select.clone(),
        platform: options.platform.clone(),
    };
    let files: Box<dyn Files> = match (reference, options.store) {
        (Reference::Oci { path, tag }, _) => {
            choice.tag = tag.clone().or(choice.tag);
            Box::new(source::open_layout(path)?)
        }
        (Reference::Archive(path), store) => {
            let spool = match store {
                Some(store) => store.path().to_owned(),
                None => nearest(dir),
            };
            Box::new(source::Archive::open(path, || nameless_file(&spool))?)
        }
        (Reference::Named { .. } | Reference::Digest(_), Some(store)) => {
            let found = store.find_stored(reference, options.platform.as_ref())?;
            return Ok((Box::new(store.files()), found));
        }
        (other, _) => {
            let why = format!("{other}: there is nothing to unpack");
            return Err(Error::new(Kind::Invalid, "unpack image", why));
        }
    };
    let found = source::find(&*files, &choice)?;
    Ok((files, found))
}

/// The directory itself, or the first of its parents that is there.
fn nearest(dir: &Path) -> PathBuf {
    let there = dir.ancestors().find(|dir| dir.is_dir());
    there.unwrap_or(Path::new(".")).to_owned()
}

/// True if the directory was not there.
fn ensure_empty(dir: &Path) -> Result<bool> {
    let wrong = |e| Error::io("unpack image", format_args!("{dir:?}"), e);
    match fs::create_dir(dir) {
        // Exact whatever the umask; the image's own entry for its root goes over it.
        Ok(()) => {
            return fs::set_permissions(dir, Permissions::from_mode(0o755))
                .map(|()| true)
                .map_err(wrong);
        }
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(wrong(e)),
    }
    match fs::read_dir(dir).map_err(wrong)?.next() {
        None => Ok(false),
        Some(_) => Err(Error::new(
            Kind::Exists,
            "unpack image",
            format_args!("{dir:?}: not empty"),
        )
        .with_cure("a new or empty directory")),
    }
}

/// One after the other: each changes what those below it left.
fn layers(
    files: &dyn Files,
    found: &Found,
    dir: &Path,
    options: &mut UnpackOptions<'_>,
    progress: &mut dyn Progress,
) -> Result<()> {
    let mut how = layer::Options {
        bounds: options.bounds.clone(),
        ..layer::Options::default()
    };
    if how.ids == Ids::Single && options.chown.is_some() {
        how.ids = Ids::Deferred;
    }
    for (index, layer) in found.layers.iter().enumerate() {
        let job = store::Job {
            files,
            member: layer.member.clone(),
            expected: layer.expected,
            diff_id: layer.diff_id,
            index,
            keep: None,
            tree: Some(dir.to_owned()),
        };
        let done = store::run_jobs(&[job], &how, found.layers.len(), progress)?;
        let fixups = done
            .into_iter()
            .filter_map(|done| Some(done.unpacked?.fixups));
        let fixups: Vec<_> = fixups.flatten().collect();
        if let (false, Some(chown)) = (fixups.is_empty(), &mut options.chown) {
            let root =
                File::open(dir).map_err(|e| Error::io("set owners", format_args!("{dir:?}"), e))?;
            chown.apply(root.as_fd(), &fixups)?;
        }
    }
    Ok(())
}

/// Empties the directory again, and removes it if we made it.
fn clear(dir: &Path, made: bool, options: &mut UnpackOptions<'_>) -> Result<()> {
    let wrong = |e| Error::io("clear directory", format_args!("{dir:?}"), e);
    let fd = File::open(dir).map_err(wrong)?;
    for entry in fs::read_dir(dir).map_err(wrong)? {
        let name = entry.map_err(wrong)?.file_name();
        let Ok(name) = CString::new(name.as_bytes()) else {
            continue;
        };
        if let (Err(_), Some(chown)) = (remove_tree(fd.as_fd(), &name), &mut options.chown) {
            chown.remove_tree(fd.as_fd(), &name)?;
        }
    }
    match made {
        true => fs::remove_dir(dir).map_err(wrong),
        false => Ok(()),
    }
}
