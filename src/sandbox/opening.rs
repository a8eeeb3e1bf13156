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
/// The helper process makes it, and there is no thread for it in this process,
/// but: where the image has to be imported or unpacked first, where mounts of
/// the machine may not answer, and after a first attempt that this machine
/// refuses. Then a thread of the library's own opens it, without signals, until
/// [`Opening::finish`].
///
/// Dropping it ends what was begun, without waiting for that.
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
    /// The helper makes it.
    Pending(Box<(Arc<Rootfs>, Pending)>),
    /// A thread opens it.
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
            // It may be that no answer ever comes, and what waits has to give
            // up.
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

    /// For poll(2): readable when there is something to do, [`Opening::ready`].
    /// That may put another descriptor in its place.
    pub fn fd(&self) -> BorrowedFd<'_> {
        match &self.stage {
            Stage::Pending(begun) => begun.1.hold.control(),
            Stage::Work(work) => work.fd(),
        }
    }

    /// Returns whether [`Opening::finish`] would not wait. Never waits itself:
    /// where an attempt has failed that is worth another, it begins that and is
    /// false.
    pub fn ready(&mut self) -> bool {
        let begun = match &self.stage {
            Stage::Work(work) => return work.is_over(),
            Stage::Pending(begun) => begun,
        };
        match begun.1.hold.has_failed() {
            None => return false,
            Some(true) if begun.1.hold.own().is_ok() => {}
            Some(_) => return true,
        }
        // Without a thread, the end is the place for the next attempt.
        let Ok(work) = work(&self.store, &self.spec, Arc::clone(&begun.0), None) else {
            return true;
        };
        if let Stage::Pending(begun) = mem::replace(&mut self.stage, Stage::Work(work)) {
            // Its error is that of the next attempt, or was the first one's
            // own.
            let _ = Instance::complete(begun.1);
        }
        false
    }

    /// The sandbox. Waits for it where [`Opening::ready`] is false.
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

/// Opens it on a thread.
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
