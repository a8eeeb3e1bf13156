// SPDX-License-Identifier: MIT OR Apache-2.0
//! Unpacks a whole image into a directory, without a store.
#![forbid(unsafe_code)]

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, fchmod, fstat, mkdirat};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

use crate::error::{Error, Kind, Result, Step};
use crate::image::layer::{self, Bounds, Ids, Pending};
use crate::image::remove_tree::remove_tree;
use crate::image::source::{self, Resolved, Room, Selector, Source};
use crate::image::store::{self, FileSystem, nameless_file};
use crate::image::{Chown, ImageConfig, Images, Platform, Progress, Reference};

/// Flags of opening the directory, which must be no link: another user could
/// have chosen the target.
const DIRECTORY: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

/// Options of unpacking an image into a directory.
pub struct UnpackOptions<'a> {
    /// Store that looks names up. Default: `None`, so that only `oci:` and
    /// `archive:` work.
    pub store: Option<&'a Images>,
    /// Name of the image in an archive of several. Default: the only image.
    pub select: Option<String>,
    /// Platform in an index. Default: this machine's.
    pub platform: Option<Platform>,
    /// Most that a layer may ask for. Default: [`Bounds::default`].
    pub bounds: Bounds,
    /// Gives files to subordinate ids. Default: `None`; then an ordinary user
    /// owns all files. Root needs no helper.
    pub chown: Option<&'a mut dyn Chown>,
    /// Calls syncfs(2) on the directory's file system at the end, so that a
    /// power cut takes no file of an unpacked image. Default: true.
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

/// Unpacks all layers of an image into `dir`, which is made or must be empty,
/// and verifies both digests of each. Returns the image's configuration. Its
/// notes tell what was skipped in the source and changed in the layers.
///
/// After an error `dir` is as before.
///
/// # Errors
/// As [`Images::import`], and [`Kind::Exists`] if `dir` holds files.
pub fn unpack(
    reference: &Reference,
    dir: impl AsRef<Path>,
    mut options: UnpackOptions<'_>,
    progress: &mut dyn Progress,
) -> Result<ImageConfig> {
    let dir = dir.as_ref();
    let (source, mut resolved) = find(reference, dir, &options, progress)?;
    let target = Target::open(dir)?;
    let done = match options.sync {
        true => FileSystem::of_open(target.dir.as_fd(), dir).and_then(|file_system| {
            let noted = layers(&*source, &resolved, &target, &mut options, progress)?;
            file_system.sync().map(|()| noted)
        }),
        false => layers(&*source, &resolved, &target, &mut options, progress),
    };
    match done {
        Ok(noted) => {
            let mut notes = std::mem::take(&mut resolved.notes);
            notes.append(&mut resolved.parsed.config.notes);
            for note in noted.into_iter().flatten() {
                if !notes.contains(&note) {
                    notes.push(note);
                }
            }
            resolved.parsed.config.notes = notes;
            Ok(resolved.parsed.config)
        }
        Err(e) => {
            // The first error is the useful one. After a second error files
            // stay in a directory that the caller named.
            let _ = target.clear(&mut options);
            Err(match e.errno() {
                Some(libc::ENOSPC | libc::EDQUOT) if e.cure().is_none() => {
                    e.with_cure(format!("more room below {dir:?}"))
                }
                _ => e,
            })
        }
    }
}

fn find(
    reference: &Reference,
    dir: &Path,
    options: &UnpackOptions<'_>,
    progress: &mut dyn Progress,
) -> Result<(Box<dyn Source>, Resolved)> {
    let mut selector = Selector {
        tag: options.select.clone(),
        platform: options.platform.clone(),
        names: false,
    };
    let source: Box<dyn Source> = match (reference, options.store) {
        (Reference::Oci { path, tag }, _) => {
            selector.tag = tag.clone().or(selector.tag);
            Box::new(source::open_layout(path)?)
        }
        (Reference::Archive(path), store) => {
            let spool = match store {
                Some(store) => store.path().to_owned(),
                None => nearest(dir),
            };
            let room = &mut Room {
                spool: &|| nameless_file(&spool),
                place: &spool,
                progress,
            };
            Box::new(source::Archive::open(path, room)?)
        }
        (Reference::Named { .. } | Reference::Digest(_), Some(store)) => {
            let (source, resolved) = store.find_open(reference, options.platform.as_ref())?;
            return Ok((Box::new(source), resolved));
        }
        (other, _) => {
            let why = format!("{other}: there is nothing to unpack");
            return Err(Error::new(Kind::Invalid, Step::UnpackImage, why));
        }
    };
    let resolved = source::find(&*source, &selector)?;
    Ok((source, resolved))
}

/// Returns the directory itself, or the nearest existing parent.
fn nearest(dir: &Path) -> PathBuf {
    let there = dir.ancestors().find(|dir| dir.is_dir());
    there.unwrap_or(Path::new(".")).to_owned()
}

