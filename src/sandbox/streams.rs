// SPDX-License-Identifier: MIT OR Apache-2.0
//! Makes the standard streams of a command: the ends for the command, and those
//! that the host keeps.
#![forbid(unsafe_code)]

use std::ffi::CStr;
use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::os::fd::OwnedFd;

use nix::fcntl::OFlag;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{Mode, SFlag, fchmod, fstat};
use nix::unistd::pipe2;

use crate::command::{Stdin, Stdout};
use crate::error::{Error, Result, Step};
use crate::process::Pipes;
use crate::sys::dup::duplicate;
use crate::sys::file_size::WithoutSignal;
use crate::wire;

/// The ends of a command's three streams.
#[derive(Default)]
pub(super) struct Streams {
    /// The ends to send; `None` for `/dev/null`.
    pub(super) theirs: [Option<OwnedFd>; 3],
    pub(super) ours: Pipes,
}

/// Makes the pipes and files that the command's streams ask for.
pub(super) fn streams(stdin: Stdin, stdout: Stdout, stderr: Stdout, ends: Ends) -> Result<Streams> {
    let (in_theirs, stdin) = input(stdin, ends)?;
    let (out_theirs, stdout) = output(stdout, 1, ends)?;
    let (err_theirs, stderr) = match stderr {
        Stdout::Merged => (out_theirs.as_ref().map(copy).transpose()?, None),
        other => output(other, 2, ends)?,
    };
    Ok(Streams {
        theirs: [in_theirs, out_theirs, err_theirs],
        ours: Pipes {
            stdin,
            stdout,
            stderr,
        },
    })
}

/// The users whose open(2) of a pipe's ends, as `/dev/stdout`, must succeed.
#[derive(Clone, Copy)]
pub(super) enum Ends {
    /// The maker, user 0 inside: a new pipe has mode 0600.
    Private,
    /// Any user.
    Open,
}

impl Ends {
    /// Returns the users for a command's pipes. A number names the user; a name
    /// may be any user's, because the image gives the number.
    pub(super) fn of_user(user: &CStr) -> Self {
        match user.to_bytes() {
            b"" | b"0" | b"0:0" => Self::Private,
            _ => Self::Open,
        }
    }

    /// Makes a pipe: the end to read from, and the end to write to.
    pub(super) fn pipe(self) -> Result<(OwnedFd, OwnedFd)> {
        let wrong = |call| move |e| Error::os(Step::StartCommand, call, e);
        let ends = pipe2(OFlag::O_CLOEXEC).map_err(wrong("pipe"))?;
        if let Self::Open = self {
            // Both ends share an inode. Its only name is /proc/PID/fd/N, which
            // opens for tracers of process PID alone, proc_pid_fd(5).
            let anybody = Mode::from_bits_truncate(0o666);
            fchmod(&ends.0, anybody).map_err(wrong("fchmod"))?;
        }
        Ok(ends)
    }
}

/// The command's end and the host's.
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

/// Returns a descriptor to send; `None` for the host's `/dev/null`, because
/// container root could change the mode or owner through the descriptor. The
/// sandbox has a `/dev/null` of its own.
fn not_null(fd: OwnedFd) -> Result<Option<OwnedFd>> {
    let stat = fstat(&fd).map_err(|e| Error::os(Step::StartCommand, "fstat", e))?;
    let device = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFCHR;
    Ok((!device || stat.st_rdev != wire::NULL).then_some(fd))
}

/// Returns a file with these bytes, at its beginning. A pipe would need a
/// thread to fill it, and could raise SIGPIPE in the host.
fn memory(bytes: &[u8]) -> Result<OwnedFd> {
    let wrong = |e| Error::io(Step::StartCommand, "stdin", e);
    let file = memfd_create(c"stdin", MFdFlags::MFD_CLOEXEC)
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

/// Returns a copy of the caller's own standard stream.
fn own(number: i32) -> Result<OwnedFd> {
    duplicate(number).map_err(|e| {
        Error::os(
            Step::StartCommand,
            format_args!("file descriptor {number}"),
            e,
        )
    })
}
