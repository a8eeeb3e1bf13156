// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who answers the calls: counts them, and lets one of them fail or be the last.

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

/// A system call that there is not: by it the host says where in its round it is. The answer is a number for it.
pub(crate) const MARK: i64 = 4242;

/// A secret of the host: in its environment, and so in its memory.
pub(crate) const CANARY: &str = "canary-7c31-of-the-host";

/// Calls without effect on anything but their own process, and those that end or free something:
/// they cannot fail in a way that matters, and dying there is dying at the next one.
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

/// What happens at the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It fails.
    Errno(i32),
    /// Its caller is killed before it is made.
    Kill,
}

/// A call at which it happened.
#[derive(Debug, Clone)]
pub(crate) struct Hit {
    pub(crate) number: i64,
    /// Whether the helper talks by it to the host: of the failure of such a call nobody can be told.
    pub(crate) speech: bool,
    pub(crate) comm: String,
    /// Whether its memory held the host's secret, which a core or a reader would have got.
    pub(crate) canary: bool,
}

#[derive(Debug)]
struct State {
    /// The fault and how many calls there are to it; none outside a round.
    armed: Option<(Fault, usize)>,
    hit: Option<Hit>,
}

/// A host and who answers it.
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
        // Ends when nobody is left under the filter, or with this process.
        thread::spawn(move || answer_all(pid, &of_thread.0, &of_thread.1, &sender).unwrap());
        Self {
            host,
            state,
            listener,
            marks,
        }
    }

    /// What the host says next, or that nobody is left to say anything.
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

    /// From now on calls are counted, and the nth one has the fault.
    pub(crate) fn arm(&self, fault: Fault, nth: usize) {
        let mut state = self.state();
        state.armed = Some((fault, nth));
        state.hit = None;
    }

    /// No fault any more; what was hit, if there were as many calls.
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
            // Nobody listens any more when the test has failed.
            let _ = marks.send(call);
            continue;
        }
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.fault_at(host, &call) {
            None => listener.pass(&call)?,
            Some(Fault::Errno(errno)) => listener.refuse(&call, errno)?,
            // It dies waiting for the answer.
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
        // Threads of the host, of which there may be several.
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
            // Until it executes the helper, it is a part of the host.
            canary: !is_of_host(host, comm) && holds(call.pid, CANARY.as_bytes()),
        });
        Some(fault)
    }
}

/// Messages, and what is written to a pipe or a socket.
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

/// By its name: its own, that of the descriptor it was executed from, or still that of the host
/// which spawned it. A command has its program's.
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

/// Whether a page of a process that it can write has these bytes.
pub(crate) fn holds(pid: u32, secret: &[u8]) -> bool {
    const PAGE: u64 = 4096;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let open = |file: &str| fs::File::open(format!("/proc/{pid}/{file}")).unwrap();
    let (memory, pagemap) = (open("mem"), open("pagemap"));
    let number = |text: &str| u64::from_str_radix(text, 16).unwrap();
    // proc_pid_pagemap(5): in memory, or in swap. Reading the others would make them.
    let is_there = |page: &u64| {
        let mut entry = [0; 8];
        let read = pagemap.read_at(&mut entry, page / PAGE * 8);
        read.is_ok_and(|n| n == 8) && u64::from_ne_bytes(entry) >> 62 != 0
    };
    let holds = |page: u64| {
        let mut bytes = [0; PAGE as usize];
        let read = memory.read_at(&mut bytes, page).unwrap_or(0);
        let (at, len) = (secret.as_ptr().cast(), secret.len());
        // SAFETY: both with their lengths; unlike a loop, it is fast without optimization.
        !unsafe { libc::memmem(bytes.as_ptr().cast(), read, at, len) }.is_null()
    };
    let writable = maps.lines().filter(|line| line.contains(" rw"));
    let pages = writable.flat_map(|line| {
        let (begin, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        (number(begin)..number(end)).step_by(PAGE as usize)
    });
    pages.filter(is_there).any(holds)
}
