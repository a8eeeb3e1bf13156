// SPDX-License-Identifier: MIT OR Apache-2.0
//! Answers the calls whose arguments lie in the caller's memory, seccomp_unotify(2).

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitCode};
use std::thread;

use libc::{seccomp_notif, seccomp_notif_resp, sock_filter};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::filter::{Rule, install_with};

/// What is looked for in the caller's memory, and refused.
pub(crate) enum Question {
    /// A key of fsconfig(2).
    Option(Vec<u8>),
    /// The last part of a path to open.
    File(Vec<u8>),
}

impl Question {
    /// `fsconfig:KEY` or `file:NAME`.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        match word.split_once(':')? {
            ("fsconfig", key) => Some(Self::Option(key.into())),
            ("file", name) => Some(Self::File(name.into())),
            _ => None,
        }
    }

    /// The calls that have to be asked about.
    pub(crate) fn rules(&self) -> Vec<Rule> {
        match self {
            Self::Option(_) => vec![Rule::Ask(libc::SYS_fsconfig)],
            Self::File(_) => vec![Rule::Ask(libc::SYS_openat), Rule::Ask(libc::SYS_openat2)],
        }
    }

    /// The errno for this call, if it is refused.
    fn verdict(&self, asked: &seccomp_notif) -> Option<i32> {
        let (index, errno, length) = match self {
            Self::Option(key) => (2, libc::EINVAL, key.len()),
            Self::File(_) => (1, libc::ENOENT, libc::PATH_MAX as usize),
        };
        let opens = i64::from(asked.data.nr) != libc::SYS_fsconfig;
        if opens != matches!(self, Self::File(_)) {
            return None;
        }
        // Who died meanwhile, or cannot be looked into, is let through.
        let seen = text(asked.pid, asked.data.args[index], length + 1).ok()?;
        let refused = match self {
            Self::Option(key) => seen == *key,
            Self::File(name) => seen.rsplit(|b| *b == b'/').next() == Some(name),
        };
        refused.then_some(errno)
    }
}

/// A NUL-terminated text of at most `length` bytes in the memory of `pid`.
fn text(pid: u32, address: u64, length: usize) -> io::Result<Vec<u8>> {
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    let mut seen = Vec::new();
    // Not across a page's end unless the text goes on there.
    while seen.len() < length {
        let at = address + seen.len() as u64;
        let mut page = vec![0; (4096 - at as usize % 4096).min(length - seen.len())];
        let count = memory.read_at(&mut page, at)?;
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

/// Runs `command` under `program` and answers its questions until nobody is
/// left who could ask; the exit code is the command's.
pub(crate) fn run(
    command: Command,
    program: Vec<sock_filter>,
    questions: &[Question],
) -> Result<ExitCode, String> {
    let name = command.get_program().to_owned();
    let (mut child, listener) = start(command, program).map_err(|e| format!("{name:?}: {e}"))?;
    serve(&listener, questions).map_err(|e| format!("listen: {e}"))?;
    let status = child.wait().map_err(|e| format!("wait: {e}"))?;
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    Ok(ExitCode::from(code.unwrap_or(125) as u8))
}

/// Starts `command` under `program`. The listener appears in the child, which
/// closes it when it becomes the command; a thread fetches it from there first,
/// while `spawn` waits for just that.
fn start(mut command: Command, mut program: Vec<sock_filter>) -> io::Result<(Child, OwnedFd)> {
    let (told_read, told) = io::pipe()?;
    let (fetched, fetched_write) = io::pipe()?;
    let fetch = thread::spawn(move || fetch(told_read, fetched_write));
    let (tell, wait) = (told.as_raw_fd(), fetched.as_raw_fd());
    // SAFETY: only system calls on memory that was there before the fork.
    unsafe { command.pre_exec(move || offer(&mut program, tell, wait)) };
    let child = command.spawn();
    // The thread sees the end of the pipe when no child ever wrote to it.
    drop(told);
    let listener = fetch.join().expect("the thread does not panic");
    Ok((child?, listener?))
}

/// In the child: installs the filter, tells who has the listener as which
/// number, waits until it was fetched.
fn offer(program: &mut [sock_filter], tell: RawFd, wait: RawFd) -> io::Result<()> {
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    let listener = install_with(program, flags)?;
    // SAFETY: takes nothing.
    let pid = unsafe { libc::getpid() };
    let mut message = [0; 8];
    message[..4].copy_from_slice(&pid.to_ne_bytes());
    message[4..].copy_from_slice(&listener.to_ne_bytes());
    // SAFETY: both buffers have the length that is given.
    let done = unsafe {
        libc::write(tell, message.as_ptr().cast(), 8) == 8
            && libc::read(wait, message.as_mut_ptr().cast(), 1) == 1
    };
    match done {
        true => Ok(()),
        false => Err(io::Error::last_os_error()),
    }
}

/// In the parent's thread: takes the listener out of the child.
fn fetch(mut told: io::PipeReader, mut fetched: io::PipeWriter) -> io::Result<OwnedFd> {
    use std::io::{Read as _, Write as _};
    let mut message = [0; 8];
    told.read_exact(&mut message)?;
    let (pid, number) = message.split_at(4);
    let number_of = |bytes: &[u8]| i32::from_ne_bytes(bytes.try_into().expect("four bytes"));
    let (pid, number) = (number_of(pid), number_of(number));
    let call = |call, a: i32, b: i32| {
        // SAFETY: both calls take numbers only and answer a new descriptor.
        let fd = unsafe { libc::syscall(call, a, b, 0) };
        match fd {
            0.. => {
                // SAFETY: the kernel just made it; nobody else has it.
                Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
            }
            _ => Err(io::Error::last_os_error()),
        }
    };
    let pidfd = call(libc::SYS_pidfd_open, pid, 0)?;
    let listener = call(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), number)?;
    fetched.write_all(b"x")?;
    Ok(listener)
}

/// Answers until the last process that has the filter is gone.
fn serve(listener: &OwnedFd, questions: &[Question]) -> io::Result<()> {
    use std::os::fd::AsFd as _;
    loop {
        let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::NONE)?;
        let events = fds[0].revents().unwrap_or(PollFlags::empty());
        if events.contains(PollFlags::POLLIN) {
            answer(listener, questions)?;
        } else if events.contains(PollFlags::POLLHUP) {
            return Ok(());
        }
    }
}

fn answer(listener: &OwnedFd, questions: &[Question]) -> io::Result<()> {
    // SAFETY: plain numbers, for which zero is a value.
    let mut asked: seccomp_notif = unsafe { std::mem::zeroed() };
    let fd = listener.as_raw_fd();
    // SAFETY: `asked` is what this request fills.
    if unsafe { libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut asked) } != 0 {
        return ignore_gone();
    }
    let errno = questions.iter().find_map(|q| q.verdict(&asked));
    let reply = seccomp_notif_resp {
        id: asked.id,
        val: 0,
        error: -errno.unwrap_or(0),
        flags: match errno {
            Some(_) => 0,
            None => libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
        },
    };
    // SAFETY: `reply` is what this request reads.
    if unsafe { libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_SEND, &raw const reply) } != 0 {
        return ignore_gone();
    }
    Ok(())
}

/// Who asked was killed, or interrupted and asks again.
fn ignore_gone() -> io::Result<()> {
    match io::Error::last_os_error() {
        e if [Some(libc::ENOENT), Some(libc::EINTR)].contains(&e.raw_os_error()) => Ok(()),
        e => Err(e),
    }
}
