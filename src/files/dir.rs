// SPDX-License-Identifier: MIT OR Apache-2.0
//! Handle of a directory inside, for requests about files below it.
#![forbid(unsafe_code)]

use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::fstat;

use crate::error::{Error, Kind, Result, Step};
use crate::helper::send_request;
use crate::instance::{Instance, no_user};
use crate::sys::poll::is_readable_within;
use crate::sys::socket;
use crate::wire::{
    self, FILE_ANSWER, FILE_ANSWER_MAX, FILE_PATH_MAX, FILE_REQUEST, Field as _, FileAnswer,
    FileRequest, FileStat, Reader,
};

/// Patience with an answer: many times the delay of the slowest disk.
const PATIENCE: Duration = Duration::from_secs(60);

/// Time that a process inside has to give up a lease, fcntl(2).
const LEASE: Duration = Duration::from_secs(2);

/// The sandbox's root, or a directory below it.
#[derive(Debug)]
pub(super) struct DirHandle {
    instance: Arc<Instance>,
    fd: Option<OwnedFd>,
    shown: PathBuf,
    /// User whose rights count; `None` for all rights of the init.
    user: Option<CString>,
}

/// Answer to a request.
pub(super) struct Answer {
    pub(super) stat: FileStat,
    /// See [`FileAnswer`].
    pub(super) count: u32,
    /// Entries, names, attributes or a link's text.
    pub(super) tail: Vec<u8>,
    fd: Option<OwnedFd>,
}

impl DirHandle {
    /// Returns the handle that absolute paths start from.
    pub(super) fn root(instance: Arc<Instance>, user: Option<CString>) -> Self {
        Self {
            instance,
            fd: None,
            shown: PathBuf::new(),
            user,
        }
    }

    /// Opens the directory `path` below this directory.
    pub(super) fn enter(&self, step: Step, path: &Path, flags: u32) -> Result<Self> {
        Ok(self.enter_with(step, path, flags)?.0)
    }

    /// Opens a directory, and returns the answer too.
    pub(super) fn enter_with(&self, step: Step, path: &Path, flags: u32) -> Result<(Self, Answer)> {
        let asked = FileRequest {
            flags,
            open: OFlag::O_DIRECTORY.bits() as u32,
            ..FileRequest::new(wire::FILE_OPEN)
        };
        let mut answer = self.ask(step, path, &asked)?;
        let shown = self.shown(path);
        let fd = answer.fd.take().ok_or_else(|| unclear(step, &shown))?;
        let kind = fstat(&fd).map_err(|e| Error::os(step, quoted(&shown), e))?;
        if kind.st_mode & libc::S_IFMT != libc::S_IFDIR {
            return Err(unclear(step, &shown));
        }
        let dir = Self {
            instance: Arc::clone(&self.instance),
            fd: Some(fd),
            shown,
            user: self.user.clone(),
        };
        Ok((dir, answer))
    }

    /// Returns `path` as errors name it.
    pub(super) fn shown(&self, path: &Path) -> PathBuf {
        match path.as_os_str().is_empty() || path == Path::new(".") {
            true => self.shown.clone(),
            false => self.shown.join(path),
        }
    }

    /// Returns whether the sandbox maps ids other than 0.
    pub(super) fn has_ids(&self) -> bool {
        self.instance.spawner().ids != crate::parts::idmap::Ids::Single
    }

