// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writing under RLIMIT_FSIZE, setrlimit(2): a write beyond the limit fails
//! with EFBIG, and also sends a signal to the thread, which ends an unprepared
//! process.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// Keeps SIGXFSZ from the calling thread, and from threads that it starts
/// meanwhile, until dropped. Without a limit, only looks.
#[must_use = "dropping it ends it"]
pub struct WithoutSignal {
    /// The earlier mask, if changed.
    before: Option<libc::sigset_t>,
    /// A mask is of a thread.
    _thread: PhantomData<*const ()>,
}

impl WithoutSignal {
    /// Blocks the signal.
    pub fn begin() -> Self {
        // SAFETY: the calls fill values that outlive them, and read sets that
        // are made here. None of them fails with these arguments.
        let before = unsafe {
            let mut limit = MaybeUninit::<libc::rlimit>::zeroed();
            libc::getrlimit(libc::RLIMIT_FSIZE, limit.as_mut_ptr());
            (limit.assume_init().rlim_cur != libc::RLIM_INFINITY && !is_pending()).then(|| {
                let mut before = MaybeUninit::zeroed();
                libc::pthread_sigmask(libc::SIG_BLOCK, &only(), before.as_mut_ptr());
                before.assume_init()
            })
        };
        Self {
            before,
            _thread: PhantomData,
        }
    }
}

impl Drop for WithoutSignal {
    fn drop(&mut self) {
        let Some(before) = &self.before else { return };
        let now = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the sets and the time are valid, and no information is
        // requested. The signal is taken only if it is pending, which it was
        // not before; then the earlier mask is restored.
        unsafe {
            libc::sigtimedwait(&only(), std::ptr::null_mut(), &raw const now);
            libc::pthread_sigmask(libc::SIG_SETMASK, before, std::ptr::null_mut());
        }
    }
}

impl std::fmt::Debug for WithoutSignal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WithoutSignal")
    }
}

/// The set of SIGXFSZ alone.
fn only() -> libc::sigset_t {
    // SAFETY: the calls fill a set that outlives them.
    unsafe {
        let mut set = MaybeUninit::zeroed();
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGXFSZ);
        set.assume_init()
    }
}

/// Returns whether the thread blocks the signal and has one pending, which
/// belongs to the host and stays.
fn is_pending() -> bool {
    // SAFETY: the first call fills a set that outlives both.
    unsafe {
        let mut set = MaybeUninit::zeroed();
        libc::sigpending(set.as_mut_ptr());
        libc::sigismember(set.as_ptr(), libc::SIGXFSZ) == 1
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;

    use nix::errno::Errno;
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    use nix::sys::signal::{SigSet, Signal};

    use super::*;
    use crate::sys::caller::testing::in_a_fork;

    fn write_too_much() {
        let file = nix::sys::memfd::memfd_create(c"x", nix::sys::memfd::MFdFlags::empty());
        let error = File::from(file.unwrap()).write_all(b"xx").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::EFBIG as i32));
    }

    fn mask() -> SigSet {
        SigSet::thread_get_mask().unwrap()
    }

    #[test]
    fn signal_does_not_come_and_nothing_of_it_stays() {
        // A child, because the limit is the whole process's; a failed check
        // there ends it otherwise.
        in_a_fork(|| {
            let hard = getrlimit(Resource::RLIMIT_FSIZE).unwrap().1;
            drop(WithoutSignal::begin());
            assert!(!mask().contains(Signal::SIGXFSZ));
            setrlimit(Resource::RLIMIT_FSIZE, 1, hard).unwrap();
            let outer = WithoutSignal::begin();
            {
                let _inner = WithoutSignal::begin();
                write_too_much();
            }
            write_too_much();
            std::thread::scope(|scope| scope.spawn(write_too_much).join().unwrap());
            drop(outer);
            assert!(!mask().contains(Signal::SIGXFSZ) && !is_pending());
            // An earlier signal stays.
            let mut set = SigSet::empty();
            set.add(Signal::SIGXFSZ);
            set.thread_block().unwrap();
            write_too_much();
            drop(WithoutSignal::begin());
            assert!(mask().contains(Signal::SIGXFSZ) && is_pending());
        });
    }
}
