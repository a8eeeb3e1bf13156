// SPDX-License-Identifier: MIT OR Apache-2.0
//! The supervisor of calls: counts them, and lets a chosen call fail or be the
//! last.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tare_oracle::filter::{self, Rule};
use tare_oracle::notify::{self, Call, Listener};

use crate::harness::settle::SOON;

/// A system call that does not exist: by this call the host reports its place
/// in the round. The answer is a number.
pub(crate) const MARK: i64 = 4242;

/// A secret of the host, in the environment and so in memory.
pub(crate) const CANARY: &str = "canary-7c31-of-the-host";

/// Calls that affect their own process alone, and calls that end or free
/// something: their failure does not matter, and dying there equals dying at
/// the next call.
const OF_NO_INTEREST: [i64; 24] = [
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fstat,
    libc::SYS_futex,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_mprotect,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_yield,
];

/// Calls that the kernel does not let fail for a reason from outside.
const NEVER_FAIL: [i64; 4] = [
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_umask,
    libc::SYS_wait4,
];

/// The fault at the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The call fails.
    Errno(i32),
    /// The caller is killed before the call.
    Kill,
}

/// A call with a fault.
#[derive(Debug, Clone)]
pub(crate) struct Hit {
    pub(crate) number: i64,
    /// True if the helper uses the call to talk to the host: the failure of
    /// such a call cannot be reported.
    pub(crate) speech: bool,
    pub(crate) comm: String,
    /// True if the caller's memory held the host's secret, which a core or a
    /// reader would have got.
    pub(crate) canary: bool,
}

#[derive(Debug)]
struct State {
    /// The fault and the number of calls before it; `None` outside a round.
    armed: Option<(Fault, usize)>,
    hit: Option<Hit>,
}

/// A host and its supervisor.
pub(crate) struct Supervised {
    pub(crate) host: Child,
    state: Arc<Mutex<State>>,
    listener: Arc<Listener>,
    marks: Receiver<Call>,
}

impl Supervised {
    pub(crate) fn start(command: Command) -> Self {
        let allowed = OF_NO_INTEREST.map(Rule::Allow);
        let rules: Vec<Rule> = allowed.into_iter().chain([Rule::AskRest]).collect();
        let (host, listener) = notify::start(command, filter::program(&rules, 0)).unwrap();
        let state = State {
            armed: None,
            hit: None,
        };
        let state = Arc::new(Mutex::new(state));
        let listener = Arc::new(listener);
        let (sender, marks) = channel();
        let pid = host.id();
        let of_thread = (Arc::clone(&state), Arc::clone(&listener));
        // Ends when no process is left under the filter, or with this process.
        thread::spawn(move || answer_all(pid, &of_thread.0, &of_thread.1, &sender).unwrap());
        Self {
            host,
            state,
            listener,
            marks,
        }
    }

    /// Returns the host's next message, or that no process is left.
    pub(crate) fn hear(&self) -> Option<Call> {
        match self.marks.recv_timeout(SOON * 2) {
            Ok(call) => Some(call),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("hangs: {:?}", self.state()),
        }
    }

    /// Lets the host go on from there.
    pub(crate) fn answer(&self, mark: &Call, value: i64) {
        self.listener.answer(mark, value).unwrap();
    }

    /// Counts calls from now on, and faults the nth.
    pub(crate) fn arm(&self, fault: Fault, nth: usize) {
        let mut state = self.state();
        state.armed = Some((fault, nth));
        state.hit = None;
    }

