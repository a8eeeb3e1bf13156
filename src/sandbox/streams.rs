// SPDX-License-Identifier: MIT OR Apache-2.0
//! The standard streams of a command: the ends that it gets, and those that the
//! host keeps.
#![forbid(unsafe_code)]

use std::ffi::CStr;
use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};

use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, SFlag, fchmod, fstat};
use nix::unistd::pipe2;

use crate::command::{Stdin, Stdout};
use crate::error::{Error, Result, Step};
use crate::sys::file_size::WithoutSignal;
use crate::wire;

/// The ends of a command's three streams: theirs are sent, none for
/// `/dev/null`; ours are kept.
#[derive(Default)]
pub(super) struct Streams {
    pub(super) theirs: [Option<OwnedFd>; 3],
    pub(super) stdin: Option<OwnedFd>,
    pub(super) stdout: Option<OwnedFd>,
    pub(super) stderr: Option<OwnedFd>,
}

/// Makes what there is none of yet.
pub(super) fn streams(stdin: Stdin, stdout: Stdout, stderr: Stdout, ends: Ends) -> Result<Streams> {
    let (in_theirs, stdin) = input(stdin, ends)?;
    let (out_theirs, stdout) = output(stdout, 1, ends)?;
    let (err_theirs, stderr) = match stderr {
        Stdout::Merged => (out_theirs.as_ref().map(copy).transpose()?, None),
        other => output(other, 2, ends)?,
    };
    Ok(Streams {
        theirs: [in_theirs, out_theirs, err_theirs],
        stdin,
        stdout,
        stderr,
    })
}

/// Whose `open` of a pipe's ends, as `/dev/stdout`, must succeed.
#[derive(Clone, Copy)]
pub(super) enum Ends {
    /// The maker's, who is user 0 inside: a new pipe has mode 0600.
    Private,
    /// Any user's.
    Open,
}

impl Ends {
    /// Those of a command's pipes. A name may be any user's, since the image
    /// says whose, but a number says so itself.
    pub(super) fn of_user(user: &CStr) -> Self {
        match user.to_bytes() {
            b"" | b"0" | b"0:0" => Self::Private,
            _ => Self::Open,
        }
    }

    /// Makes a pipe: the end to read from, and the one to write to.
    pub(super) fn pipe(self) -> Result<(OwnedFd, OwnedFd)> {
        let wrong = |call| move |e| Error::os(Step::StartCommand, call, e);
        let ends = pipe2(OFlag::O_CLOEXEC).map_err(wrong("pipe"))?;
        if let Self::Open = self {
            // One inode for both ends. It has no name but /proc/PID/fd/N, which
            // opens only for who may trace process PID, proc_pid_fd(5).
            let anybody = Mode::from_bits_truncate(0o666);
            fchmod(&ends.0, anybody).map_err(wrong("fchmod"))?;
        }
        Ok(ends)
    }
}

/// Theirs and ours.
type Pair = (Option<OwnedFd>, Option<OwnedFd>);

fn input(stdin: Stdin, ends: Ends) -> Result<Pair> {
    match stdin {
        Stdin::Null => Ok((None, None)),
        Stdin::Inherit => Ok((not_null(own(0)?)?, None)),
        Stdin::Fd(fd) => Ok((not_null(fd)?, None)),
        Stdin::Bytes(bytes) => Ok((Some(memory(&bytes)?), None)),
        Stdin::Piped => {
            let (read, write) = ends.pipe()?;
            Ok((Some(read), Some(write)))
        }
    }
}

fn output(stdout: Stdout, number: i32, ends: Ends) -> Result<Pair> {
    match stdout {
        Stdout::Null => Ok((None, None)),
        Stdout::Inherit => Ok((not_null(own(number)?)?, None)),
        Stdout::Fd(fd) => Ok((not_null(fd)?, None)),
        Stdout::Merged => unreachable!("it is no place of its own: `Command::validate`"),
        Stdout::Piped => {
            let (read, write) = ends.pipe()?;
            Ok((Some(write), Some(read)))
        }
    }
}

/// What is sent of it: nothing of the host's `/dev/null`, which container root
/// could give another mode or owner through its descriptor. The sandbox has its
/// own.
fn not_null(fd: OwnedFd) -> Result<Option<OwnedFd>> {
    let stat = fstat(&fd).map_err(|e| Error::os(Step::StartCommand, "fstat", e))?;
    let device = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFCHR;
    Ok((!device || stat.st_rdev != wire::NULL).then_some(fd))
}

/// Bytes as a file at its beginning: no pipe that a thread would have to fill,
/// no SIGPIPE in the host.
fn memory(bytes: &[u8]) -> Result<OwnedFd> {
    let wrong = |e| Error::io(Step::StartCommand, "stdin", e);
    let flags = nix::sys::memfd::MFdFlags::MFD_CLOEXEC;
    let file = nix::sys::memfd::memfd_create(c"stdin", flags)
        .map_err(|e| Error::os(Step::StartCommand, "memfd_create", e))?;
    let _without = WithoutSignal::begin();
    let mut file = File::from(file);
    file.write_all(bytes).map_err(wrong)?;
    file.rewind().map_err(wrong)?;
    Ok(file.into())
}

fn copy(fd: &OwnedFd) -> Result<OwnedFd> {
    fd.try_clone()
        .map_err(|e| Error::io(Step::StartCommand, "dup", e))
}

/// The caller's own standard stream.
fn own(number: i32) -> Result<OwnedFd> {
    let wrong = |e| {
        Error::io(
            Step::StartCommand,
            format_args!("file descriptor {number}"),
            e,
        )
    };
    match number {
        0 => std::io::stdin().as_fd().try_clone_to_owned().map_err(wrong),
        1 => std::io::stdout()
            .as_fd()
            .try_clone_to_owned()
            .map_err(wrong),
        _ => std::io::stderr()
            .as_fd()
            .try_clone_to_owned()
            .map_err(wrong),
    }
}