/// The directory that an image is unpacked into. The path is resolved once and
/// all work goes by descriptor, because other users may be able to move a part
/// of the path.
struct Target<'a> {
    path: &'a Path,
    dir: OwnedFd,
    /// The parent and the name, if the directory was made.
    made: Option<(OwnedFd, &'a OsStr)>,
}

impl<'a> Target<'a> {
    /// Makes the directory, or opens an empty one.
    fn open(path: &'a Path) -> Result<Self> {
        let wrong = |e| Error::os(Step::UnpackImage, format_args!("{path:?}"), e);
        let Some(name) = path.file_name() else {
            // `/` and `..` exist.
            let dir = open(path, DIRECTORY, Mode::empty()).map_err(wrong)?;
            return Self::empty(path, dir);
        };
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let parent = open(parent, flags, Mode::empty()).map_err(wrong)?;
        let made = match mkdirat(&parent, name, Mode::S_IRWXU) {
            Ok(()) => true,
            Err(Errno::EEXIST) => false,
            Err(errno) => return Err(wrong(errno)),
        };
        let dir = openat(&parent, name, DIRECTORY, Mode::empty()).map_err(|errno| {
            let error = wrong(errno);
            match errno {
                Errno::ELOOP | Errno::ENOTDIR => error.with_cure("a directory, not a link to one"),
                _ => error,
            }
        })?;
        if !made {
            return Self::empty(path, dir);
        }
        let owner = fstat(&dir).map_err(wrong)?.st_uid;
        if owner != geteuid().as_raw() {
            let why = format!("{path:?}: user {owner} put another directory there");
            return Err(Error::new(Kind::Permission, Step::UnpackImage, why));
        }
        // Exact in spite of the umask; the image's own entry for the root goes
        // over it.
        fchmod(&dir, Mode::from_bits_truncate(0o755)).map_err(wrong)?;
        let made = Some((parent, name));
        Ok(Self { path, dir, made })
    }

    fn empty(path: &'a Path, dir: OwnedFd) -> Result<Self> {
        let target = Self {
            path,
            dir,
            made: None,
        };
        match target.names()?.is_empty() {
            true => Ok(target),
            false => Err(Error::new(
                Kind::Exists,
                Step::UnpackImage,
                format_args!("{path:?}: not empty"),
            )
            .with_cure("a new or empty directory")),
        }
    }

    fn names(&self) -> Result<Vec<CString>> {
        let wrong = |e| Error::os(Step::ReadDirectory, format_args!("{:?}", self.path), e);
        let mut names = Vec::new();
        let mut listing = Dir::openat(&self.dir, c".", DIRECTORY, Mode::empty()).map_err(wrong)?;
        for entry in listing.iter() {
            let entry = entry.map_err(wrong)?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push(entry.file_name().to_owned());
            }
        }
        Ok(names)
    }

    /// Empties the directory again, and removes a directory that was made.
    fn clear(&self, options: &mut UnpackOptions<'_>) -> Result<()> {
        let dir = self.dir.as_fd();
        for name in self.names()? {
            if let (Err(_), Some(chown)) = (remove_tree(dir, &name), &mut options.chown) {
                chown.remove_tree(dir, &name)?;
            }
        }
        let Some((parent, name)) = &self.made else {
            return Ok(());
        };
        unlinkat(parent, *name, UnlinkatFlags::RemoveDir)
            .map_err(|e| Error::os(Step::ClearDirectory, format_args!("{:?}", self.path), e))
    }
}

/// Unpacks layers in order, because each changes the files of those below.
/// Returns the notes of each layer's unpacker.
fn layers(
    source: &dyn Source,
    resolved: &Resolved,
    target: &Target<'_>,
    options: &mut UnpackOptions<'_>,
    progress: &mut dyn Progress,
) -> Result<Vec<Vec<String>>> {
    let mut how = layer::Options {
        bounds: options.bounds.clone(),
        ..layer::Options::default()
    };
    if how.ids == Ids::Single && options.chown.is_some() {
        how.ids = Ids::Deferred;
    }
    let pending = Mutex::new(Pending::default());
    let mut noted = Vec::new();
    for (index, layer) in resolved.layers.iter().enumerate() {
        let read = store::BlobRead {
            source,
            member: layer.member.clone(),
            expected: layer.expected,
            diff_id: layer.diff_id,
            index,
            keep: None,
            tree: Some(store::Destination::Onto(target.dir.as_fd(), &pending)),
        };
        let done = store::read_blobs(&[read], &how, resolved.layers.len(), progress)?;
        noted.extend(
            done.into_iter()
                .filter_map(|done| Some(done.unpacked?.notes)),
        );
    }
    let pending = pending.into_inner().unwrap_or_else(PoisonError::into_inner);
    let fixups = pending.into_fixups();
    if let (false, Some(chown)) = (fixups.is_empty(), &mut options.chown) {
        chown.apply(target.dir.as_fd(), &fixups)?;
    }
    Ok(noted)
}
