// SPDX-License-Identifier: MIT OR Apache-2.0
//! Copies trees of the caller in and out.
#![forbid(unsafe_code)]

use std::ffi::{CStr, OsStr};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, open, openat, openat2, readlinkat};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};
use nix::sys::statfs::{PROC_SUPER_MAGIC as PROC, fstatfs};

use super::dir::{DirHandle, quoted};
use super::export::{Fidelity, cut, export};
use super::holes;
use super::import::{Attributes, Import};
use super::metadata::{FileType, Metadata};
use super::report::Copied;
use super::request::request;
use crate::error::{Error, Kind, Result, Step};
use crate::image::layer::{self, Bounds, Ids, OverlayXattr, Whiteouts};
use crate::image::tar::Time;
use crate::wire::{self, FOLLOW};

/// Copies `local`, a file or a directory, to `path` inside.
pub(super) fn put(step: Step, root: &DirHandle, local: &Path, path: &Path) -> Result<Copied> {
    let wrong = |e| Error::os(step, quoted(local), e);
    let Some(name) = path.file_name() else {
        return Err(Error::os(step, quoted(path), Errno::EINVAL).with_kind(Kind::Invalid));
    };
    let parent = path.parent().unwrap_or(Path::new("/"));
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let from = open(local, flags, Mode::empty()).map_err(wrong)?;
    let stat = fstat(&from).map_err(wrong)?;
    let top = root.enter(step, parent, FOLLOW)?;
    let mut import = Import::new(step, &top);
    match FileType::of(stat.st_mode) {
        FileType::File => import_file(&mut import, Path::new(name), local, from, &stat)?,
        FileType::Directory => {
            import.directory(Path::new(name), &attributes(&stat), false)?;
            import_tree(&mut import, Path::new(name), local, &from)?;
        }
        _ => {
            let why = format_args!("{local:?}, which is no file and no directory");
            return Err(Error::os(step, why, Errno::EINVAL).with_kind(Kind::Invalid));
        }
    }
    import.complete()
}

/// Returns the attributes to keep: no owner, and no bits that would lend the
/// owner's rights.
fn attributes(stat: &FileStat) -> Attributes {
    Attributes {
        mode: stat.st_mode & 0o1777,
        owner: None,
        mtime: Time::new(stat.st_mtime, stat.st_mtime_nsec as u32),
        xattrs: Vec::new(),
    }
}

fn import_file(
    import: &mut Import<'_>,
    path: &Path,
    local: &Path,
    from: OwnedFd,
    stat: &FileStat,
) -> Result<()> {
    let step = import.step;
    let from = File::from(from);
    import.file(path, &attributes(stat), |mut file| {
        // The kernel makes the bytes on read(2), and gives no size before.
        if stat.st_size == 0 && fstatfs(&from).is_ok_and(|fs| fs.filesystem_type() == PROC) {
            let copied = io::copy(&mut &from, &mut file);
            return copied
                .map(drop)
                .map_err(|e| Error::io(step, quoted(local), e));
        }
        let copied = holes::copy(&from, file, stat.st_size as u64, stat.st_blocks as u64);
        match copied.map_err(|e| Error::io(step, quoted(local), e))? {
            true => Ok(()),
            false => Err(match fstat(&from) {
                Ok(now) if now.st_size >= stat.st_size => holds_less(step, local),
                _ => cut(step, local),
            }),
        }
    })
}

/// Returns the error about a file of sysfs, which holds less than its size.
fn holds_less(step: Step, local: &Path) -> Error {
    let why = format_args!("{local:?} holds less than its size says");
    Error::new(Kind::Unsupported, step, why).with_cure("a copy of it: cat FILE >COPY")
}

/// Imports everything below the directory `from`; `to` is its name inside.
fn import_tree(import: &mut Import<'_>, to: &Path, local: &Path, from: &OwnedFd) -> Result<()> {
    let mut left = vec![PathBuf::new()];
    while let Some(below) = left.pop() {
        let shown = local.join(&below);
        let step = import.step;
        let wrong = |e| Error::os(step, quoted(&shown), e);
        let dir = open_below(from.as_fd(), &below).map_err(wrong)?;
        let fd = dir
            .try_clone()
            .map_err(|e| Error::io(import.step, quoted(&shown), e))?;
        let mut listing = Dir::from_fd(dir).map_err(wrong)?;
        for entry in listing.iter() {
            let entry = entry.map_err(wrong)?;
            let name = entry.file_name();
            if !matches!(name.to_bytes(), b"." | b"..") {
                let below = below.join(OsStr::from_bytes(name.to_bytes()));
                let (to, local) = (to.join(&below), local.join(&below));
                if import_entry(import, &to, &local, fd.as_fd(), name)? {
                    left.push(below);
                }
            }
        }
    }
    Ok(())
}

/// Imports an entry of a local directory; returns true for a directory, whose
/// content follows later.
fn import_entry(
    import: &mut Import<'_>,
    to: &Path,
    local: &Path,
    dir: BorrowedFd<'_>,
    name: &CStr,
) -> Result<bool> {
    let wrong = |e| Error::os(import.step, quoted(local), e);
    let stat = fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(wrong)?;
    match FileType::of(stat.st_mode) {
        FileType::Directory => {
            import.directory(to, &attributes(&stat), false)?;
            return Ok(true);
        }
        FileType::Symlink => {
            let target = readlinkat(dir, name).map_err(wrong)?;
            import.symlink(to, target.as_bytes(), &attributes(&stat))?;
        }
        FileType::File => {
            let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
            let from = openat(dir, name, flags, Mode::empty()).map_err(wrong)?;
            let stat = fstat(&from).map_err(wrong)?;
            import_file(import, to, local, from, &stat)?;
        }
        kind => {
            let bytes = local.as_os_str().as_bytes();
            import.copied.leave_out(bytes, kind.as_str());
        }
    }
    Ok(false)
}

