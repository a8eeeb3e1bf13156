// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sandboxes made ahead, each used once: taken by the caller, replaced by the
//! spawner.
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

/// Sandboxes of one spec that wait to be taken.
///
/// A taken sandbox belongs to its taker, like one of [`Sandbox::open`], and
/// never returns to the pool: every taker gets an unused sandbox. Closing a
/// sandbox starts its replacement in the helper; so does taking one when fewer
/// than half wait. This process gets no thread. The number of waiting sandboxes
/// follows the demand between the bounds of [`PoolSize`]: twice as many after a
/// take that had to wait, fewer when some were left over for a second. A take
/// decides this; a sandbox that waits costs memory and nothing else.
///
/// Every method may be called from any thread. Dropping it ends what waits,
/// without waiting for that.
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

/// What a pool's sandboxes know of it.
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
    /// How many are being begun, outside of the lock.
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
            Self::Pending(pending) => pending.hold.is_over(),
            Self::Ready(_) => true,
        }
    }

    fn hold(&self) -> &Hold {
        match self {
            Self::Pending(pending) => &pending.hold,
            Self::Ready(instance) => instance.hold(),
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

    /// The same on an image that was looked up before; `spec.image` does not
    /// matter.
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
        // Whatever is wrong with the spec is told here, by a sandbox that is
        // wanted in any case.
        let first = Instance::open(store.resources(), spec, &stock.rootfs)?;
        stock.state().parked.push_back(Parked::Ready(first));
        stock.refill(usize::MAX);
        let stock = Arc::new(stock);
        Ok(Self { stock })
    }

    /// Takes an unused sandbox: a waiting one, else one that is opened now.
    ///
    /// In a forked copy of the process what waits is left to the parent, and
    /// one is opened.
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
        // They end, without anybody waiting for that.
        drop(surplus);
        if is_short {
            // It may be long until those that were taken are closed. One for
            // this, and one to catch up.
            stock.refill(2);
        }
        let instance = match parked.and_then(Parked::complete) {
            Some(instance) => instance,
            // What failed while it was parked has all attempts once more.
            None => Instance::open(stock.store.resources(), &stock.spec, &stock.rootfs)?,
        };
        let (spec, rootfs) = (Arc::clone(&stock.spec), Arc::clone(&stock.rootfs));
        let on_end: Arc<dyn OnEnd> = Arc::clone(stock) as _;
        Ok(Sandbox::of(
            stock.store.clone(),
            spec,
            rootfs,
            instance,
            Some(on_end),
        ))
    }

    /// How many could be taken now without waiting.
    pub fn ready(&self) -> usize {
        let state = self.stock.state();
        state.parked.iter().filter(|p| p.is_ready()).count()
    }

    /// Ends all waiting sandboxes and returns when nothing of them is left;
    /// sandboxes that were taken live on. Taking one is an error from then on,
    /// closing again is not.
    ///
    /// # Errors
    /// [`Kind::Broken`] if the spawner is gone; what waited is gone with it.
    pub fn close(&self) -> Result<()> {
        let parked = self.stock.shut();
        // All at once, then each in turn.
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
        // Sandboxes that were taken keep the stock, but are nothing's
        // replacement any more.
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

    /// Makes nothing more, and gives away what waits.
    fn shut(&self) -> VecDeque<Parked> {
        let mut state = self.state();
        state.closed = true;
        std::mem::take(&mut state.parked)
    }

    /// Has begun what is missing, at most so many.
    fn refill(&self, most: usize) {
        for _ in 0..most {
            {
                let mut state = self.state();
                if state.closed || state.parked.len() + state.beginning >= state.demand.wanted() {
                    return;
                }
                state.beginning += 1;
            }
            // Outside of the lock: other takers go on.
            let begun = Instance::begin(self.store.resources(), &self.spec, &self.rootfs);
            let mut state = self.state();
            state.beginning -= 1;
            match begun {
                Ok(pending) if !state.closed => state.parked.push_back(Parked::Pending(pending)),
                // Closed meanwhile: it ends as it is dropped.
                Ok(_) => return,
                // The next take tries again, and says why if none waits then.
                Err(_) => return,
            }
        }
    }
}

impl State {
    /// Takes the oldest that this helper has made. Lets those of others go: one
    /// that has died, one of a caller with another authority, one of the
    /// process that this one was forked from.
    fn next_of(&mut self, spawner: &Arc<Spawner>) -> Option<Parked> {
        std::iter::from_fn(|| self.parked.pop_front())
            .find(|p| Arc::ptr_eq(p.hold().spawner(), spawner))
    }

    /// Returns whether fewer than half of what is wanted waits, or will soon.
    fn is_short(&self) -> bool {
        2 * (self.parked.len() + self.beginning) < self.demand.wanted()
    }

    /// Those above what is wanted, the youngest first.
    fn surplus(&mut self) -> Vec<Parked> {
        let wanted = self.demand.wanted().min(self.parked.len());
        self.parked.split_off(wanted).into()
    }
}
