// SPDX-License-Identifier: MIT OR Apache-2.0
//! Making and reaping processes: clone3(2) both ways, wait4(2).

use core::arch::asm;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::sys::{self, Errno, Result, nr, sys};

/// clone3(2)'s `struct clone_args`.
#[repr(C)]
#[derive(Default)]
pub(crate) struct CloneArgs {
    pub(crate) flags: u64,
    pub(crate) pidfd: u64,
    pub(crate) child_tid: u64,
    pub(crate) parent_tid: u64,
    pub(crate) exit_signal: u64,
    pub(crate) stack: u64,
    pub(crate) stack_size: u64,
    pub(crate) tls: u64,
    pub(crate) set_tid: u64,
    pub(crate) set_tid_size: u64,
    pub(crate) cgroup: u64,
}

impl CloneArgs {
    /// A child that its parent hears of by SIGCHLD.
    pub(crate) fn child(flags: u64) -> Self {
        Self {
            flags,
            exit_signal: u64::from(sys::SIGCHLD),
            ..Self::default()
        }
    }
}

pub(crate) const CLONE_VM: u64 = 0x100;
pub(crate) const CLONE_FILES: u64 = 0x400;
pub(crate) const CLONE_PIDFD: u64 = 0x1000;
pub(crate) const CLONE_CHILD_CLEARTID: u64 = 0x20_0000;
pub(crate) const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// A child with a copy of the memory, as fork(2) makes: 0 in the child, its pid in the parent.
pub(crate) fn fork(args: &CloneArgs) -> Result<i32> {
    match sys!(
        nr::CLONE3,
        core::ptr::from_ref(args),
        size_of::<CloneArgs>()
    ) {
        // clone3 is older than our floor, but an outer filter may hide it.
        Err(Errno::NOSYS) if args.flags & CLONE_INTO_CGROUP == 0 => {
            let flags = args.flags | args.exit_signal;
            sys!(nr::CLONE, flags, 0, args.pidfd, 0, 0).map(|pid| pid as i32)
        }
        other => other.map(|pid| pid as i32),
    }
}

/// What became of a child that shares the memory.
pub(crate) struct Shared {
    pub(crate) pid: i32,
    /// It did neither execute nor end in time, and was killed.
    pub(crate) late: bool,
}

/// Starts `run(argument)` in a child that shares the memory, and waits until it has executed
/// another program or ended. `stack` must be big enough for `run`.
///
/// As vfork(2), but for the time: a child that somebody stops from inside the sandbox would
/// stop the caller, too, and with it every timeout. `meanwhile` is called once, as soon as there is a child: where
/// the caller sleeps until something else wants it, the exec need not wake it.
pub(crate) fn share(
    args: &CloneArgs,
    stack: &mut [u8],
    run: extern "C" fn(usize) -> !,
    argument: usize,
    deadline_ns: u64,
    meanwhile: impl FnOnce(),
) -> Result<Shared> {
    // The kernel clears it when the child lets go of the memory.
    let busy = AtomicU32::new(1);
    let args = CloneArgs {
        flags: args.flags | CLONE_VM | CLONE_CHILD_CLEARTID,
        child_tid: busy.as_ptr() as u64,
        stack: stack.as_mut_ptr() as u64,
        stack_size: (stack.len() & !15) as u64,
        ..*args
    };
    const NOSYS: isize = -(Errno::NOSYS.0 as isize);
    /// Whether some clone3 was refused: the sandboxes' own program does that, as other engines' do.
    static REFUSED: AtomicBool = AtomicBool::new(false);
    let legacy = args.flags & CLONE_INTO_CGROUP == 0;
    let modern = [&raw const args as usize, size_of::<CloneArgs>(), 0, 0];
    let mut ret = NOSYS;
    if !legacy || !REFUSED.load(Ordering::Relaxed) {
        ret = share_raw(nr::CLONE3, modern, run, argument);
    }
    if ret == NOSYS && legacy {
        REFUSED.store(true, Ordering::Relaxed);
        let flags = args.flags | args.exit_signal;
        let top = args.stack + args.stack_size;
        let legacy = [flags, top, args.pidfd, args.child_tid].map(|a| a as usize);
        ret = share_raw(nr::CLONE, legacy, run, argument);
    }
    let pid = match ret {
        -4095..=-1 => return Err(Errno(-ret as i32)),
        pid => pid as i32,
    };
    meanwhile();
    let mut late = false;
    while busy.load(Ordering::Acquire) != 0 {
        let left = deadline_ns.saturating_sub(sys::now_ns());
        if left == 0 && !late {
            late = true;
            // It is our child and not yet reaped, so the pid is its own.
            let _ = sys::kill(pid, sys::SIGKILL);
        }
        // Killed, it is gone soon, but this frame may not go before it.
        let left = if late { 1_000_000 } else { left };
        let time = [left / 1_000_000_000, left % 1_000_000_000];
        // FUTEX_WAIT; why it came back, the loop finds out.
        let _ = sys!(nr::FUTEX, busy.as_ptr(), 0, 1, time.as_ptr());
    }
    Ok(Shared { pid, late })
}

