// SPDX-License-Identifier: MIT OR Apache-2.0
//! A command that asks before it makes system calls, and its supervisor:
//! seccomp_unotify(2).

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use libc::{seccomp_notif, seccomp_notif_resp, sock_filter};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::filter::install_with;

/// A call that waits for its answer.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    id: u64,
    /// The calling thread.
    pub pid: u32,
    /// Number of the call.
    pub number: i64,
    /// The six arguments.
    pub arguments: [u64; 6],
}

/// Receives the calls of a command and its children. When it is dropped, those
/// calls do not exist any more.
#[derive(Debug)]
pub struct Listener(OwnedFd);

impl Listener {
    /// Waits for the next call; `None` when no process is left.
    ///
    /// # Errors
    /// Those of the listener.
    pub fn receive(&self) -> io::Result<Option<Call>> {
        self.wait(PollTimeout::NONE)
    }

    /// The same, but also `None` when these milliseconds have passed.
    fn receive_within(&self, ms: u8) -> io::Result<Option<Call>> {
        self.wait(ms.into())
    }

    fn wait(&self, patience: PollTimeout) -> io::Result<Option<Call>> {
        loop {
            let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
            poll(&mut fds, patience)?;
            let events = fds[0].revents().unwrap_or(PollFlags::empty());
            if !events.contains(PollFlags::POLLIN) {
                return Ok(None);
            }
            // SAFETY: plain numbers, all of which may be zero.
            let mut asked: seccomp_notif = unsafe { std::mem::zeroed() };
            let fd = self.0.as_raw_fd();
            // SAFETY: this request fills `asked`.
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

    /// Lets the kernel do the call.
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
        // SAFETY: this request reads `reply`.
        match unsafe { libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_SEND, &raw const reply) } {
            0 => Ok(()),
            _ => ignore_gone(),
        }
    }
}

/// Starts `command` under `program`, and answers its questions until the exec.
///
/// # Errors
/// Calls of the start, and of seccomp(2).
///
/// # Panics
/// When no thread can be made.
pub fn start(mut command: Command, mut program: Vec<sock_filter>) -> io::Result<(Child, Listener)> {
    let (told, tell) = io::pipe()?;
    let (wait, fetched) = io::pipe()?;
    let (tell_raw, wait_raw) = (tell.as_raw_fd(), wait.as_raw_fd());
    // SAFETY: only system calls on memory that was there before the fork.
    unsafe { command.pre_exec(move || offer(&mut program, tell_raw, wait_raw)) };
    let started = AtomicBool::new(false);
    thread::scope(|scope| {
        let fetch = scope.spawn(|| -> io::Result<Listener> {
            let listener = fetch(told, fetched, &started)?;
            // The child may ask before its exec, for which `spawn` waits.
            while !started.load(Ordering::Acquire) {
                if let Some(call) = listener.receive_within(1)? {
                    listener.pass(&call)?;
                }
            }
            Ok(listener)
        });
        let child = command.spawn();
        started.store(true, Ordering::Release);
        // The thread sees the end of the pipe if no child ever wrote.
        drop(tell);
        let listener = fetch.join().expect("the thread does not panic");
        Ok((child?, listener?))
    })
}

/// In the child: sends its number, installs the filter, waits until the
/// listener was fetched, which the exec closes.
fn offer(program: &mut [sock_filter], tell: RawFd, wait: RawFd) -> io::Result<()> {
    // SAFETY: takes nothing.
    let pid = unsafe { libc::getpid() }.to_ne_bytes();
    // SAFETY: the buffer has the length that is given.
    if unsafe { libc::write(tell, pid.as_ptr().cast(), pid.len()) } != pid.len() as isize {
        return Err(io::Error::last_os_error());
    }
    install_with(program, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER)?;
    // SAFETY: the buffer has the length that is given.
    match unsafe { libc::read(wait, [0u8].as_mut_ptr().cast(), 1) } {
        1 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Takes the listener out of the child, as soon as possible.
fn fetch(
    mut told: io::PipeReader,
    mut fetched: io::PipeWriter,
    started: &AtomicBool,
) -> io::Result<Listener> {
    use std::io::{Read as _, Write as _};
    let mut pid = [0; 4];
    told.read_exact(&mut pid)?;
    let pid = i32::from_ne_bytes(pid);
    let number = loop {
        if let Some(number) = find(pid) {
            break number;
        }
        if started.load(Ordering::Acquire) {
            // The filter could not be installed.
            return Err(io::ErrorKind::NotFound.into());
        }
        thread::yield_now();
    };
    let call = |call, a: i32, b: i32| {
        // SAFETY: both calls take numbers only and answer a new descriptor.
        let fd = unsafe { libc::syscall(call, a, b, 0) };
        match fd {
            0.. => {
                // SAFETY: the kernel just made the descriptor, which has no
                // other owner.
                Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
            }
            _ => Err(io::Error::last_os_error()),
        }
    };
    let pidfd = call(libc::SYS_pidfd_open, pid, 0)?;
    let listener = call(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), number)?;
    // KERNEL(6.6): caller and listener take turns on one processor. An older
    // kernel refuses that, and answers take longer.
    const SYNC_WAKE_UP: u64 = 1;
    // SAFETY: the request takes a number.
    unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS,
            SYNC_WAKE_UP,
        )
    };
    fetched.write_all(b"x")?;
    Ok(Listener(listener))
}

/// The number that the listener has in the child.
fn find(pid: i32) -> Option<i32> {
    let mut entries = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
    let is_listener = |path: &Path| {
        fs::read_link(path).is_ok_and(|to| to.as_os_str() == "anon_inode:seccomp notify")
    };
    let entry = entries.find(|entry| is_listener(&entry.path()))?;
    entry.file_name().to_str()?.parse().ok()
}

/// The asker was killed, or interrupted and asks again.
fn ignore_gone() -> io::Result<()> {
    match io::Error::last_os_error() {
        e if [Some(libc::ENOENT), Some(libc::EINTR)].contains(&e.raw_os_error()) => Ok(()),
        e => Err(e),
    }
}
