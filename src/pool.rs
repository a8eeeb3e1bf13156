// SPDX-License-Identifier: MIT OR Apache-2.0
//! Keeps sandboxes ready ahead of their use: the caller takes them, the helper
//! makes others.
#![forbid(unsafe_code)]

mod demand;

use std::collections::VecDeque;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::error::{Error, Kind, Result, Step};
use crate::helper::Spawner;
use crate::image::Image;
use crate::instance::{Hold, Instance, Pending, Rootfs};
use crate::sandbox::{OnEnd, Sandbox};
use crate::spec::Spec;
use crate::store::Store;
use crate::sys::pidfd;
use demand::Demand;

pub use demand::PoolSize;

/// Sandboxes of a spec that wait to be taken.
///
/// A taken sandbox belongs to its taker, as from [`Sandbox::open`], and
/// never returns to the pool: every taker gets an unused sandbox. Closing a
/// sandbox starts its replacement in the helper; so does taking one when fewer
/// than half wait. This process gets no thread. The number of waiting sandboxes
/// follows the demand between the bounds of [`PoolSize`]: twice as many after a
/// take that had to wait, fewer when some were left over for a second. A take
/// decides this; a waiting sandbox costs only memory.
///
/// Every method may be called from any thread. Drop ends the waiting sandboxes,
/// and returns before they have ended.
///
/// ```no_run
/// use tare::{Command, Pool, PoolSize, Spec, Store};
/// let pool = Pool::open(&Store::open_default()?, &Spec::default(), PoolSize::default())?;
/// let sandbox = pool.take()?;
/// assert!(sandbox.run(Command::new("true"))?.status.success());
/// # Ok::<(), tare::Error>(())
/// ```
#[derive(Debug)]
pub struct Pool {
    stock: Arc<Stock>,
}

/// The part of a pool that its sandboxes hold.
#[derive(Debug)]
struct Stock {
    store: Store,
    spec: Arc<Spec>,
    rootfs: Arc<Rootfs>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The oldest first.
    parked: VecDeque<Parked>,
    /// Sandboxes that are being begun, outside of the lock.
    beginning: usize,
    demand: Demand,
    closed: bool,
}

/// A sandbox of the pool, not yet taken.
#[derive(Debug)]
enum Parked {
    Pending(Pending),
    Ready(Instance),
}

impl Parked {
    fn is_ready(&self) -> bool {
        match self {
            Self::Pending(pending) => pending.hold.start.is_over(),
            Self::Ready(_) => true,
        }
    }

    fn hold(&self) -> &Hold {
        match self {
            Self::Pending(pending) => &pending.hold,
            Self::Ready(instance) => &instance.hold,
        }
    }

    /// Waits for the instance to be ready; returns `None` if it failed, or died
    /// while it was parked.
    fn complete(self) -> Option<Instance> {
        let instance = match self {
            Self::Pending(pending) => Instance::complete(pending).ok()?,
            Self::Ready(instance) => instance,
        };
        // Sandboxes die with their helper, some time after it.
        let lives = instance.spawner().is_alive() && !pidfd::has_ended(instance.pidfd.as_fd());
        lives.then_some(instance)
    }
}

impl Pool {
    /// Opens a pool, and returns when the first sandbox is ready, while the
    /// others are being made.
    ///
    /// # Errors
    /// As [`Sandbox::open`]; [`Kind::Invalid`] for bounds that cannot be.
    pub fn open(store: &Store, spec: &Spec, size: PoolSize) -> Result<Self> {
        spec.validate()?;
        let rootfs = store.rootfs(&spec.image)?;
        Self::on(store, spec, rootfs, size)
    }

    /// As [`Pool::open`], on an image that was looked up before; `spec.image`
    /// has no effect.
    ///
    /// # Errors
    /// As [`Pool::open`].
    pub fn open_on(store: &Store, image: &Image, spec: &Spec, size: PoolSize) -> Result<Self> {
        spec.validate()?;
        Self::on(store, spec, Rootfs::of(image.clone()), size)
    }

    fn on(store: &Store, spec: &Spec, rootfs: Rootfs, size: PoolSize) -> Result<Self> {
        let stock = Stock {
            store: store.clone(),
            spec: Arc::new(spec.clone()),
            rootfs: Arc::new(rootfs),
            state: Mutex::new(State {
                parked: VecDeque::new(),
                beginning: 0,
                demand: Demand::new(size, Instant::now())?,
                closed: false,
            }),
        };
        // An error of the spec shows here, by a sandbox that is wanted in any
        // case.
        let first = Instance::open(store.resources(), spec, &stock.rootfs)?;
        stock.state().parked.push_back(Parked::Ready(first));
        stock.refill(usize::MAX);
        let stock = Arc::new(stock);
        Ok(Self { stock })
    }