/// Runs `run(argument)` in a thread on this stack, address and length, which is the thread's from then on. Whether there is one.
pub(crate) fn thread(
    (at, len): (usize, usize),
    run: extern "C" fn(usize) -> !,
    argument: usize,
) -> bool {
    // CLONE_FS, CLONE_SIGHAND, CLONE_THREAD, CLONE_SYSVSEM
    let flags = CLONE_VM | CLONE_FILES | 0x200 | 0x800 | 0x1_0000 | 0x4_0000;
    share_raw(nr::CLONE, [flags as usize, at + len, 0, 0], run, argument) >= 0
}

/// The end of such a thread.
pub(crate) fn end_thread() -> ! {
    loop {
        // This thread alone.
        let _ = sys!(nr::EXIT, 0);
    }
}

/// clone(2) or clone3(2) with shared memory: `run(argument)` in the child, its pid or an error here.
fn share_raw(nr: usize, a: [usize; 4], run: extern "C" fn(usize) -> !, argument: usize) -> isize {
    let ret: isize;
    // SAFETY: the child has a stack of its own and never returns from `run`. While it has this memory, nobody else
    // touches what it uses: `share` waits until it lets the memory go, and the threads of `confined` take turns.
    unsafe {
        asm!("syscall", "test rax, rax", "jnz 2f", "xor ebp, ebp", "mov rdi, r13", "call r12", "ud2", "2:",
             inlateout("rax") nr as isize => ret, in("rdi") a[0], in("rsi") a[1], in("rdx") a[2], in("r10") a[3], in("r8") 0,
             in("r12") run, in("r13") argument, lateout("rcx") _, lateout("r11") _);
    }
    ret
}

/// getrusage(2)'s structure: user and system time, then fourteen numbers.
#[repr(C)]
#[derive(Default, Clone, Copy)]
pub(crate) struct Rusage {
    user: [u64; 2],
    system: [u64; 2],
    rest: [u64; 14],
}

impl Rusage {
    pub(crate) fn user_us(&self) -> u64 {
        self.user[0] * 1_000_000 + self.user[1]
    }

    pub(crate) fn system_us(&self) -> u64 {
        self.system[0] * 1_000_000 + self.system[1]
    }

    pub(crate) fn max_rss_kib(&self) -> u64 {
        self.rest[0]
    }

    pub(crate) fn blocks_in(&self) -> u64 {
        self.rest[7]
    }

    pub(crate) fn blocks_out(&self) -> u64 {
        self.rest[8]
    }
}

/// Low byte of a wait status that tells a stop, not an end: WIFSTOPPED of
/// wait(2).
const STOPPED: u32 = 0x7f;

/// A dead child.
pub(crate) struct Dead {
    pub(crate) pid: i32,
    /// As wait(2) encodes it.
    pub(crate) status: u32,
    pub(crate) usage: Rusage,
}

/// Waits for this child's end: its exit code; EOWNERDEAD if a signal ended it.
pub(crate) fn reap_one(pid: i32) -> Result<i32> {
    let mut status = 0u32;
    // A child of the spawner runs no program of others, so never reports a
    // stop.
    while let Err(errno) = sys!(nr::WAIT4, pid, &raw mut status, 0, 0) {
        if errno != Errno::INTR {
            return Err(errno);
        }
    }
    match status & 0x7f {
        0 => Ok((status >> 8 & 0xff) as i32),
        _ => Err(Errno(130)),
    }
}

/// Reaps one dead child; `None` if none is dead yet.
pub(crate) fn reap(block: bool) -> Result<Option<Dead>> {
    let (mut status, mut usage) = (0u32, Rusage::default());
    // __WALL, WNOHANG
    let flags = 0x4000_0000 | usize::from(!block);
    loop {
        match sys!(nr::WAIT4, -1i32, &raw mut status, flags, &raw mut usage)? {
            0 => return Ok(None),
            // Skips a stop: a child that called PTRACE_TRACEME reports stops to
            // its parent, ptrace(2).
            _ if status & 0xff == STOPPED => {}
            pid => {
                return Ok(Some(Dead {
                    pid: pid as i32,
                    status,
                    usage,
                }));
            }
        }
    }
}
