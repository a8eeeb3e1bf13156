// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files of the sandbox for the host: each request is a small piece of work
//! without state.
//!
//! The path comes from the host, the links on the path from the sandbox, the
//! power from process 1. Therefore each path is resolved once. A file is opened
//! or changed only after the type of its file system is known to store files.
#![forbid(unsafe_code)]

mod change;

use core::ffi::CStr;

use crate::answer::Answer;
use crate::command::change_ids;
use crate::dir::{self, PATH_MAX};
use crate::fs_types;
use crate::mapping::Mapping;
use crate::message::send;
use crate::sys::{
    self, AT_FDCWD, Errno, Fd, O_CREAT, O_DIRECTORY, O_EXCL, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK,
    O_PATH, Result, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, Stat, mount_id,
};
use crate::user::Users;
use crate::wire::{
    self, Confine, FILE_ANSWER, FILE_ANSWER_MAX, FILE_STAT_BYTES, Field as _, FileAnswer,
    FileRequest, FileStat, Reader,
};
use crate::xattrs;

/// Tries at something that the sandbox changes meanwhile.
const TRIES: u32 = 8;

/// Reason of a refusal, a `FILE_*` number or 0, and the error.
struct Refusal(u32, Errno);

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self(0, errno)
    }
}

const SPECIAL: Refusal = Refusal(wire::FILE_IS_SPECIAL, Errno::INVAL);

type Outcome<T> = core::result::Result<T, Refusal>;

/// Answers file requests.
#[derive(Default)]
pub(crate) struct Files {
    /// Memory for answers, after the first request.
    memory: Option<Mapping>,
}

impl Files {
    /// Executes a request and answers; `proc` is a procfs of this pid
    /// namespace.
    pub(crate) fn serve(&mut self, body: &[u8], fds: &[i32], proc: i32, confine: &Confine<'_>) {
        let Some(socket) = fds.first() else { return };
        if self.memory.is_none() {
            self.memory = Mapping::anonymous(FILE_ANSWER_MAX).ok();
        }
        // Without memory the socket closes, and the host sees that.
        let Some(memory) = &mut self.memory else {
            return;
        };
        let (head, tail) = memory.bytes_mut().split_at_mut(FILE_ANSWER);
        let tail = Answer::new(tail);
        let mut job = Job {
            base: fds.get(1).copied(),
            proc,
            tail,
            count: 0,
            stat: None,
            who: (0, 0),
        };
        let request = FileRequest::get(&mut Reader::new(body)).ok_or(Errno::PROTO);
        let aside = match request {
            // A process for the request is reaped as an orphan.
            Ok(request) if !request.user.is_empty() || job.is_long(&request) => {
                match sys::fork(0, None) {
                    Ok(0) => Ok(true),
                    Ok(_) => return,
                    // Without a new process the work is done here, but never
                    // with more rights than the user's.
                    Err(errno) if !request.user.is_empty() => Err(errno),
                    Err(_) => Ok(false),
                }
            }
            _ => Ok(false),
        };
        let done = aside
            .and(request)
            .map_err(Refusal::from)
            .and_then(|request| {
                job.who = act_as(request.user, confine)?;
                job.run(&request)
            });
        let (why, errno, fd) = match done {
            Ok(fd) => (0, 0, fd),
            Err(Refusal(why, errno)) => (why, errno.0, None),
        };
        let len = if errno == 0 { job.tail.len } else { 0 };
        let answer = FileAnswer {
            code: errno,
            why,
            count: job.count,
            len: len as u32,
            stat: job.stat.as_ref().map(sent).unwrap_or_default(),
        };
        answer.put(&mut &mut *head);
        let bytes = &memory.bytes()[..FILE_ANSWER + len];
        let fd = fd.as_ref().map(Fd::raw);
        // The socket closes with the request, which ends the wait of a host
        // without an answer.
        let _ = send(*socket, bytes, fd.as_slice());
        if aside == Ok(true) {
            sys::exit(0);
        }
    }
}

/// Reduces this process, made for one request, to the rights of a user; returns
/// user and group.
fn act_as(user: &CStr, confine: &Confine<'_>) -> Outcome<(u32, u32)> {
    if user.is_empty() {
        return Ok((0, 0));
    }
    let refused = |why| move |errno| Refusal(why, errno);
    let root = sys::openat(AT_FDCWD, c"/", O_PATH | O_DIRECTORY, 0)?;
    let mut users = Users::new()?;
    let identity = users
        .find(root.raw(), user)
        .map_err(refused(wire::FILE_NO_USER))?;
    change_ids(identity, confine).map_err(refused(wire::FILE_NOT_AS_USER))?;
    // As for a command: no capabilities, or for user 0 the sandbox's.
    let caps = if identity.uid == 0 { confine.caps } else { 0 };
    sys::keep_caps(caps).map_err(refused(wire::FILE_NOT_AS_USER))?;
    Ok((identity.uid, identity.gid))
}