/// Opens a directory of the tree without following links, because other users
/// may write there meanwhile.
fn open_below(top: BorrowedFd<'_>, below: &Path) -> nix::Result<OwnedFd> {
    let below = if below.as_os_str().is_empty() {
        Path::new(".")
    } else {
        below
    };
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
    openat2(top, below, OpenHow::new().flags(flags).resolve(resolve))
}

/// Copies the file or directory at `path` inside to `local`.
pub(super) fn get(step: Step, root: &DirHandle, path: &Path, local: &Path) -> Result<Copied> {
    let asked = request(wire::FILE_STAT, FOLLOW);
    let stat = Metadata::new(root.ask(step, path, &asked)?.stat);
    match stat.is_dir() {
        true => get_tree(step, root, path, local),
        false => get_file(step, root, path, local),
    }
}

/// Copies a file. The file replaces `local` whole and at once.
fn get_file(step: Step, root: &DirHandle, path: &Path, local: &Path) -> Result<Copied> {
    let wrong = |e| Error::io(step, quoted(local), e);
    let asked = request(wire::FILE_OPEN, FOLLOW);
    let (from, answer) = root.open(step, path, &asked)?;
    let stat = Metadata::new(answer.stat);
    let beside = Beside::new(local).map_err(wrong)?;
    // Copies the size at the open: a process inside may write on without end.
    if !holes::copy(&from, &beside.file, stat.len(), stat.blocks()).map_err(wrong)? {
        return Err(cut(step, path));
    }
    beside.complete(local, &stat).map_err(wrong)?;
    let mut copied = Copied::default();
    copied.entries += 1;
    Ok(copied)
}

/// A new file beside its final name; removed unless complete.
struct Beside {
    file: File,
    path: PathBuf,
    complete: bool,
}

impl Beside {
    fn new(local: &Path) -> io::Result<Self> {
        local.file_name().ok_or(Errno::EISDIR)?;
        for n in 0..1000 {
            let fresh = format!(".tare-{}-{n}", std::process::id());
            let path = local.with_file_name(fresh);
            let mut options = OpenOptions::new();
            match options.write(true).create_new(true).mode(0o600).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
                Ok(file) => {
                    return Ok(Self {
                        file,
                        path,
                        complete: false,
                    });
                }
            }
        }
        Err(Errno::EEXIST.into())
    }

    fn complete(mut self, local: &Path, stat: &Metadata) -> io::Result<()> {
        self.file
            .set_permissions(Permissions::from_mode(stat.permissions() & 0o777))?;
        self.file.set_modified(stat.modified())?;
        fs::rename(&self.path, local)?;
        self.complete = true;
        Ok(())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if !self.complete {
            // The first error is the useful one.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Copies a directory through the writer of layers, which no archive leads
/// outside.
fn get_tree(step: Step, root: &DirHandle, path: &Path, local: &Path) -> Result<Copied> {
    let into = empty_directory(step, local)?;
    let wrong = |e| Error::io(step, "pipe", e);
    // A socket, because writing to a pipe without a reader sends the host
    // SIGPIPE.
    let (ours, theirs) = UnixStream::pair().map_err(wrong)?;
    let how = layer::Options {
        ids: Ids::Single,
        whiteouts: Whiteouts::Keep,
        overlay_xattr: OverlayXattr::User,
        bounds: Bounds::default(),
    };
    thread::scope(|scope| {
        let exporting = thread::Builder::new()
            .name("tare-get".into())
            .spawn_scoped(scope, || {
                let ours = io::BufWriter::with_capacity(64 << 10, ours);
                export(step, root, path, ours, Fidelity::Plain)
            })
            .map_err(|e| Error::io(step, "start a thread", e))?;
        let unpacked = layer::unpack(theirs, into.as_fd(), &how, &mut |_| {});
        let exported = exporting
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match (exported, unpacked) {
            // The reader's error caused this EPIPE.
            (Err(error), Err(first)) if error.errno() == Some(libc::EPIPE) => Err(first),
            (Err(error), _) => Err(error),
            (Ok(_), Err(error)) => Err(error),
            (Ok(mut copied), Ok(unpacked)) => {
                copied.left_out.extend(unpacked.notes);
                Ok(copied)
            }
        }
    })
}

/// Opens the directory to copy into: new or empty, so that names from the
/// sandbox replace no file of the caller.
fn empty_directory(step: Step, local: &Path) -> Result<File> {
    let wrong = |e| Error::io(step, quoted(local), e);
    match fs::create_dir(local) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(wrong(error)),
        _ => {}
    }
    if fs::read_dir(local).map_err(wrong)?.next().is_some() {
        let error = Error::os(step, quoted(local), Errno::ENOTEMPTY);
        return Err(error.with_cure("a new or empty directory"));
    }
    let file = File::open(local).map_err(wrong)?;
    match file.metadata().map_err(wrong)?.mode() & libc::S_IFMT == libc::S_IFDIR {
        true => Ok(file),
        false => Err(Error::os(step, quoted(local), Errno::ENOTDIR)),
    }
}
