// SPDX-License-Identifier: MIT OR Apache-2.0
//! Events of a sandbox, told by a descriptor.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::poll::PollFlags;

use crate::error::{Error, Result, Step};
use crate::instance::Instance;
use crate::parts::cgroup::OomNotice;
use crate::sys::{event, pidfd};

/// Looks at the count after a notice of v1 that no kill has followed, for a
/// second in all: after 1 ms, 2 ms, 4 ms and so on.
const LOOKS: u32 = 10;

/// An event of a sandbox.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The kernel killed this number of processes inside for want of memory.
    OomKills(u64),
    /// The sandbox is gone: closed, reset, or its process 1 has died.
    Gone,
}

/// The events of a sandbox since [`Sandbox::events`](crate::Sandbox::events).
/// Any number of watchers may watch the same sandbox.
///
/// ```no_run
/// use std::os::fd::AsFd as _;
/// use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
/// use tare::{Event, Sandbox, Spec, Store};
///
/// let spec = Spec::from_json(r#"{"limits": {"memory": "1g"}}"#)?;
/// let sandbox = Sandbox::open(&Store::open_default()?, &spec)?;
/// let events = sandbox.events()?;
/// loop {
///     let mut fds = [PollFd::new(events.as_fd(), PollFlags::POLLIN)];
///     poll(&mut fds, PollTimeout::NONE).unwrap();
///     match events.next()? {
///         Some(Event::OomKills(n)) => println!("{n} killed"),
///         Some(_) => break,
///         None => {}
///     }
/// }
/// # Ok::<(), tare::Error>(())
/// ```
#[derive(Debug)]
pub struct Events {
    instance: Arc<Instance>,
    notice: OomNotice,
    again: OwnedFd,
    any: OwnedFd,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    kills: u64,
    /// Notices of kills that are not counted yet.
    noticed: u64,
    looks: u32,
}

impl Events {
    pub(super) fn of(instance: Arc<Instance>) -> Result<Self> {
        let wrong = |e| Error::os(Step::WatchSandbox, "descriptors", e);
        let notice = instance.cgroup().watch_oom()?;
        let again = event::timer().map_err(wrong)?;
        let sources = [
            notice.source(),
            (again.as_fd(), PollFlags::POLLIN),
            (instance.pidfd.as_fd(), PollFlags::POLLIN),
        ];
        let any = event::any_of(&sources).map_err(wrong)?;
        let seen = Seen {
            kills: instance.cgroup().oom_kills().unwrap_or_default(),
            noticed: 0,
            looks: 0,
        };
        Ok(Self {
            instance,
            notice,
            again,
            any,
            seen: Mutex::new(seen),
        })
    }

    /// Returns a descriptor for poll(2) and epoll(7), not to be read from:
    /// readable when [`Events::next`] may have an event, and for good once the
    /// sandbox is gone.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.any.as_fd()
    }

    /// Returns the next event since the last call, or `None`. Never waits.
    /// Kills come before [`Event::Gone`], which every later call returns. Kills
    /// in the last moment of a sandbox may be lost.
    ///
    /// # Errors
    /// [`Kind::Invalid`](crate::Kind::Invalid) in a forked copy of the process.
    #[allow(
        clippy::should_implement_trait,
        reason = "`None` is not the end, as it would be of an iterator"
    )]
    pub fn next(&self) -> Result<Option<Event>> {
        self.instance.own()?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Before the count: a later kill makes the descriptor readable again.
        let notices = self.notice.take();
        let is_gone = pidfd::has_ended(self.instance.pidfd.as_fd());
        let kills = self.instance.cgroup().oom_kills().unwrap_or(seen.kills);
        let new = kills.saturating_sub(seen.kills);
        seen.kills = kills;
        seen.follow(notices, new, self.again.as_fd());
        Ok(match (new, is_gone) {
            (0, false) => None,
            (0, true) => Some(Event::Gone),
            (new, _) => Some(Event::OomKills(new)),
        })
    }
}

impl Seen {
    /// Sets the timer, where kills that were noticed are not counted yet.
    fn follow(&mut self, notices: u64, kills: u64, again: BorrowedFd<'_>) {
        event::take(again);
        if notices > 0 {
            (self.noticed, self.looks) = (self.noticed.saturating_add(notices), 0);
        }
        self.noticed = self.noticed.saturating_sub(kills);
        if self.looks == LOOKS {
            self.noticed = 0;
        }
        if self.noticed > 0 {
            event::set_timer(again, Duration::from_millis(1 << self.looks));
            self.looks += 1;
        }
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd()
    }
}
