// SPDX-License-Identifier: MIT OR Apache-2.0
//! A sandbox that is being opened while its caller goes on.
#![forbid(unsafe_code)]

use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use super::Sandbox;
use crate::error::{Result, Step};
use crate::image::Reference;
use crate::instance::{Instance, Pending, Rootfs};
use crate::spec::Spec;
use crate::store::Store;
use crate::work::Work;

/// A sandbox that is being opened, by [`Sandbox::begin`] and its like.
///
/// The helper process makes the sandbox, and this process needs no thread for
/// that, with three exceptions: the image has to be imported or unpacked first,
/// mounts of the machine may not answer, or this machine refused the first
/// attempt. Then a thread of the library opens the sandbox, with all signals
/// blocked, until [`Opening::finish`].
///
/// Drop ends the sandbox, without waiting.
///
/// ```no_run
/// use std::os::fd::AsFd as _;
/// use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
/// use tare::{Sandbox, Spec, Store};
///
/// let store = Store::open_default()?;
/// let mut opening = Sandbox::begin(&store, &Spec::default())?;
/// while !opening.ready() {
///     let mut fds = [PollFd::new(opening.as_fd(), PollFlags::POLLIN)];
///     poll(&mut fds, PollTimeout::NONE).unwrap();
/// }
/// let sandbox = opening.finish()?;
/// # Ok::<(), tare::Error>(())
/// ```
#[derive(Debug)]
pub struct Opening {
    store: Store,
    spec: Arc<Spec>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The helper makes the sandbox.
    Pending(Box<(Arc<Rootfs>, Pending)>),
    /// A thread opens the sandbox.
    Work(Work<Opened>),
}

type Opened = (Arc<Rootfs>, Instance);

impl Opening {
    pub(super) fn begin(store: &Store, spec: &Spec, rootfs: Rootfs) -> Result<Self> {
        let (rootfs, spec) = (Arc::new(rootfs), Arc::new(spec.clone()));
        let stage = match Instance::begin_now(store.resources(), &spec, &rootfs)? {
            Some(pending) if !pending.needs_patience() => {
                Stage::Pending(Box::new((rootfs, pending)))
            }
            // An answer may never come. Only a thread can wait for a while and
            // then give up.
            pending => Stage::Work(work(store, &spec, rootfs, pending)?),
        };
        let store = store.clone();
        Ok(Self { store, spec, stage })
    }

    /// Brings the image first.
    pub(super) fn bring(store: &Store, spec: &Spec, reference: Reference) -> Result<Self> {
        let (store, spec) = (store.clone(), Arc::new(spec.clone()));
        let (from, of) = (store.clone(), Arc::clone(&spec));
        let stage = Stage::Work(Work::begin(Step::OpenSandbox, move |stop| {
            let rootfs = from.rootfs_unless(&reference, stop)?;
            let instance = Instance::open(from.resources(), &of, &rootfs)?;
            Ok((Arc::new(rootfs), instance))
        })?);
        Ok(Self { store, spec, stage })
    }

    /// Returns a descriptor for poll(2): readable when [`Opening::ready`] has
    /// work to do. That call may change the descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        match &self.stage {
            Stage::Pending(begun) => begun.1.hold.start.control(),
            Stage::Work(work) => work.fd(),
        }
    }

    /// Returns whether [`Opening::finish`] would return at once. Never waits:
    /// if an attempt has failed and another is worthwhile, begins the other and
    /// returns false.
    pub fn ready(&mut self) -> bool {
        let begun = match &self.stage {
            Stage::Work(work) => return work.is_over(),
            Stage::Pending(begun) => begun,
        };
        match begun.1.hold.start.has_failed() {
            None => return false,
            Some(true) if begun.1.hold.own().is_ok() => {}
            Some(_) => return true,
        }
        // Without a thread, the end is the place for the next attempt.
        let Ok(work) = work(&self.store, &self.spec, Arc::clone(&begun.0), None) else {
            return true;
        };
        if let Stage::Pending(begun) = mem::replace(&mut self.stage, Stage::Work(work)) {
            // Dropped: if the cause lasts, the next attempt fails with the same
            // error.
            let _ = Instance::complete(begun.1);
        }
        false
    }

    /// Returns the sandbox. Waits as long as [`Opening::ready`] is false.
    ///
    /// # Errors
    /// As [`Sandbox::open`]; [`Kind::Invalid`](crate::Kind::Invalid) in a
    /// forked copy of the process.
    pub fn finish(self) -> Result<Sandbox> {
        let (rootfs, instance) = match self.stage {
            Stage::Work(work) => work.finish()?,
            Stage::Pending(begun) => {
                let (rootfs, pending) = *begun;
                pending.hold.own()?;
                let resources = self.store.resources();
                let instance = Instance::open_begun(resources, &self.spec, &rootfs, Some(pending))?;
                (rootfs, instance)
            }
        };
        Ok(Sandbox::of(self.store, self.spec, rootfs, instance, None))
    }
}

impl AsFd for Opening {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd()
    }
}

/// Opens the sandbox on a thread.
fn work(
    store: &Store,
    spec: &Arc<Spec>,
    rootfs: Arc<Rootfs>,
    pending: Option<Pending>,
) -> Result<Work<Opened>> {
    let (store, spec) = (store.clone(), Arc::clone(spec));
    Work::begin(Step::OpenSandbox, move |_| {
        let instance = Instance::open_begun(store.resources(), &spec, &rootfs, pending)?;
        Ok((rootfs, instance))
    })
}
