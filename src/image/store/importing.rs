// SPDX-License-Identifier: MIT OR Apache-2.0
//! An import that goes on while its caller does something else.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Images;
use super::options::ImportOptions;
use crate::error::Result;
use crate::image::digest::Digest;
use crate::image::progress::Progress;
use crate::image::{Image, Reference};
use crate::work::Work;

/// An image that is being imported, by [`Images::begin_import`].
///
/// A thread of the library's own imports it, without signals, until
/// [`Importing::finish`]. Dropping it stops the work, without waiting: within moments
/// the thread undoes what it did and ends.
///
/// ```no_run
/// use std::os::fd::AsFd as _;
/// use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
/// use tare::image::ImportOptions;
///
/// let store = tare::Store::open_default()?;
/// let from = "archive:image.tar".parse()?;
/// let importing = store.images().begin_import(&from, &ImportOptions::default())?;
/// let half = PollTimeout::from(500u16);
/// while poll(&mut [PollFd::new(importing.as_fd(), PollFlags::POLLIN)], half) == Ok(0) {
///     let so_far = importing.progress();
///     println!("{} of {} bytes", so_far.bytes_done, so_far.bytes_total);
/// }
/// let image = importing.finish()?;
/// # Ok::<(), tare::Error>(())
/// ```
#[derive(Debug)]
pub struct Importing {
    work: Work<Image>,
    told: Arc<Mutex<Told>>,
}

/// How far an import is.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ImportProgress {
    /// Layers of the image; zero until one is read.
    pub layers: usize,
    /// How many of them were begun to be read. One that is there already is not read.
    pub begun: usize,
    /// Bytes read of those that were begun, as kept, so usually compressed.
    pub bytes_done: u64,
    /// All bytes of these.
    pub bytes_total: u64,
}

/// What the thread says.
#[derive(Debug, Default)]
struct Told {
    layers: usize,
    /// Place of a layer in the image, bytes done, bytes in all.
    read: Vec<(usize, u64, u64)>,
}

/// The thread's side.
struct Tell<'a> {
    told: &'a Mutex<Told>,
    stop: &'a AtomicBool,
}

impl Progress for Tell<'_> {
    fn layer(&mut self, index: usize, total: usize, _: &Digest, done: u64, of: u64) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.layers = total;
        match told.read.iter_mut().find(|layer| layer.0 == index) {
            Some(layer) => *layer = (index, done, of),
            None => told.read.push((index, done, of)),
        }
    }

    fn keep_going(&mut self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }
}

impl Images {
    /// As [`Images::import`], for callers with an event loop: returns at once.
    ///
    /// # Errors
    /// When no thread can be had; those of the import come from [`Importing::finish`].
    pub fn begin_import(
        &self,
        reference: &Reference,
        options: &ImportOptions,
    ) -> Result<Importing> {
        let told = Arc::new(Mutex::new(Told::default()));
        let (store, reference, options) = (self.clone(), reference.clone(), options.clone());
        let tell = Arc::clone(&told);
        let work = Work::begin("import image", move |stop| {
            let mut progress = Tell { told: &tell, stop };
            store.import(&reference, &options, &mut progress)
        })?;
        Ok(Importing { work, told })
    }
}

impl Importing {
    /// For poll(2) and epoll(7), not to be read from: readable when [`Importing::finish`]
    /// does not wait.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.work.fd()
    }

    /// How far it is.
    pub fn progress(&self) -> ImportProgress {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = |of: fn(&(usize, u64, u64)) -> u64| told.read.iter().map(of).sum();
        ImportProgress {
            layers: told.layers,
            begun: told.read.len(),
            bytes_done: sum(|layer| layer.1),
            bytes_total: sum(|layer| layer.2),
        }
    }

    /// The image. Waits for it where the descriptor is not readable.
    ///
    /// # Errors
    /// As [`Images::import`]; [`Kind::Invalid`](crate::Kind::Invalid) in a forked copy of the process.
    pub fn finish(self) -> Result<Image> {
        self.work.finish()
    }
}

impl AsFd for Importing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd()
    }
}
