// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files of an open sandbox: read, written, listed, and copied as trees,
//! without a command inside.
//!
//! Works in an image without a shell, for root and ordinary users alike. Paths
//! are absolute, links in them stay inside, and ids are those that the sandbox
//! sees. Opens only regular files on file systems that store files; run a
//! command inside to read `/proc`, `/sys` and the like.
//!
//! A sandbox is not trusted, and may change its files at any time: two calls
//! may see different files. A path may lead to the target of any link inside,
//! also into a volume that the sandbox itself may not write. See
//! `docs/design.md`, "How are files of a sandbox read and written?".
#![forbid(unsafe_code)]

mod archive;
mod dir;
mod export;
mod holes;
mod import;
mod local;
mod metadata;
mod options;
mod read_dir;
mod remove;
mod report;
mod request;
mod unpack;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::errno::Errno;

use crate::error::{Error, Kind, Result, Step};
use crate::sandbox::Sandbox;
use crate::sys::file_size::WithoutSignal;
use crate::wire::{self, FileRequest, FileSet};
use dir::{DirHandle, c_path, quoted};
use options::owned;
use request::{c_user, directory, modified, parts, request, setting};

pub use metadata::{FileType, Metadata};
pub use options::OpenOptions;
pub use read_dir::{DirEntry, ReadDir};
pub use report::Copied;

/// Most bytes that [`Files::read`] returns: 64 MiB. A sandbox could otherwise
/// fill the caller's memory.
pub const READ_MAX: u64 = 64 << 20;

/// The files of a sandbox, from [`Sandbox::files`]. Call the methods from any
/// thread.
///
/// Errors have the step, the path, and the errno of the failed call inside.
/// Other errors are [`Kind::Invalid`] for a path that is not absolute or holds
/// a NUL, for a device, pipe or socket, and for a closed sandbox;
/// [`Kind::Unsupported`] for a file system that stores no files;
/// [`Kind::Broken`] if the sandbox is gone.
///
/// ```no_run
/// # use tare::{Sandbox, Spec, Store};
/// # let sandbox = Sandbox::open(&Store::open_default()?, &Spec::default())?;
/// let files = sandbox.files();
/// files.create_dir_all("/w/in", 0o755)?;
/// files.write("/w/in/data", b"x")?;
/// assert_eq!(files.read("/w/in/data")?, b"x");
/// # Ok::<(), tare::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Files<'a> {
    sandbox: &'a Sandbox,
    /// User whose rights count; `None` for all rights of the init.
    user: Option<&'a str>,
}

impl Sandbox {
    /// Its files, without a command inside.
    pub fn files(&self) -> Files<'_> {
        Files {
            sandbox: self,
            user: None,
        }
    }
}

impl<'a> Files<'a> {
    /// Returns the files with the rights of a user of the sandbox,
    /// `USER[:GROUP]` by name or number as for [`crate::Command::user`]. Files
    /// that the user may not read or write are EACCES, and new files belong to
    /// the user. Without a user, every file can be read and written, and new
    /// files belong to 0:0.
    ///
    /// Each call makes a process inside that becomes the user. Further errors
    /// are [`Kind::NotFound`] for a user missing in `/etc/passwd`, and EINVAL
    /// if the sandbox does not map the id.
    ///
    /// ```no_run
    /// # use tare::{Sandbox, Spec, Store};
    /// # let sandbox = Sandbox::open(&Store::open_default()?, &Spec::default())?;
    /// let denied = sandbox.files().as_user("nobody").read("/etc/shadow").unwrap_err();
    /// assert_eq!(denied.errno(), Some(libc::EACCES));
    /// # Ok::<(), tare::Error>(())
    /// ```
    #[must_use]
    pub fn as_user(self, user: &'a str) -> Self {
        Self {
            user: Some(user),
            ..self
        }
    }

    /// Returns uid and gid of a `USER[:GROUP]` of the sandbox, for
    /// [`Files::set_owner`] and the like.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for a name missing in `/etc/passwd` or `/etc/group`;
    /// EINVAL if the sandbox does not map the id.
    pub fn user_ids(&self, user: &str) -> Result<(u32, u32)> {
        let asked = FileRequest::new(wire::FILE_WHO);
        let dir = self.as_user(user).root(Step::LookUpUser, Path::new("/"))?;
        let stat = dir.ask(Step::LookUpUser, Path::new("/"), &asked)?.stat;
        let found = Metadata::new(stat);
        Ok((found.uid(), found.gid()))
    }

