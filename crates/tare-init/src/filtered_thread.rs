// SPDX-License-Identifier: MIT OR Apache-2.0
//! A second thread of process 1, behind the sandbox's seccomp filter.
//!
//! A filter holds for a thread and for all that the thread starts. Without this
//! module, each command attaches the filter itself, between clone(2) and
//! execve(2), and the kernel copies and checks the program each time. Commands
//! that a filtered thread starts are born behind the filter.
//!
//! Process 1 cannot filter its only thread, because the filter may refuse calls
//! that process 1 needs: for mounts, terminals, files and cgroups. Therefore
//! process 1 has two threads, which share memory and descriptors and take
//! turns:
//!
//! - The first thread has no filter. [`hand_over`] starts the filtered thread
//!   and then waits for jobs.
//! - The filtered thread receives requests, starts commands and reaps them. For
//!   calls that the filter may refuse, the thread uses
//!   [`FilteredThread::by_first`].
//!
//! The word `turn` names the running thread. The other thread sleeps in
//! futex(2) and touches no memory, so no lock is needed.
//!
//! A sandbox cannot reach either thread: pid_namespaces(7) protects all threads
//! of process 1 from signals and stops from inside.
//!
//! If the thread cannot be started, or cannot attach the filter, [`hand_over`]
//! returns, and each command attaches the filter itself.

use core::cell::Cell;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::clone::thread;
use crate::mapping::Mapping;
use crate::sys::{self, Result};

/// The first thread runs.
const FIRST: u32 = 0;
/// The filtered thread runs.
const FILTERED: u32 = 1;
/// The filtered thread has ended before it served.
const ENDED: u32 = 2;

const STACK: usize = 128 << 10;

/// A function for the first thread to call, and its argument.
#[derive(Clone, Copy)]
struct Job {
    /// Safe to call once with `argument`.
    run: unsafe fn(*mut ()),
    argument: *mut (),
}

/// State that the two threads share.
pub(crate) struct FilteredThread {
    turn: AtomicU32,
    /// Belongs to the running thread.
    job: Cell<Option<Job>>,
}

/// State at the beginning of the filtered thread.
struct Start<'a, T> {
    shared: FilteredThread,
    program: &'a [u8],
    serve: fn(&mut T, &'static FilteredThread) -> !,
    argument: *mut T,
}

/// Runs `serve(argument, ...)` in a filtered thread, and does that thread's
/// jobs in this thread. Calls `meanwhile` first, in any case. Returns only if
/// there cannot be a filtered thread.
pub(crate) fn hand_over<T>(
    program: &[u8],
    serve: fn(&mut T, &'static FilteredThread) -> !,
    argument: &mut T,
    meanwhile: fn(),
) {
    let Ok(stack) = Mapping::lasting(STACK) else {
        return meanwhile();
    };
    let mut start = Start {
        shared: FilteredThread {
            turn: AtomicU32::new(FILTERED),
            job: Cell::new(None),
        },
        program,
        serve,
        argument,
    };
    // SAFETY: `start` lives until this function returns, after the thread has
    // passed its last turn. Meanwhile this thread uses only `shared`, and `job`
    // only in its own turn.
    let begun = unsafe { thread(stack, enter::<T>, (&raw mut start).cast()) };
    // The filtered thread attaches the program at the same time.
    meanwhile();
    if !begun {
        return;
    }
    let shared = &start.shared;
    loop {
        shared.wait_while(FILTERED);
        if shared.turn.load(Ordering::Acquire) == ENDED {
            return;
        }
        if let Some(job) = shared.job.take() {
            // SAFETY: `by_first` set the job and waits for its end.
            unsafe { (job.run)(job.argument) };
        }
        shared.pass_to(FILTERED);
    }
}

/// Begins the thread, on a stack of its own.
///
/// # Safety
/// `start` points to the [`Start`] of a [`hand_over`] that waits.
unsafe extern "C" fn enter<T>(start: *mut ()) -> ! {
    // SAFETY: `hand_over` waits, and does not touch the rest of `start`.
    let start = unsafe { &*start.cast::<Start<'_, T>>() };
    // SAFETY: `hand_over` returns only after this thread passed `ENDED`, which
    // this thread does only instead of serving. So the frame of `hand_over`,
    // and all that it borrows, outlives each use of the two references.
    let (shared, argument): (&'static FilteredThread, _) =
        unsafe { (&*core::ptr::from_ref(&start.shared), &mut *start.argument) };
    if filter(start.program).is_ok() {
        (start.serve)(argument, shared)
    }
    shared.pass_to(ENDED);
    sys::exit_thread()
}

/// Sets no_new_privs and attaches the filter, for the calling thread.
fn filter(program: &[u8]) -> Result<()> {
    // Without the flag seccomp(2) needs CAP_SYS_ADMIN.
    sys::set_no_new_privs()?;
    sys::seccomp_filter(program)
}

impl FilteredThread {
    /// Calls `work` in the first thread, and waits for its end.
    pub(crate) fn by_first<F: FnOnce()>(&self, work: F) {
        /// Calls the function in an `Option<F>`.
        ///
        /// # Safety
        /// `work` points to an `Option<F>` that no other code uses.
        unsafe fn run<F: FnOnce()>(work: *mut ()) {
            // SAFETY: the caller vouches for the pointer.
            if let Some(work) = unsafe { &mut *work.cast::<Option<F>>() }.take() {
                work();
            }
        }
        let mut work = Some(work);
        self.job.set(Some(Job {
            run: run::<F>,
            argument: (&raw mut work).cast(),
        }));
        // From here on `work` is the first thread's, until the turn is back.
        self.pass_to(FIRST);
        self.wait_while(FIRST);
    }

    fn wait_while(&self, turn: u32) {
        // A wake may be meant for an earlier wait, so the turn decides.
        while self.turn.load(Ordering::Acquire) == turn {
            sys::futex_wait(&self.turn, turn, None);
        }
    }

    fn pass_to(&self, turn: u32) {
        // After the store `self` may be gone: with `ENDED`, `hand_over`
        // returns.
        let place = self.turn.as_ptr();
        self.turn.store(turn, Ordering::Release);
        sys::futex_wake(place);
    }
}