/// Refuses files on file systems that are not known to store files.
fn check_place(fd: i32) -> Outcome<()> {
    match fs_types::is_storage(fd)? {
        true => Ok(()),
        false => Err(Refusal(wire::FILE_IS_KERNELS, Errno::NOTSUP)),
    }
}

/// Returns a state in the form of the wire.
fn sent(stat: &Stat) -> FileStat {
    let [atime, atime_ns, mtime, mtime_ns, ctime, ctime_ns] = stat.times.map(|t| t as u64);
    FileStat {
        dev: stat.dev,
        ino: stat.ino,
        nlink: stat.nlink,
        mode: stat.mode.into(),
        uid: stat.uid.into(),
        gid: stat.gid.into(),
        rdev: stat.rdev,
        size: stat.size as u64,
        blocks: stat.blocks as u64,
        atime,
        atime_ns,
        mtime,
        mtime_ns,
        ctime,
        ctime_ns,
    }
}

/// A request and its answer.
struct Job<'b> {
    /// The directory, or file, that was given.
    base: Option<i32>,
    proc: i32,
    tail: Answer<'b>,
    count: u32,
    stat: Option<Stat>,
    /// User and group whose rights count.
    who: (u32, u32),
}

impl Job<'_> {
    fn run(&mut self, request: &FileRequest<'_>) -> Outcome<Option<Fd>> {
        match request.verb {
            wire::FILE_OPEN => return self.open(request).map(Some),
            wire::FILE_LIST => self.list()?,
            wire::FILE_STAT => self.stat(request)?,
            wire::FILE_MAKE => self.make(request)?,
            wire::FILE_LINK | wire::FILE_RENAME => self.rename(request)?,
            wire::FILE_REMOVE if request.flags & wire::CONTENT != 0 => self.clear(request)?,
            wire::FILE_REMOVE => self.remove(request)?,
            wire::FILE_SET => self.set(request)?,
            wire::FILE_WHO => self.say_who()?,
            _ => return Err(Errno::PROTO.into()),
        }
        Ok(None)
    }

    fn say_who(&mut self) -> Outcome<()> {
        let mut stat = sys::fstatat(AT_FDCWD, c"/")?;
        (stat.uid, stat.gid) = self.who;
        self.stat = Some(stat);
        Ok(())
    }

    /// Returns whether an overlay may have to copy a whole file first, which
    /// must not delay other requests.
    fn is_long(&self, request: &FileRequest<'_>) -> bool {
        const MUCH: i64 = 4 << 20;
        let writes = request.open & (sys::O_WRONLY | sys::O_RDWR) != 0;
        match request.verb {
            wire::FILE_OPEN if writes => {}
            wire::FILE_SET | wire::FILE_LINK if !request.path.is_empty() => {}
            _ => return false,
        }
        let found = self
            .find(request.path, request.flags)
            .and_then(|found| sys::fstatat(found.raw(), c""));
        found.is_ok_and(|stat| stat.is(S_IFREG) && stat.size > MUCH)
    }

    /// Resolves a path; no other function here does.
    fn resolve(&self, path: &CStr, flags: u32, how: u32) -> Result<Fd> {
        let mut links = dir::in_root();
        if how & wire::NO_LINKS != 0 {
            links |= sys::RESOLVE_NO_SYMLINKS;
        }
        if how & wire::ONE_MOUNT != 0 {
            links |= sys::RESOLVE_NO_XDEV;
        }
        let at = |base| sys::openat2(base, path, flags, 0, links);
        match self.base {
            Some(base) => at(base),
            None => at(sys::openat(AT_FDCWD, c"/", O_PATH | O_DIRECTORY, 0)?.raw()),
        }
    }

    /// Finds the file of `path` without opening it.
    fn find(&self, path: &CStr, how: u32) -> Result<Fd> {
        let last = match how & wire::FOLLOW {
            0 => O_NOFOLLOW,
            _ => 0,
        };
        self.resolve(path, O_PATH | last, how)
    }

    /// Finds the directory of `path`, known to store files; puts the last name
    /// into `buffer`.
    fn parent<'n>(&self, path: &CStr, how: u32, buffer: &'n mut [u8]) -> Outcome<(Fd, &'n CStr)> {
        let (parent, name) = dir::split(path);
        match name {
            b"" | b"." | b".." => return Err(Errno::INVAL.into()),
            _ => {}
        }
        let mut place = [0u8; PATH_MAX];
        let parent = if parent.is_empty() { &b"."[..] } else { parent };
        let parent = self.resolve(dir::join(&mut place, &[parent])?, O_PATH | O_DIRECTORY, how)?;
        check_place(parent.raw())?;
        Ok((parent, dir::join(buffer, &[name])?))
    }

    /// Opens a regular file, or a directory where that is asked for.
    fn open(&mut self, request: &FileRequest<'_>) -> Outcome<Fd> {
        let (create, new) = (request.open & O_CREAT != 0, request.open & O_EXCL != 0);
        for _ in 0..TRIES {
            if !(create && new) {
                match self.find(request.path, request.flags) {
                    Err(Errno::NOENT) if create => {}
                    found => return self.open_found(request, &found?),
                }
            }
            match self.create(request) {
                // Another process made the file meanwhile, or the path is a
                // dangling link.
                Err(Refusal(_, Errno::EXIST)) if !new => {}
                other => return other,
            }
        }
        Err(Errno::NOENT.into())
    }

    fn open_found(&mut self, request: &FileRequest<'_>, found: &Fd) -> Outcome<Fd> {
        let stat = sys::fstatat(found.raw(), c"")?;
        match (stat.mode & S_IFMT, request.open & O_DIRECTORY != 0) {
            (S_IFREG, false) | (S_IFDIR, true) => {}
            (S_IFDIR, false) => return Err(Errno::ISDIR.into()),
            (S_IFLNK, false) => return Err(Errno::LOOP.into()),
            (_, true) => return Err(Errno::NOTDIR.into()),
            _ => return Err(SPECIAL),
        }
        check_place(found.raw())?;
        let fd = self.reopen(found, request.open & !(O_CREAT | O_EXCL))?;
        self.opened(&fd, request)?;
        Ok(fd)
    }

    fn create(&mut self, request: &FileRequest<'_>) -> Outcome<Fd> {
        let mut name = [0u8; 256];
        let (parent, name) = self.parent(request.path, request.flags, &mut name)?;
        let flags = request.open | O_CREAT | O_EXCL | O_NOFOLLOW | O_NOCTTY;
        let fd = sys::openat(parent.raw(), name, flags, request.mode & 0o7777)?;
        let stat = sys::fstatat(fd.raw(), c"")?;
        self.apply(&fd, true, &stat, &request.set)?;
        self.count = 1;
        self.opened(&fd, request)?;
        Ok(fd)
    }

    fn opened(&mut self, fd: &Fd, request: &FileRequest<'_>) -> Result<()> {
        self.stat = Some(sys::fstatat(fd.raw(), c"")?);
        match request.flags & wire::WANT_XATTRS {
            0 => Ok(()),
            _ => xattrs::read(fd.raw(), &mut self.tail),
        }
    }

    /// Opens the file of an O_PATH descriptor, without a path. Never waits, not
    /// even for the holder of a lease: see O_NONBLOCK in open(2).
    fn reopen(&self, found: &Fd, flags: u32) -> Result<Fd> {
        let mut name = [0; 21];
        let (fds, name) = self.own_link(found, &mut name)?;
        let fd = sys::openat(fds.raw(), name, flags | O_NONBLOCK | O_NOCTTY, 0)?;
        // A process inside with the right to mount could have mounted on the
        // link.
        match mount_id(found.raw(), c"")? == mount_id(fd.raw(), c"")? {
            true => Ok(fd),
            false => Err(Errno::XDEV),
        }
    }

    /// Finds the link to a descriptor of this process in procfs: opens the
    /// directory, below any mounts on it, and returns the name there.
    fn own_link<'n>(&self, fd: &Fd, name: &'n mut [u8; 21]) -> Result<(Fd, &'n CStr)> {
        let strict = sys::RESOLVE_NO_XDEV | sys::RESOLVE_NO_MAGICLINKS;
        let fds = sys::openat2(self.proc, c"self/fd", O_PATH | O_DIRECTORY, 0, strict)?;
        Ok((fds, dir::numbered(name, b"", fd.raw() as u64)?))
    }

    /// Lists the next entries of the given directory; its descriptor has the
    /// position.
    fn list(&mut self) -> Outcome<()> {
        let base = self.base.ok_or(Errno::BADF)?;
        let (tail, count) = (&mut self.tail, &mut self.count);
        dir::next_entries(base, |name| {
            *count += 1;
            match sys::fstatat(base, name) {
                Err(Errno::NOENT) => Ok(()),
                found => {
                    tail.put_name(name)?;
                    // Zeros: the entry exists, but its state is hidden.
                    let (stat, mut bytes) = (found.as_ref().map(sent), [0; FILE_STAT_BYTES]);
                    stat.unwrap_or_default().put(&mut &mut bytes[..]);
                    tail.put(&bytes)
                }
            }
        })?;
        Ok(())
    }

    fn stat(&mut self, request: &FileRequest<'_>) -> Outcome<()> {
        let found = self.find(request.path, request.flags)?;
        let stat = sys::fstatat(found.raw(), c"")?;
        if stat.is(S_IFLNK) {
            let tail = &mut self.tail;
            let n = sys::readlinkat(found.raw(), c"", &mut tail.bytes[..PATH_MAX])?;
            tail.len = n;
        }
        self.stat = Some(stat);
        Ok(())
    }
}