    /// Takes an unused sandbox that waits. If there is none, opens a sandbox
    /// now.
    ///
    /// A forked copy of the process leaves the waiting sandboxes to the parent,
    /// and opens a sandbox.
    ///
    /// # Errors
    /// As [`Sandbox::open`]; [`Kind::Invalid`] after [`Pool::close`].
    pub fn take(&self) -> Result<Sandbox> {
        let stock = &self.stock;
        let spawner = stock.store.runtime().spawner_for(&stock.spec)?;
        let (parked, surplus, is_short) = {
            let mut state = stock.state();
            if state.closed {
                let error = Error::new(Kind::Invalid, Step::TakeFromPool, "it was closed");
                return Err(error.with_cure("open another"));
            }
            let parked = state.next_of(&spawner);
            let waited = !parked.as_ref().is_some_and(Parked::is_ready);
            let left = state.parked.len();
            state.demand.taken(waited, left, Instant::now());
            (parked, state.surplus(), state.is_short())
        };
        // Outside of the lock, because their end takes requests.
        drop(surplus);
        if is_short {
            // It may be long until the taken sandboxes are closed. One more for
            // this take, and one to catch up.
            stock.refill(2);
        }
        let instance = match parked.and_then(Parked::complete) {
            Some(instance) => instance,
            // A sandbox that failed while parked has all attempts again.
            None => Instance::open(stock.store.resources(), &stock.spec, &stock.rootfs)?,
        };
        let (store, spec) = (stock.store.clone(), Arc::clone(&stock.spec));
        let (rootfs, on_end) = (Arc::clone(&stock.rootfs), Arc::clone(stock) as _);
        Ok(Sandbox::of(store, spec, rootfs, instance, Some(on_end)))
    }

    /// Returns the number of sandboxes that a take would not wait for.
    pub fn ready(&self) -> usize {
        let state = self.stock.state();
        state.parked.iter().filter(|p| p.is_ready()).count()
    }

    /// Ends all waiting sandboxes and returns when all their parts are gone.
    /// Sandboxes that were taken live on. A later take is an error; a second
    /// close is no error.
    ///
    /// # Errors
    /// [`Kind::Broken`] if the helper is gone, and the waiting sandboxes with
    /// the helper.
    pub fn close(&self) -> Result<()> {
        let parked = self.stock.shut();
        // All ends begin at once; then each is waited for.
        let ending: Vec<_> = parked.iter().map(|p| p.hold().begin_end()).collect();
        let mut result = Ok(());
        for (parked, ending) in parked.iter().zip(ending) {
            let ended = ending.and_then(|fd| fd.map_or(Ok(()), |fd| parked.hold().ended(&fd)));
            result = result.and(ended);
        }
        result
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Taken sandboxes keep the stock. It must begin no replacement at their
        // end.
        drop(self.stock.shut());
    }
}

impl OnEnd for Stock {
    fn ended(&self) {
        self.refill(2);
    }
}

impl Stock {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the stock, and returns the waiting sandboxes.
    fn shut(&self) -> VecDeque<Parked> {
        let mut state = self.state();
        state.closed = true;
        std::mem::take(&mut state.parked)
    }

    /// Begins missing sandboxes, at most `most`.
    fn refill(&self, most: usize) {
        for _ in 0..most {
            {
                let mut state = self.state();
                if state.closed || state.parked.len() + state.beginning >= state.demand.wanted() {
                    return;
                }
                state.beginning += 1;
            }
            // Outside of the lock, so that other takers go on.
            let begun = Instance::begin(self.store.resources(), &self.spec, &self.rootfs);
            let mut state = self.state();
            state.beginning -= 1;
            match begun {
                Ok(pending) if !state.closed => state.parked.push_back(Parked::Pending(pending)),
                // Closed meanwhile: drop ends the sandbox. After an error, the
                // next take tries again, and reports the error if no sandbox
                // waits.
                Ok(_) | Err(_) => return,
            }
        }
    }
}

impl State {
    /// Takes the oldest sandbox that this helper has made. Drops sandboxes of
    /// other helpers: of a dead helper, of a caller with another authority, of
    /// the process that this process was forked from.
    fn next_of(&mut self, spawner: &Arc<Spawner>) -> Option<Parked> {
        std::iter::from_fn(|| self.parked.pop_front())
            .find(|p| Arc::ptr_eq(&p.hold().reservation.spawner, spawner))
    }

    /// Returns whether fewer than half of the wanted number wait, or will soon.
    fn is_short(&self) -> bool {
        2 * (self.parked.len() + self.beginning) < self.demand.wanted()
    }

    /// Takes the sandboxes above the wanted number, the youngest.
    fn surplus(&mut self) -> Vec<Parked> {
        let wanted = self.demand.wanted().min(self.parked.len());
        self.parked.split_off(wanted).into()
    }
}
