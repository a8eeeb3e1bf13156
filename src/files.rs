// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files of an open sandbox: read, written, listed, copied in and out as trees, with no command inside.
//!
//! Works in an image without a shell, for root and ordinary users alike. Paths are absolute, links in
//! them stay inside, ids are those that the sandbox sees. Only regular files on file systems that store
//! files are opened; what is in `/proc`, `/sys` and the like, a command inside can read.
//!
//! A sandbox is not trusted: it may change its files at any time, so that two calls need not see the
//! same, and a path may lead to wherever its links lead inside, also into a volume that it may not write
//! itself. See `docs/design.md`, "How are files of a sandbox read and written?".
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
mod unpack;

use std::ffi::CString;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::errno::Errno;

use crate::error::{Error, Kind, Result};
use crate::sandbox::Sandbox;
use crate::sys::file_size::WithoutSignal;
use crate::wire::{self, FileRequest, FileSet};
use dir::{DirHandle, c_path, quoted};
use options::owned;

pub use metadata::{FileType, Metadata};
pub use options::OpenOptions;
pub use read_dir::{DirEntry, ReadDir};
pub use report::Copied;

/// Bytes that [`Files::read`] reads at most: 64 MiB. A sandbox could otherwise fill the caller's memory.
pub const READ_MAX: u64 = 64 << 20;

/// The files of a sandbox, from [`Sandbox::files`]. Every method may be called from any thread.
///
/// Errors have the step, the path, and the errno of the call that failed inside; beside the errnos of
/// the call itself, [`Kind::Invalid`] for a path that is not absolute or holds a NUL, and for a device,
/// pipe or socket; [`Kind::Unsupported`] for what is on no file system that stores files;
/// [`Kind::Broken`] if the sandbox is gone, [`Kind::Invalid`] if it was closed.
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
    /// Whose rights count; none for all that the init may do.
    user: Option<&'a str>,
}

impl<'a> Files<'a> {
    pub(crate) fn new(sandbox: &'a Sandbox) -> Self {
        Self {
            sandbox,
            user: None,
        }
    }

    /// The same with the rights of a user of the sandbox, `USER[:GROUP]` by name or number as for
    /// [`crate::Command::user`]: what the user may not read or write is EACCES, and what is made
    /// belongs to the user. Without it every file can be read and written, and belongs to 0:0.
    ///
    /// Each call makes a process inside that becomes the user. As errors beside the call's own,
    /// [`Kind::NotFound`] for a user that `/etc/passwd` does not have, and EINVAL where the sandbox has
    /// no such id.
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

    /// User and group that a `USER[:GROUP]` of the sandbox has, for [`Files::set_owner`] and the like.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for a name that `/etc/passwd` or `/etc/group` does not have; EINVAL where the
    /// sandbox has no such id.
    pub fn user_ids(&self, user: &str) -> Result<(u32, u32)> {
        let asked = FileRequest::new(wire::FILE_WHO);
        let dir = self.as_user(user).root("look up user", Path::new("/"))?;
        let stat = dir.ask("look up user", Path::new("/"), &asked)?.stat;
        let found = Metadata::new(stat);
        Ok((found.uid(), found.gid()))
    }