    fn root(&self, step: Step, path: &Path) -> Result<DirHandle> {
        if !path.has_root() {
            let why = format_args!("{path:?} is not absolute");
            return Err(Error::new(Kind::Invalid, step, why).with_cure("a path that begins with /"));
        }
        let user = match self.user {
            Some(user) => Some(c_user(step, user)?),
            None => None,
        };
        Ok(DirHandle::root(self.sandbox.instance()?, user))
    }

    fn ask(&self, step: Step, path: &Path, asked: &FileRequest<'_>) -> Result<dir::Answer> {
        self.root(step, path)?.ask(step, path, asked)
    }

    /// Opens a regular file, as an ordinary file of this process that outlives
    /// the sandbox. The sandbox may truncate the file, even while it is mapped
    /// into memory.
    ///
    /// # Errors
    /// Those of open(2); EINVAL for contradictory options.
    pub fn open(&self, path: impl AsRef<Path>, options: &OpenOptions) -> Result<File> {
        let (step, path) = (Step::OpenFile, path.as_ref());
        let root = self.root(step, path)?;
        let Some(asked) = options.request() else {
            return Err(Error::os(step, quoted(path), Errno::EINVAL)
                .with_kind(Kind::Invalid)
                .with_cure("read, write or append; create and truncate only with write"));
        };
        let (file, answer) = root.open(step, path, &asked)?;
        if options.truncates() && answer.count == 0 {
            let cut = file.set_len(0);
            cut.map_err(|e| Error::io(step, quoted(path), e))?;
        }
        Ok(file)
    }

