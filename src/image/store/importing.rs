// SPDX-License-Identifier: MIT OR Apache-2.0
//! Imports in the background, while the caller does other work.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Images;
use super::options::ImportOptions;
use crate::error::{Result, Step};
use crate::image::digest::Digest;
use crate::image::progress::Progress;
use crate::image::{Image, Reference};
use crate::work::Work;

/// A running import, from [`Images::begin_import`].
///
/// A thread of the library imports the image, without signals, until
/// [`Importing::finish`]. Drop stops the import without waiting: the thread
/// undoes its work within moments and ends.
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

/// Progress of an import.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ImportProgress {
    /// Layers of the image; zero until one is read.
    pub layers: usize,
    /// Layers that the import began to read. Present layers are not read.
    pub begun: usize,
    /// Bytes read of these layers, as kept, so usually compressed.
    pub bytes_done: u64,
    /// All bytes of these layers.
    pub bytes_total: u64,
}

/// Messages of the thread.
#[derive(Debug, Default)]
struct Told {
    layers: usize,
    /// Index of a layer in the image, bytes done, bytes in all.
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
    /// Begins [`Images::import`] and returns at once, for callers with an event
    /// loop.
    ///
    /// # Errors
    /// Those of starting a thread; errors of the import come from
    /// [`Importing::finish`].
    pub fn begin_import(
        &self,
        reference: &Reference,
        options: &ImportOptions,
    ) -> Result<Importing> {
        let told = Arc::new(Mutex::new(Told::default()));
        let (store, reference, options) = (self.clone(), reference.clone(), options.clone());
        let tell = Arc::clone(&told);
        let work = Work::begin(Step::ImportImage, move |stop| {
            let mut progress = Tell { told: &tell, stop };
            store.import(&reference, &options, &mut progress)
        })?;
        Ok(Importing { work, told })
    }
}

impl Importing {
    /// Returns a descriptor for poll(2) and epoll(7): readable when
    /// [`Importing::finish`] does not wait. Do not read from it.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.work.fd()
    }

    /// Returns the progress.
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

    /// Waits for the image, if the descriptor is not readable yet.
    ///
    /// # Errors
    /// As [`Images::import`]; [`Kind::Invalid`](crate::Kind::Invalid) in a
    /// forked copy of the process.
    pub fn finish(self) -> Result<Image> {
        self.work.finish()
    }
}

impl AsFd for Importing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd()
    }
}
