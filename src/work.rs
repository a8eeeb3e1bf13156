// SPDX-License-Identifier: MIT OR Apache-2.0
//! Work on a thread of the library, with a descriptor that tells the end.
#![forbid(unsafe_code)]

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::panic::resume_unwind;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};

use crate::error::{Error, Result, Step};
use crate::sys::event;
use crate::sys::poll::is_readable;
use crate::sys::signals::Blocked;

/// Work that goes on until [`Work::finish`] takes the result. Drop asks the
/// work to stop, and does not wait.
#[derive(Debug)]
pub(crate) struct Work<T> {
    /// `None` after the join.
    thread: Option<JoinHandle<Result<T>>>,
    ended: Arc<OwnedFd>,
    stop: Arc<AtomicBool>,
    step: Step,
    /// Process that began the work; a fork has no such thread.
    owner: u32,
}

/// Tells the end of the work, even after a panic.
struct Tell(Arc<OwnedFd>);

impl Drop for Tell {
    fn drop(&mut self) {
        event::raise(self.0.as_fd());
    }
}

impl<T: Send + 'static> Work<T> {
    /// Begins work on a thread without signals, with the credentials and
    /// namespaces of the calling thread. `work` checks from time to time
    /// whether to stop.
    ///
    /// # Errors
    /// Those of making a descriptor or a thread.
    pub(crate) fn begin(
        step: Step,
        work: impl FnOnce(&AtomicBool) -> Result<T> + Send + 'static,
    ) -> Result<Self> {
        let ended = event::event().map_err(|e| Error::os(step, "eventfd", e))?;
        let ended = Arc::new(ended);
        let stop = Arc::new(AtomicBool::new(false));
        let (tell, stopped) = (Tell(Arc::clone(&ended)), Arc::clone(&stop));
        let _blocked = Blocked::begin();
        let thread = Builder::new()
            .name("tare-work".into())
            .spawn(move || {
                let _tell = tell;
                work(&stopped)
            })
            .map_err(|e| Error::io(step, "start a thread", e))?;
        Ok(Self {
            thread: Some(thread),
            ended,
            stop,
            step,
            owner: process::id(),
        })
    }

    /// Waits for the end of the work and of the thread.
    ///
    /// # Errors
    /// Those of the work; [`crate::Kind::Invalid`] in a forked copy of the
    /// process.
    pub(crate) fn finish(mut self) -> Result<T> {
        if !self.is_own() {
            let why = "it belongs to the process that this one was forked from";
            let error = Error::invalid(self.step, why);
            return Err(error.with_cure("begin it in this process"));
        }
        let thread = self.thread.take().expect("it is waited for once");
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl<T> Work<T> {
    /// Returns a descriptor that is readable when [`Work::finish`] does not
    /// wait.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }

    /// Returns whether [`Work::finish`] does not wait.
    pub(crate) fn is_over(&self) -> bool {
        is_readable(self.fd())
    }

    fn is_own(&self) -> bool {
        self.owner == process::id()
    }
}

impl<T> Drop for Work<T> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if !self.is_own() {
            // The thread does not exist in this process, so detaching it is
            // impossible.
            let _ = ManuallyDrop::new(self.thread.take());
        }
    }
}