    /// Returns the whole content of a regular file of at most [`READ_MAX`]
    /// bytes.
    ///
    /// # Errors
    /// As [`Files::open`]; EFBIG for a larger file.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Vec<u8>> {
        self.read_at_most(path, READ_MAX)
    }

    /// Returns the whole content of a regular file of at most `limit` bytes.
    ///
    /// # Errors
    /// As [`Files::open`]; EFBIG for a larger file.
    pub fn read_at_most(&self, path: impl AsRef<Path>, limit: u64) -> Result<Vec<u8>> {
        let (step, path) = (Step::ReadFile, path.as_ref());
        let options = OpenOptions::new().read(true).request();
        let asked = options.unwrap_or(FileRequest::new(wire::FILE_OPEN));
        let (file, answer) = self.root(step, path)?.open(step, path, &asked)?;
        // Reads to the end in spite of the size, because the file may grow
        // meanwhile.
        let mut bytes = Vec::with_capacity(answer.stat.size.min(limit).min(1 << 20) as usize);
        let read = file.take(limit.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|e| Error::io(step, quoted(path), e))?;
        if bytes.len() as u64 > limit {
            let why = format_args!("{path:?} has more than {limit} bytes");
            return Err(Error::os(step, why, Errno::EFBIG)
                .with_kind(Kind::Exhausted)
                .with_cure("a higher limit, or open it and read in parts"));
        }
        Ok(bytes)
    }

    /// Makes or truncates a regular file and writes `bytes`; a new file has
    /// mode 0644 and owner 0:0.
    ///
    /// # Errors
    /// Those of open(2) and write(2).
    pub fn write(&self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> Result<()> {
        let mut options = OpenOptions::new();
        self.write_with(path, bytes, options.write(true).create(true).truncate(true))
    }

    /// Writes `bytes` to a file as [`Files::write`] does, with other options.
    ///
    /// # Errors
    /// As [`Files::open`], and those of write(2).
    pub fn write_with(
        &self,
        path: impl AsRef<Path>,
        bytes: impl AsRef<[u8]>,
        options: &OpenOptions,
    ) -> Result<()> {
        let mut file = self.open(&path, options)?;
        let _without = WithoutSignal::begin();
        let written = file.write_all(bytes.as_ref());
        written.map_err(|e| Error::io(Step::WriteFile, quoted(path.as_ref()), e))
    }

    fn stat(&self, step: Step, path: &Path, flags: u32) -> Result<dir::Answer> {
        let asked = request(wire::FILE_STAT, flags);
        self.ask(step, path, &asked)
    }

    /// Returns metadata of a file of any type, on any file system; follows a
    /// symbolic link.
    ///
    /// # Errors
    /// Those of stat(2).
    pub fn metadata(&self, path: impl AsRef<Path>) -> Result<Metadata> {
        let answer = self.stat(Step::Stat, path.as_ref(), wire::FOLLOW)?;
        Ok(Metadata::new(answer.stat))
    }

    /// Returns metadata of a file; of the link itself for a symbolic link.
    ///
    /// # Errors
    /// Those of lstat(2).
    pub fn symlink_metadata(&self, path: impl AsRef<Path>) -> Result<Metadata> {
        let answer = self.stat(Step::Stat, path.as_ref(), 0)?;
        Ok(Metadata::new(answer.stat))
    }

    /// Returns whether `path` exists; a dangling symbolic link does not.
    ///
    /// # Errors
    /// Those of stat(2) but ENOENT and ENOTDIR.
    pub fn exists(&self, path: impl AsRef<Path>) -> Result<bool> {
        match self.metadata(path) {
            Err(error) if matches!(error.errno(), Some(libc::ENOENT | libc::ENOTDIR)) => Ok(false),
            found => found.map(|_| true),
        }
    }

    /// Returns the target of a symbolic link.
    ///
    /// # Errors
    /// Those of readlink(2): EINVAL for another file.
    pub fn read_link(&self, path: impl AsRef<Path>) -> Result<PathBuf> {
        let (step, path) = (Step::ReadLink, path.as_ref());
        let answer = self.stat(step, path, 0)?;
        match Metadata::new(answer.stat).is_symlink() {
            true => Ok(PathBuf::from(std::ffi::OsString::from_vec(answer.tail))),
            false => Err(Error::os(step, quoted(path), Errno::EINVAL)),
        }
    }

    /// Returns the entries of a directory, in no order.
    ///
    /// # Errors
    /// Those of open(2) and getdents(2).
    pub fn read_dir(&self, path: impl AsRef<Path>) -> Result<ReadDir> {
        let (step, path) = (Step::ReadDirectory, path.as_ref());
        let dir = self.root(step, path)?.enter(step, path, wire::FOLLOW)?;
        Ok(ReadDir::new(step, dir))
    }

    fn make(&self, step: Step, path: &Path, asked: &FileRequest<'_>) -> Result<()> {
        self.ask(step, path, asked).map(drop)
    }

    /// Makes a directory with exactly these permission bits, owner 0:0. Ignores
    /// setuid and setgid, as mkdir(2) does; [`Files::set_permissions`] sets
    /// them.
    ///
    /// # Errors
    /// Those of mkdir(2).
    pub fn create_dir(&self, path: impl AsRef<Path>, mode: u32) -> Result<()> {
        self.make(Step::MakeDirectory, path.as_ref(), &directory(mode, 0))
    }

    /// Makes a directory and missing parents, all as [`Files::create_dir`]
    /// does; an existing directory stays unchanged.
    ///
    /// # Errors
    /// Those of mkdir(2).
    pub fn create_dir_all(&self, path: impl AsRef<Path>, mode: u32) -> Result<()> {
        let (step, path) = (Step::MakeDirectory, path.as_ref());
        let asked = directory(mode, wire::OR_EXISTING);
        let root = self.root(step, path)?;
        // Starts at the longest part that exists.
        let mut missing = Vec::new();
        for part in path.ancestors().filter(|part| part.parent().is_some()) {
            match root.ask(step, part, &asked) {
                Err(error) if error.errno() == Some(libc::ENOENT) => missing.push(part),
                made => {
                    made?;
                    break;
                }
            }
        }
        for part in missing.into_iter().rev() {
            root.ask(step, part, &asked)?;
        }
        Ok(())
    }

    /// Removes a file of any type except a directory.
    ///
    /// # Errors
    /// Those of unlink(2).
    pub fn remove_file(&self, path: impl AsRef<Path>) -> Result<()> {
        let asked = FileRequest::new(wire::FILE_REMOVE);
        self.ask(Step::RemoveFile, path.as_ref(), &asked).map(drop)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// Those of rmdir(2).
    pub fn remove_dir(&self, path: impl AsRef<Path>) -> Result<()> {
        let asked = request(wire::FILE_REMOVE, wire::DIRECTORY);
        self.ask(Step::RemoveDirectory, path.as_ref(), &asked)
            .map(drop)
    }

    /// Removes a directory, however deep, with all files in it. Removes links
    /// and does not follow them. A mount point below is an error (EBUSY), and
    /// is not emptied.
    ///
    /// # Errors
    /// Those of unlink(2) and rmdir(2); a part may be gone then.
    pub fn remove_dir_all(&self, path: impl AsRef<Path>) -> Result<()> {
        let (step, path) = (Step::RemoveDirectory, path.as_ref());
        let mut parts = path.as_os_str().as_bytes().split(|b| *b == b'/');
        if matches!(
            parts.rfind(|part| !part.is_empty()),
            None | Some(b"." | b"..")
        ) {
            return Err(Error::os(step, quoted(path), Errno::EINVAL));
        }
        remove::remove_tree(step, &self.root(step, path)?, path)
    }

    fn two(&self, step: Step, asked: FileRequest<'_>, from: &Path, to: &Path) -> Result<()> {
        self.root(step, to)?;
        let name = c_path(step, to)?;
        let asked = FileRequest { to: &name, ..asked };
        self.ask(step, from, &asked).map(drop)
    }

    /// Renames a file or directory, and replaces a file at `to`.
    ///
    /// # Errors
    /// Those of rename(2).
    pub fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
        let asked = FileRequest::new(wire::FILE_RENAME);
        self.two(Step::Rename, asked, from.as_ref(), to.as_ref())
    }

    /// Gives a file a second name; does not follow a link.
    ///
    /// # Errors
    /// Those of link(2).
    pub fn hard_link(&self, original: impl AsRef<Path>, link: impl AsRef<Path>) -> Result<()> {
        let asked = FileRequest::new(wire::FILE_LINK);
        self.two(Step::Link, asked, original.as_ref(), link.as_ref())
    }

    /// Makes a symbolic link at `link` to any text.
    ///
    /// # Errors
    /// Those of symlink(2).
    pub fn symlink(&self, target: impl AsRef<Path>, link: impl AsRef<Path>) -> Result<()> {
        let (step, target) = (
            Step::MakeSymbolicLink,
            c_path(Step::MakeSymbolicLink, target.as_ref())?,
        );
        let asked = FileRequest {
            to: &target,
            mode: libc::S_IFLNK,
            ..FileRequest::new(wire::FILE_MAKE)
        };
        self.make(step, link.as_ref(), &asked)
    }

    /// Makes a named pipe with exactly these permission bits.
    ///
    /// # Errors
    /// Those of mkfifo(3).
    pub fn create_fifo(&self, path: impl AsRef<Path>, mode: u32) -> Result<()> {
        let asked = FileRequest {
            mode: libc::S_IFIFO | mode & 0o7777,
            ..FileRequest::new(wire::FILE_MAKE)
        };
        self.make(Step::MakePipe, path.as_ref(), &asked)
    }

    fn set(&self, step: Step, path: &Path, flags: u32, set: FileSet<'_>) -> Result<()> {
        let asked = FileRequest {
            flags,
            ..setting(set)
        };
        self.ask(step, path, &asked).map(drop)
    }

    /// Changes the permission bits, setuid, setgid and sticky among them;
    /// follows a link.
    ///
    /// # Errors
    /// Those of chmod(2).
    pub fn set_permissions(&self, path: impl AsRef<Path>, mode: u32) -> Result<()> {
        let set = FileSet {
            what: wire::SET_MODE,
            mode,
            ..FileSet::NONE
        };
        self.set(Step::ChangeMode, path.as_ref(), wire::FOLLOW, set)
    }

    /// Changes owner and group, as the sandbox sees them; follows a link.
    /// Clears setuid and setgid bits, as chown(2) does.
    ///
    /// # Errors
    /// Those of chown(2): EINVAL for an id that the sandbox does not map.
    pub fn set_owner(&self, path: impl AsRef<Path>, uid: u32, gid: u32) -> Result<()> {
        let set = owned(Some((uid, gid)), 0);
        self.set(Step::ChangeOwner, path.as_ref(), wire::FOLLOW, set)
    }

    /// Changes the time of the last change of content; follows a link.
    ///
    /// # Errors
    /// Those of utimensat(2).
    pub fn set_modified(&self, path: impl AsRef<Path>, time: SystemTime) -> Result<()> {
        let set = modified(parts(time));
        self.set(Step::ChangeTimes, path.as_ref(), wire::FOLLOW, set)
    }
}