    /// Stops the faults; returns the call that was hit, if there were as many
    /// calls.
    pub(crate) fn disarm(&self) -> Option<Hit> {
        let mut state = self.state();
        state.armed = None;
        state.hit.clone()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer_all(
    host: u32,
    state: &Mutex<State>,
    listener: &Listener,
    marks: &Sender<Call>,
) -> io::Result<()> {
    while let Some(call) = listener.receive()? {
        if call.number == MARK {
            // After a failed test no supervisor listens.
            let _ = marks.send(call);
            continue;
        }
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.fault_at(host, &call) {
            None => listener.pass(&call)?,
            Some(Fault::Errno(errno)) => listener.refuse(&call, errno)?,
            // The caller dies waiting for the answer.
            Some(Fault::Kill) => {
                let _ = kill(Pid::from_raw(call.pid as i32), Signal::SIGKILL);
            }
        }
    }
    Ok(())
}

impl State {
    fn fault_at(&mut self, host: u32, call: &Call) -> Option<Fault> {
        let (fault, left) = self.armed.as_mut()?;
        if matches!(fault, Fault::Errno(_)) && NEVER_FAIL.contains(&call.number) {
            return None;
        }
        // Threads of the host, possibly several.
        let is_host = fs::exists(format!("/proc/{host}/task/{}", call.pid)).unwrap_or(false);
        let comm = fs::read_to_string(format!("/proc/{}/comm", call.pid)).unwrap_or_default();
        let comm = comm.trim();
        if is_host || !is_helper(host, comm) {
            return None;
        }
        *left -= 1;
        if *left > 0 {
            return None;
        }
        let fault = *fault;
        self.armed = None;
        self.hit = Some(Hit {
            number: call.number,
            speech: is_speech(call),
            comm: comm.to_owned(),
            // Until the exec of the helper, the child is a part of the host.
            canary: !is_of_host(host, comm) && holds(call.pid, CANARY.as_bytes()),
        });
        Some(fault)
    }
}

/// Messages, and bytes written to a pipe or a socket.
fn is_speech(call: &Call) -> bool {
    match call.number {
        libc::SYS_sendmsg | libc::SYS_recvmsg => true,
        libc::SYS_write => fs::read_link(format!("/proc/{}/fd/{}", call.pid, call.arguments[0]))
            .is_ok_and(|path| {
                let path = path.to_string_lossy();
                path.starts_with("pipe:") || path.starts_with("socket:")
            }),
        _ => false,
    }
}

/// Tells a process by its name: the helper's own, the name of the descriptor of
/// its exec, or still the spawning host's. A command has its program's name.
fn is_helper(host: u32, comm: &str) -> bool {
    let numeric = !comm.is_empty() && comm.bytes().all(|b| b.is_ascii_digit());
    numeric || comm.starts_with("tare-") || is_of_host(host, comm)
}

fn is_of_host(host: u32, comm: &str) -> bool {
    let threads = fs::read_dir(format!("/proc/{host}/task"));
    threads.into_iter().flatten().flatten().any(|thread| {
        fs::read_to_string(thread.path().join("comm")).is_ok_and(|name| name.trim() == comm)
    })
}

/// Returns whether a writable page of a process has these bytes.
pub(crate) fn holds(pid: u32, secret: &[u8]) -> bool {
    const PAGE: u64 = 4096;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let open = |file: &str| fs::File::open(format!("/proc/{pid}/{file}")).unwrap();
    let (memory, pagemap) = (open("mem"), open("pagemap"));
    let number = |text: &str| u64::from_str_radix(text, 16).unwrap();
    // proc_pid_pagemap(5): in memory, or in swap. Reading the others would make
    // them.
    let is_there = |page: &u64| {
        let mut entry = [0; 8];
        let read = pagemap.read_at(&mut entry, page / PAGE * 8);
        read.is_ok_and(|n| n == 8) && u64::from_ne_bytes(entry) >> 62 != 0
    };
    let holds = |page: u64| {
        let mut bytes = [0; PAGE as usize];
        let read = memory.read_at(&mut bytes, page).unwrap_or(0);
        let (at, len) = (secret.as_ptr().cast(), secret.len());
        // SAFETY: both with their lengths; memmem(3) is fast without
        // optimization.
        !unsafe { libc::memmem(bytes.as_ptr().cast(), read, at, len) }.is_null()
    };
    let writable = maps.lines().filter(|line| line.contains(" rw"));
    let pages = writable.flat_map(|line| {
        let (begin, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        (number(begin)..number(end)).step_by(PAGE as usize)
    });
    pages.filter(is_there).any(holds)
}
