// SPDX-License-Identifier: MIT OR Apache-2.0
//! A second thread of process 1, behind the sandbox's seccomp program: the commands that it starts are born behind
//! it, which saves each of them attaching it.
//!
//! The two threads share memory and descriptors and take turns: one waits while the other runs. The confined one
//! serves; what the program may refuse, it has the first one do. A thread of process 1 can no more be killed or
//! stopped from inside than process 1 itself, pid_namespaces(7).

use core::cell::Cell;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::clone::{end_thread, thread};
use crate::mapping::Mapping;
use crate::sys::{self, Errno, Result, nr, sys};

/// Whose turn it is.
const FIRST: u32 = 0;
const CONFINED: u32 = 1;
/// There is no second thread after all.
const NOBODY: u32 = 2;

const STACK: usize = 128 << 10;

/// What the first thread is to do.
#[derive(Clone, Copy)]
struct Job {
    run: fn(usize),
    argument: usize,
}

/// What the two threads share.
pub(crate) struct FilteredThread<'a> {
    turn: AtomicU32,
    /// Set by whoever's turn it is.
    job: Cell<Option<Job>>,
    program: &'a [u8],
    serve: fn(usize, &FilteredThread<'_>) -> !,
    argument: usize,
}

impl FilteredThread<'_> {
    /// Runs `serve(argument, ...)` in a thread behind the program, and does here what that asks for, after `meanwhile`, which is
    /// done in any case. Comes back only if there cannot be such a thread.
    pub(crate) fn hand_over(
        program: &[u8],
        serve: fn(usize, &FilteredThread<'_>) -> !,
        argument: usize,
        meanwhile: fn(),
    ) {
        let Ok(stack) = Mapping::lasting(STACK) else {
            return meanwhile();
        };
        let this = FilteredThread {
            turn: AtomicU32::new(CONFINED),
            job: Cell::new(None),
            program,
            serve,
            argument,
        };
        // The thread's from now on, also while it ends.
        let begun = thread(stack.into_raw(), enter, &raw const this as usize);
        meanwhile();
        if !begun {
            return;
        }
        loop {
            this.wait_while(CONFINED);
            if this.turn.load(Ordering::Acquire) == NOBODY {
                return;
            }
            if let Some(job) = this.job.take() {
                (job.run)(job.argument);
            }
            this.pass_to(CONFINED);
        }
    }

    /// Has the first thread do something, and waits for it.
    pub(crate) fn by_first<F: FnOnce()>(&self, work: F) {
        fn run<F: FnOnce()>(work: usize) {
            // SAFETY: `by_first` passes a pointer to its own `Some(work)`, and touches that only when this is over.
            if let Some(work) = unsafe { &mut *(work as *mut Option<F>) }.take() {
                work();
            }
        }
        let mut work = Some(work);
        self.job.set(Some(Job {
            run: run::<F>,
            argument: &raw mut work as usize,
        }));
        self.pass_to(FIRST);
        self.wait_while(FIRST);
    }

    fn wait_while(&self, turn: u32) {
        while self.turn.load(Ordering::Acquire) == turn {
            // FUTEX_WAIT; why it came back, the loop finds out.
            let _ = sys!(nr::FUTEX, self.turn.as_ptr(), 0, turn, 0);
        }
    }

    fn pass_to(&self, turn: u32) {
        let place = self.turn.as_ptr() as usize;
        self.turn.store(turn, Ordering::Release);
        // FUTEX_WAKE. From the store on nothing here is touched: with `NOBODY`, it may be gone.
        let _ = sys!(nr::FUTEX, place, 1, 1);
    }
}

/// The thread's first function, on a stack of its own.
extern "C" fn enter(this: usize) -> ! {
    // SAFETY: `hand_over` passes its own `FilteredThread`, which lives until this thread has passed the turn to nobody.
    let this = unsafe { &*(this as *const FilteredThread<'_>) };
    match confine(this.program) {
        Ok(()) => (this.serve)(this.argument, this),
        Err(_) => this.pass_to(NOBODY),
    }
    end_thread()
}

/// no_new_privs, then the program, for the calling thread.
fn confine(program: &[u8]) -> Result<()> {
    // PR_SET_NO_NEW_PRIVS
    sys::prctl(38, 1, 0)?;
    attach(program)
}

/// Attaches a seccomp program to the calling thread.
pub(crate) fn attach(program: &[u8]) -> Result<()> {
    /// seccomp(2)'s `struct sock_fprog`.
    #[repr(C)]
    struct Program {
        len: u16,
        at: *const u8,
    }
    let len = u16::try_from(program.len() / 8).map_err(|_| Errno::INVAL)?;
    let program = Program {
        len,
        at: program.as_ptr(),
    };
    // SECCOMP_SET_MODE_FILTER
    sys!(nr::SECCOMP, 1, 0, &raw const program).map(drop)
}