    /// Opens a regular file; the answer's count is 1 if the file is new.
    pub(super) fn open(
        &self,
        step: Step,
        path: &Path,
        asked: &FileRequest<'_>,
    ) -> Result<(File, Answer)> {
        let began = Instant::now();
        let mut answer = loop {
            match self.ask(step, path, asked) {
                Err(error) if error.errno() == Some(libc::EAGAIN) => {
                    if began.elapsed() > LEASE {
                        return Err(Error::os(step, quoted(&self.shown(path)), Errno::EAGAIN)
                            .with_kind(Kind::Busy)
                            .with_cure(
                                "again, or end who holds a lease on it (fcntl F_SETLEASE)",
                            ));
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
                other => break other?,
            }
        };
        let shown = self.shown(path);
        let fd = answer.fd.take().ok_or_else(|| unclear(step, &shown))?;
        checked(&fd, asked.open)
            .map_err(|e| Error::os(step, quoted(&shown), e))?
            .then(|| (File::from(fd), answer))
            .ok_or_else(|| unclear(step, &shown))
    }

    /// Sends a request about `path`.
    pub(super) fn ask(&self, step: Step, path: &Path, asked: &FileRequest<'_>) -> Result<Answer> {
        let name = c_path(step, path)?;
        let asked = FileRequest {
            path: &name,
            ..*asked
        };
        self.send(step, &self.shown(path), &asked, None)
    }

    /// Sends a request about an open file.
    pub(super) fn ask_of(
        &self,
        step: Step,
        path: &Path,
        file: BorrowedFd<'_>,
        asked: &FileRequest<'_>,
    ) -> Result<Answer> {
        self.send(step, &self.shown(path), asked, Some(file))
    }

    fn send(
        &self,
        step: Step,
        shown: &Path,
        asked: &FileRequest<'_>,
        base: Option<BorrowedFd<'_>>,
    ) -> Result<Answer> {
        let wrong = |call| move |e| Error::os(step, call, e);
        let (ours, theirs) = socket::pair().map_err(wrong("socketpair"))?;
        let mut fds = vec![theirs.as_fd()];
        fds.extend(base.or(self.fd.as_ref().map(|fd| fd.as_fd())));
        let asked = FileRequest {
            user: self.user.as_deref().unwrap_or_default(),
            ..*asked
        };
        send_request(
            self.instance.awake(step)?.control(),
            FILE_REQUEST,
            &asked,
            &fds,
        )
        .map_err(|error| match error.kind() {
            Kind::Broken => gone(step),
            _ => error,
        })?;
        drop(theirs);
        if !is_readable_within(ours.as_fd(), PATIENCE).map_err(wrong("poll"))? {
            return Err(wrong("poll")(Errno::ETIMEDOUT));
        }
        let mut bytes = vec![0; FILE_ANSWER_MAX];
        let (n, received) = loop {
            match socket::receive(ours.as_fd(), &mut bytes, false) {
                Err(Errno::EINTR) => {}
                other => break other.map_err(wrong("recvmsg"))?,
            }
        };
        if n == 0 {
            return Err(gone(step));
        }
        bytes.truncate(n);
        let head = FileAnswer::get(&mut Reader::new(&bytes)).ok_or_else(|| unclear(step, shown))?;
        if head.code != 0 {
            return Err(self.refused(step, shown, &head));
        }
        let tail = bytes.split_off(FILE_ANSWER);
        if tail.len() != head.len as usize {
            return Err(unclear(step, shown));
        }
        Ok(Answer {
            stat: head.stat,
            count: head.count,
            tail,
            fd: received.into_iter().next(),
        })
    }

    fn refused(&self, step: Step, path: &Path, head: &FileAnswer) -> Error {
        let errno = Errno::from_raw(head.code);
        let user = self.user.as_deref().unwrap_or_default();
        match head.why {
            wire::FILE_IS_SPECIAL => {
                let why = format_args!("{path:?}, which is a device, a pipe or a socket");
                Error::os(step, why, errno)
                    .with_kind(Kind::Invalid)
                    .with_cure("a command inside, such as cat")
            }
            wire::FILE_IS_KERNELS => {
                let why = format_args!("{path:?}, which is on no file system that stores files");
                Error::os(step, why, errno)
                    .with_kind(Kind::Unsupported)
                    .with_cure("a command inside, such as cat")
            }
            wire::FILE_NO_USER => no_user(Step::LookUpUser, user, errno),
            wire::FILE_NOT_AS_USER => no_user(Step::SetUserAndGroups, user, errno),
            _ => Error::os(step, quoted(path), errno),
        }
    }
}

/// Returns whether the descriptor fits the request: a regular file, opened as
/// asked. Clears O_NONBLOCK, which kept the init from waiting and has no effect
/// on a regular file.
fn checked(fd: &OwnedFd, asked: u32) -> Result<bool, Errno> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    let asked = OFlag::from_bits_retain(asked as i32);
    let right = fstat(fd)?.st_mode & libc::S_IFMT == libc::S_IFREG
        && !flags.contains(OFlag::O_PATH)
        && flags & OFlag::O_ACCMODE == asked & OFlag::O_ACCMODE;
    if right {
        fcntl(fd, FcntlArg::F_SETFL(asked & OFlag::O_APPEND))?;
    }
    Ok(right)
}

/// Returns a path as it is sent.
pub(super) fn c_path(step: Step, path: &Path) -> Result<CString> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() >= FILE_PATH_MAX {
        return Err(Error::os(step, quoted(path), Errno::ENAMETOOLONG));
    }
    CString::new(bytes).map_err(|_| {
        let why = format_args!("{path:?} holds a NUL");
        Error::new(Kind::Invalid, step, why)
    })
}

pub(super) fn quoted(path: &Path) -> String {
    format!("{path:?}")
}

fn gone(step: Step) -> Error {
    Error::new(Kind::Broken, step, "the sandbox is gone").with_cure("open or reset it")
}

/// Returns the error about a malformed answer. The init is inside, so its
/// answers are not trusted.
pub(super) fn unclear(step: Step, path: &Path) -> Error {
    let why = format_args!("{path:?}: the sandbox answers nonsense");
    Error::new(Kind::Broken, step, why)
}

/// Returns a valid name of a directory entry.
pub(super) fn entry_name(name: &CStr) -> Option<&[u8]> {
    let name = name.to_bytes();
    let wrong = matches!(name, b"" | b"." | b"..") || name.contains(&b'/');
    (!wrong).then_some(name)
}