    fn root(&self, step: &'static str, path: &Path) -> Result<DirHandle> {
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

    fn ask(&self, step: &'static str, path: &Path, asked: &FileRequest<'_>) -> Result<dir::Answer> {
        self.root(step, path)?.ask(step, path, asked)
    }

    /// Opens a regular file. What comes back is an ordinary file of this process, which stays valid
    /// when the sandbox is gone; who maps it into memory must expect the sandbox to cut it.
    ///
    /// # Errors
    /// Those of open(2); EINVAL for options that make no sense together.
    pub fn open(&self, path: impl AsRef<Path>, options: &OpenOptions) -> Result<File> {
        let (step, path) = ("open file", path.as_ref());
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

    /// The whole content of a regular file of at most [`READ_MAX`] bytes.
    ///
    /// # Errors
    /// As [`Files::open`]; EFBIG for a larger one.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Vec<u8>> {
        self.read_at_most(path, READ_MAX)
    }

    /// The whole content of a regular file of at most `limit` bytes.
    ///
    /// # Errors
    /// As [`Files::open`]; EFBIG for a larger one.
    pub fn read_at_most(&self, path: impl AsRef<Path>, limit: u64) -> Result<Vec<u8>> {
        let (step, path) = ("read file", path.as_ref());
        let options = OpenOptions::new().read(true).request();
        let asked = options.unwrap_or(FileRequest::new(wire::FILE_OPEN));
        let (file, answer) = self.root(step, path)?.open(step, path, &asked)?;
        // Read until it is over, not as much as it says: it may grow meanwhile.
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

    /// Makes or empties a regular file and writes `bytes` to it; a new one has mode 0644 and owner 0:0.
    ///
    /// # Errors
    /// Those of open(2) and write(2).
    pub fn write(&self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> Result<()> {
        let mut options = OpenOptions::new();
        self.write_with(path, bytes, options.write(true).create(true).truncate(true))
    }

    /// As [`Files::write`], with other options.
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
        written.map_err(|e| Error::io("write file", quoted(path.as_ref()), e))
    }

    fn stat(&self, step: &'static str, path: &Path, flags: u32) -> Result<dir::Answer> {
        let asked = FileRequest {
            flags,
            ..FileRequest::new(wire::FILE_STAT)
        };
        self.ask(step, path, &asked)
    }

    /// What is known of a file; a symbolic link is followed. Of any file, on any file system.
    ///
    /// # Errors
    /// Those of stat(2).
    pub fn metadata(&self, path: impl AsRef<Path>) -> Result<Metadata> {
        let answer = self.stat("stat", path.as_ref(), wire::FOLLOW)?;
        Ok(Metadata::new(answer.stat))
    }

    /// What is known of a file; of the link itself if it is one.
    ///
    /// # Errors
    /// Those of lstat(2).
    pub fn symlink_metadata(&self, path: impl AsRef<Path>) -> Result<Metadata> {
        let answer = self.stat("stat", path.as_ref(), 0)?;
        Ok(Metadata::new(answer.stat))
    }

    /// Whether there is something at `path`; a symbolic link to nothing is nothing.
    ///
    /// # Errors
    /// Those of stat(2) but ENOENT and ENOTDIR.
    pub fn exists(&self, path: impl AsRef<Path>) -> Result<bool> {
        match self.metadata(path) {
            Err(error) if matches!(error.errno(), Some(libc::ENOENT | libc::ENOTDIR)) => Ok(false),
            found => found.map(|_| true),
        }
    }

    /// Where a symbolic link points.
    ///
    /// # Errors
    /// Those of readlink(2): EINVAL if it is none.
    pub fn read_link(&self, path: impl AsRef<Path>) -> Result<PathBuf> {
        let (step, path) = ("read link", path.as_ref());
        let answer = self.stat(step, path, 0)?;
        match Metadata::new(answer.stat).is_symlink() {
            true => Ok(PathBuf::from(std::ffi::OsString::from_vec(answer.tail))),
            false => Err(Error::os(step, quoted(path), Errno::EINVAL)),
        }
    }

    /// The entries of a directory, in no order.
    ///
    /// # Errors
    /// Those of open(2) and getdents(2).
    pub fn read_dir(&self, path: impl AsRef<Path>) -> Result<ReadDir> {
        let (step, path) = ("read directory", path.as_ref());
        let dir = self.root(step, path)?.enter(step, path, wire::FOLLOW)?;
        Ok(ReadDir::new(step, dir))
    }

    fn make(&self, step: &'static str, path: &Path, asked: &FileRequest<'_>) -> Result<()> {
        self.ask(step, path, asked).map(drop)
    }

    /// Makes a directory with exactly these permission bits, owner 0:0. As with mkdir(2), setuid and
    /// setgid are not among them; [`Files::set_permissions`] sets them.
    ///
    /// # Errors
    /// Those of mkdir(2).
    pub fn create_dir(&self, path: impl AsRef<Path>, mode: u32) -> Result<()> {
        self.make("make directory", path.as_ref(), &directory(mode, 0))
    }

    /// Makes a directory and what is missing above it, all as [`Files::create_dir`] does; one that is
    /// there already stays as it is.
    ///
    /// # Errors
    /// Those of mkdir(2).
    pub fn create_dir_all(&self, path: impl AsRef<Path>, mode: u32) -> Result<()> {
        let (step, path) = ("make directory", path.as_ref());
        let asked = directory(mode, wire::OR_EXISTING);
        let root = self.root(step, path)?;
        // From the longest part that is there on.
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

    /// Removes anything but a directory.
    ///
    /// # Errors
    /// Those of unlink(2).
    pub fn remove_file(&self, path: impl AsRef<Path>) -> Result<()> {
        let asked = FileRequest::new(wire::FILE_REMOVE);
        self.ask("remove file", path.as_ref(), &asked).map(drop)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// Those of rmdir(2).
    pub fn remove_dir(&self, path: impl AsRef<Path>) -> Result<()> {
        let asked = FileRequest {
            flags: wire::DIRECTORY,
            ..FileRequest::new(wire::FILE_REMOVE)
        };
        self.ask("remove directory", path.as_ref(), &asked)
            .map(drop)
    }

    /// Removes a directory, however deep, with all that is in it. Links are removed, not followed; what
    /// is mounted below is an error (EBUSY), not emptied.
    ///
    /// # Errors
    /// Those of unlink(2) and rmdir(2); a part may be gone then.
    pub fn remove_dir_all(&self, path: impl AsRef<Path>) -> Result<()> {
        let (step, path) = ("remove directory", path.as_ref());
        let mut parts = path.as_os_str().as_bytes().split(|b| *b == b'/');
        if matches!(
            parts.rfind(|part| !part.is_empty()),
            None | Some(b"." | b"..")
        ) {
            return Err(Error::os(step, quoted(path), Errno::EINVAL));
        }
        remove::remove_tree(step, &self.root(step, path)?, path)
    }

    fn two(
        &self,
        step: &'static str,
        asked: FileRequest<'_>,
        from: &Path,
        to: &Path,
    ) -> Result<()> {
        self.root(step, to)?;
        let name = c_path(step, to)?;
        let asked = FileRequest { to: &name, ..asked };
        self.ask(step, from, &asked).map(drop)
    }

    /// Renames a file or directory; what is at `to` is replaced.
    ///
    /// # Errors
    /// Those of rename(2).
    pub fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
        let asked = FileRequest::new(wire::FILE_RENAME);
        self.two("rename", asked, from.as_ref(), to.as_ref())
    }

    /// Gives a file a second name; a link is not followed.
    ///
    /// # Errors
    /// Those of link(2).
    pub fn hard_link(&self, original: impl AsRef<Path>, link: impl AsRef<Path>) -> Result<()> {
        let asked = FileRequest::new(wire::FILE_LINK);
        self.two("link", asked, original.as_ref(), link.as_ref())
    }

    /// Makes a symbolic link at `link` to any text.
    ///
    /// # Errors
    /// Those of symlink(2).
    pub fn symlink(&self, target: impl AsRef<Path>, link: impl AsRef<Path>) -> Result<()> {
        let (step, target) = (
            "make symbolic link",
            c_path("make symbolic link", target.as_ref())?,
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
        self.make("make pipe", path.as_ref(), &asked)
    }

    fn set(&self, step: &'static str, path: &Path, flags: u32, set: FileSet<'_>) -> Result<()> {
        let asked = FileRequest {
            flags,
            set,
            ..FileRequest::new(wire::FILE_SET)
        };
        self.ask(step, path, &asked).map(drop)
    }

    /// Changes the permission bits, setuid, setgid and sticky among them; a link is followed.
    ///
    /// # Errors
    /// Those of chmod(2).
    pub fn set_permissions(&self, path: impl AsRef<Path>, mode: u32) -> Result<()> {
        let set = FileSet {
            what: wire::SET_MODE,
            mode,
            ..FileSet::NONE
        };
        self.set("change mode", path.as_ref(), wire::FOLLOW, set)
    }

    /// Changes owner and group, as the sandbox sees them; a link is followed. As for anybody, that
    /// takes setuid and setgid bits away.
    ///
    /// # Errors
    /// Those of chown(2): EINVAL for an id that the sandbox does not have.
    pub fn set_owner(&self, path: impl AsRef<Path>, uid: u32, gid: u32) -> Result<()> {
        let set = owned(Some((uid, gid)), 0);
        self.set("change owner", path.as_ref(), wire::FOLLOW, set)
    }

    /// Changes the time of the last change of its content; a link is followed.
    ///
    /// # Errors
    /// Those of utimensat(2).
    pub fn set_modified(&self, path: impl AsRef<Path>, time: SystemTime) -> Result<()> {
        let set = modified(parts(time));
        self.set("change times", path.as_ref(), wire::FOLLOW, set)
    }
}

/// A user as it is sent; the empty one would be none.
fn c_user(step: &'static str, user: &str) -> Result<CString> {
    let user = if user.is_empty() { "0" } else { user };
    let sent = CString::new(user).ok().filter(|_| !user.contains('\n'));
    sent.ok_or_else(|| {
        let why = format_args!("user {user:?} is no name of passwd(5)");
        Error::new(Kind::Invalid, step, why)
    })
}

/// The request for a directory.
fn directory(mode: u32, flags: u32) -> FileRequest<'static> {
    FileRequest {
        flags,
        mode: libc::S_IFDIR | mode & 0o7777,
        ..FileRequest::new(wire::FILE_MAKE)
    }
}

/// A modification time to be set, in seconds and nanoseconds.
fn modified((seconds, nanoseconds): (i64, u32)) -> FileSet<'static> {
    FileSet {
        what: wire::SET_TIMES,
        mtime: seconds as u64,
        mtime_ns: nanoseconds.into(),
        ..FileSet::NONE
    }
}

fn parts(time: SystemTime) -> (i64, u32) {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => (after.as_secs() as i64, after.subsec_nanos()),
        Err(before) => {
            let before = before.duration();
            match (before.as_secs() as i64, before.subsec_nanos()) {
                (seconds, 0) => (-seconds, 0),
                (seconds, nanoseconds) => (-seconds - 1, 1_000_000_000 - nanoseconds),
            }
        }
    }
}
