// SPDX-License-Identifier: MIT OR Apache-2.0
//! Children that share the memory, and the reaping of children of any kind.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::mapping::Mapping;
use crate::sys::{
    self, CLONE_CHILD_CLEARTID, CLONE_FILES, CLONE_FS, CLONE_INTO_CGROUP, CLONE_PIDFD,
    CLONE_SIGHAND, CLONE_SYSVSEM, CLONE_THREAD, CLONE_VM, CloneArgs, Entry, Errno, Fd, Result,
    Rusage,
};

/// A child that shared the memory and has released it.
pub(crate) struct Shared {
    pub(crate) pid: i32,
    /// A pidfd, on request.
    pub(crate) pidfd: Option<Fd>,
    /// True if the child did not release the memory in time and was killed.
    pub(crate) late: bool,
}

/// Properties of a child that are set at its birth.
#[derive(Clone, Copy)]
pub(crate) struct Birth {
    /// The directory of a cgroup v2 to be born in.
    pub(crate) cgroup: Option<i32>,
    /// True to get a pidfd.
    pub(crate) pidfd: bool,
}

/// Starts `run(argument)` in a child that shares the memory, and waits until
/// the child has executed a program or ended. `stack` must be big enough for
/// `run`.
///
/// Differs from vfork(2) in the deadline: a process in the sandbox could stop
/// the child, and with vfork(2) the caller, and so every timeout. `meanwhile`
/// is called once, as soon as there is a child. A caller that sleeps there
/// until another event need not wake for the exec.
pub(crate) fn share<T>(
    birth: Birth,
    stack: &mut [u8],
    run: extern "C" fn(&mut T) -> !,
    argument: &mut T,
    deadline_ns: u64,
    meanwhile: impl FnOnce(),
) -> Result<Shared> {
    // The kernel clears the word when the child releases the memory.
    let busy = AtomicU32::new(1);
    let mut pidfd = -1i32;
    let mut args = CloneArgs {
        child_tid: busy.as_ptr() as u64,
        stack: stack.as_mut_ptr() as u64,
        stack_size: (stack.len() & !15) as u64,
        ..CloneArgs::child(CLONE_VM | CLONE_CHILD_CLEARTID, birth.cgroup)
    };
    if birth.pidfd {
        args.flags |= CLONE_PIDFD;
        args.pidfd = &raw mut pidfd as u64;
    }
    // SAFETY: both types are pointers to functions that take one thin pointer.
    // The child calls the function once, with `argument`.
    let entry = unsafe { core::mem::transmute::<extern "C" fn(&mut T) -> !, Entry>(run) };
    // SAFETY: `stack`, `argument`, `busy` and `pidfd` stay borrowed until the
    // kernel says that the child released the memory.
    let pid = unsafe { clone_either(&args, entry, core::ptr::from_mut(argument).cast()) }?;
    meanwhile();
    let late = await_release(pid, &busy, deadline_ns);
    // SAFETY: the kernel opened the descriptor for this call.
    let pidfd = (pidfd >= 0).then(|| unsafe { Fd::from_raw(pidfd) });
    Ok(Shared { pid, pidfd, late })
}

/// Calls clone3(2), or clone(2) where that is refused and serves as well.
///
/// # Safety
/// As for [`sys::clone3_shared`].
unsafe fn clone_either(args: &CloneArgs, entry: Entry, argument: *mut ()) -> Result<i32> {
    /// True after clone3(2) was refused, as the sandboxes' own filter does, and
    /// those of other engines.
    static REFUSED: AtomicBool = AtomicBool::new(false);
    let legacy = args.flags & CLONE_INTO_CGROUP == 0;
    if !legacy || !REFUSED.load(Ordering::Relaxed) {
        // SAFETY: the caller vouches for all three.
        match unsafe { sys::clone3_shared(args, entry, argument) } {
            Err(Errno::NOSYS) if legacy => {}
            other => return other,
        }
    }
    REFUSED.store(true, Ordering::Relaxed);
    // SAFETY: the caller vouches for all three.
    unsafe { sys::clone_legacy_shared(args, entry, argument) }
}

/// Waits until a child releases the memory, and kills the child at the
/// deadline; returns true if killed.
fn await_release(pid: i32, busy: &AtomicU32, deadline_ns: u64) -> bool {
    let mut late = false;
    while busy.load(Ordering::Acquire) != 0 {
        let left = deadline_ns.saturating_sub(sys::now_ns());
        if left == 0 && !late {
            late = true;
            // The child is not yet reaped, so the pid is its own.
            let _ = sys::kill(pid, sys::SIGKILL);
        }
        // A killed child ends soon, but may still use the memory of this frame.
        let left = if late { 1_000_000 } else { left };
        sys::futex_wait(busy, 1, Some(left));
    }
    late
}

/// Runs `entry(argument)` in a thread on this stack, which the thread owns from
/// then on; returns whether there is a thread.
///
/// # Safety
/// `argument` is valid until the thread ends, and `entry` may use the argument
/// beside the caller.
pub(crate) unsafe fn thread(stack: Mapping, entry: Entry, argument: *mut ()) -> bool {
    // Never unmapped, because the thread runs on the stack to its end.
    let (at, len) = stack.into_raw();
    let args = CloneArgs {
        flags: CLONE_VM | CLONE_FILES | CLONE_FS | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM,
        stack: at as u64,
        stack_size: len as u64,
        ..CloneArgs::default()
    };
    // SAFETY: the stack stays mapped, all pointers in `args` are null, and the
    // caller vouches for `entry` and `argument`.
    unsafe { sys::clone_legacy_shared(&args, entry, argument) }.is_ok()
}

/// Low byte of a wait status that tells a stop, not an end: WIFSTOPPED of
/// wait(2).
const STOPPED: u32 = 0x7f;

/// A dead child.
pub(crate) struct Dead {
    pub(crate) pid: i32,
    /// Status in the encoding of wait(2).
    pub(crate) status: u32,
    pub(crate) usage: Rusage,
}

/// Waits for the end of a child; returns the exit code, or EOWNERDEAD if a
/// signal ended the child.
pub(crate) fn reap_one(pid: i32) -> Result<i32> {
    // The child runs no foreign program, so it reports no stop.
    let status = loop {
        match sys::wait4(pid, 0, &mut Rusage::default()) {
            Err(Errno::INTR) => {}
            other => break other?.1,
        }
    };
    match status & 0x7f {
        0 => Ok((status >> 8 & 0xff) as i32),
        _ => Err(Errno::OWNERDEAD),
    }
}

/// Reaps a dead child; returns `None` if all children live.
pub(crate) fn reap(block: bool) -> Result<Option<Dead>> {
    let flags = sys::WALL | if block { 0 } else { sys::WNOHANG };
    let mut usage = Rusage::default();
    loop {
        match sys::wait4(-1, flags, &mut usage)? {
            (0, _) => return Ok(None),
            // Skips a stop: a child after PTRACE_TRACEME reports stops to its
            // parent, ptrace(2).
            (_, status) if status & 0xff == STOPPED => {}
            (pid, status) => return Ok(Some(Dead { pid, status, usage })),
        }
    }
}
