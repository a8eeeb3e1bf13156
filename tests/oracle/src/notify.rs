// SPDX-License-Identifier: MIT OR Apache-2.0
//! A command that asks before it makes system calls, and who answers it: seccomp_unotify(2).

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::thread;

use libc::{seccomp_notif, seccomp_notif_resp, sock_filter};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::filter::install_with;

/// A call that waits for its answer.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    id: u64,
    /// The thread that makes it.
    pub pid: u32,
    /// Number of the call.
    pub number: i64,
    /// Its six arguments.
    pub arguments: [u64; 6],
}

/// Where the calls of a command and its children arrive. When it is dropped, those calls do not exist any more.
#[derive(Debug)]
pub struct Listener(OwnedFd);

impl Listener {
    /// Waits for the next call; `None` when nobody is left who could make one.
    ///
    /// # Errors
    /// Those of the listener.
    pub fn receive(&self) -> io::Result<Option<Call>> {
        loop {
            let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::NONE)?;
            let events = fds[0].revents().unwrap_or(PollFlags::empty());
            if !events.contains(PollFlags::POLLIN) && events.contains(PollFlags::POLLHUP) {
                return Ok(None);
            }
            // SAFETY: plain numbers, for which zero is a value.
            let mut asked: seccomp_notif = unsafe { std::mem::zeroed() };
            let fd = self.0.as_raw_fd();
            // SAFETY: `asked` is what this request fills.
            if unsafe { libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut asked) } == 0 {
                return Ok(Some(Call {
                    id: asked.id,
                    pid: asked.pid,
                    number: asked.data.nr.into(),
                    arguments: asked.data.args,
                }));
            }
            ignore_gone()?;
        }
    }

    /// Lets the kernel do what was asked for.
    ///
    /// # Errors
    /// Those of the listener; not that the caller is gone.
    pub fn pass(&self, call: &Call) -> io::Result<()> {
        self.send(call, 0, 0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32)
    }

    /// Makes the call fail, without doing anything.
    ///
    /// # Errors
    /// As [`Listener::pass`].
    pub fn refuse(&self, call: &Call, errno: i32) -> io::Result<()> {
        self.send(call, 0, -errno, 0)
    }

    /// Makes the call return `value`, without doing anything.
    ///
    /// # Errors
    /// As [`Listener::pass`].
    pub fn answer(&self, call: &Call, value: i64) -> io::Result<()> {
        self.send(call, value, 0, 0)
    }

    fn send(&self, call: &Call, val: i64, error: i32, flags: u32) -> io::Result<()> {
        let id = call.id;
        let reply = seccomp_notif_resp {
            id,
            val,
            error,
            flags,
        };
        let fd = self.0.as_raw_fd();
        // SAFETY: `reply` is what this request reads.
        match unsafe { libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_SEND, &raw const reply) } {
            0 => Ok(()),
            _ => ignore_gone(),
        }
    }
}

/// Starts `command` under `program`. The listener appears in the child, which
/// closes it when it becomes the command; a thread fetches it from there first,
/// while `spawn` waits for just that.
///
/// # Errors
/// Those of starting it, and of seccomp(2).
///
/// # Panics
/// Never; a thread that is waited for does not.
pub fn start(mut command: Command, mut program: Vec<sock_filter>) -> io::Result<(Child, Listener)> {
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
    Ok((child?, Listener(listener?)))
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

/// Who asked was killed, or interrupted and asks again.
fn ignore_gone() -> io::Result<()> {
    match io::Error::last_os_error() {
        e if [Some(libc::ENOENT), Some(libc::EINTR)].contains(&e.raw_os_error()) => Ok(()),
        e => Err(e),
    }
}
