// SPDX-License-Identifier: MIT OR Apache-2.0
//! Answers the calls whose arguments lie in the caller's memory,
//! seccomp_unotify(2).

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitCode};

use libc::sock_filter;
use tare_oracle::filter::Rule;
use tare_oracle::notify::{self, Call};

/// The searched and refused values in the caller's memory.
pub(crate) enum Question {
    /// A key of fsconfig(2).
    Option(Vec<u8>),
    /// The last part of a path to open.
    File(Vec<u8>),
    /// The type given to fsopen(2) and mount(2).
    FileSystem(Vec<u8>),
}

impl Question {
    /// `fsconfig:KEY`, `file:NAME` or `filesystem:NAME`.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        match word.split_once(':')? {
            ("fsconfig", key) => Some(Self::Option(key.into())),
            ("file", name) => Some(Self::File(name.into())),
            ("filesystem", name) => Some(Self::FileSystem(name.into())),
            _ => None,
        }
    }

    /// The calls that have to be asked about.
    pub(crate) fn rules(&self) -> Vec<Rule> {
        match self {
            Self::Option(_) => vec![Rule::Ask(libc::SYS_fsconfig)],
            Self::File(_) => vec![Rule::Ask(libc::SYS_openat), Rule::Ask(libc::SYS_openat2)],
            Self::FileSystem(_) => vec![Rule::Ask(libc::SYS_fsopen), Rule::Ask(libc::SYS_mount)],
        }
    }

    /// The errno for this call, if refused.
    fn verdict(&self, asked: &Call) -> Option<i32> {
        let (index, errno, length) = match (self, asked.number) {
            (Self::Option(key), libc::SYS_fsconfig) => (2, libc::EINVAL, key.len()),
            (Self::File(_), libc::SYS_openat | libc::SYS_openat2) => {
                (1, libc::ENOENT, libc::PATH_MAX as usize)
            }
            (Self::FileSystem(name), libc::SYS_fsopen) => (0, libc::ENODEV, name.len()),
            (Self::FileSystem(name), libc::SYS_mount) => (2, libc::ENODEV, name.len()),
            _ => return None,
        };
        // A call of a process that died, or is closed to this one, is let
        // through.
        let seen = text(asked.pid, asked.arguments[index], length + 1).ok()?;
        let refused = match self {
            Self::Option(name) | Self::FileSystem(name) => seen == *name,
            Self::File(name) => seen.rsplit(|b| *b == b'/').next() == Some(name),
        };
        refused.then_some(errno)
    }
}

/// Reads the memory of `pid` by one call: every open of every test comes here.
fn read_at(pid: u32, address: u64, into: &mut [u8]) -> io::Result<usize> {
    let local = libc::iovec {
        iov_base: into.as_mut_ptr().cast(),
        iov_len: into.len(),
    };
    let remote = libc::iovec {
        iov_base: address as *mut libc::c_void,
        iov_len: into.len(),
    };
    let pid = pid as libc::pid_t;
    // SAFETY: `local` is `into`, which this function has alone; the kernel
    // checks `remote`, which is not of this process.
    let count =
        unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// A NUL-terminated text of at most `length` bytes in the memory of `pid`.
fn text(pid: u32, address: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut seen = Vec::new();
    // Not across a page's end unless the text goes on there.
    while seen.len() < length {
        let at = address + seen.len() as u64;
        let mut page = vec![0; (4096 - at as usize % 4096).min(length - seen.len())];
        let count = read_at(pid, at, &mut page)?;
        match page[..count].iter().position(|b| *b == 0) {
            Some(end) => {
                seen.extend_from_slice(&page[..end]);
                return Ok(seen);
            }
            None if count == 0 => break,
            None => seen.extend_from_slice(&page[..count]),
        }
    }
    Ok(seen)
}

/// Runs `command` under `program` and answers its questions until no process is
/// left; the exit code is the command's.
pub(crate) fn run(
    command: Command,
    program: Vec<sock_filter>,
    questions: &[Question],
) -> Result<ExitCode, String> {
    let name = command.get_program().to_owned();
    let (mut child, listener) =
        notify::start(command, program).map_err(|e| format!("{name:?}: {e}"))?;
    let wrong = |e| format!("listen: {e}");
    while let Some(call) = listener.receive().map_err(wrong)? {
        match questions.iter().find_map(|q| q.verdict(&call)) {
            Some(errno) => listener.refuse(&call, errno),
            None => listener.pass(&call),
        }
        .map_err(wrong)?;
    }
    let status = child.wait().map_err(|e| format!("wait: {e}"))?;
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    Ok(ExitCode::from(code.unwrap_or(125) as u8))
}
