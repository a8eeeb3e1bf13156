// SPDX-License-Identifier: MIT OR Apache-2.0
//! The session loop: reads requests, watches commands, writes replies.
#![forbid(unsafe_code)]

mod dispatch;

use std::collections::HashMap;
use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, sync_channel};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tare::{Error, Kind, Result, Store};

use crate::client::Client;
use crate::command::Command;
use crate::events::{EventSender, WorkerEvent};
use crate::id::Id;
use crate::input::{LINE, Lines};
use crate::pool::PoolHandle;
use crate::request::{Refused, Request};
use crate::ticket::Ticket;
use crate::watch::Watch;
use crate::worker::Queued;

/// Events that wait; a worker with more waits itself.
const EVENTS_MAX: usize = 64;

/// A session from the first request to the last answer.
pub(crate) struct Session<'a> {
    store: &'a Store,
    input: BorrowedFd<'a>,
    output: BorrowedFd<'a>,
    client: Client,
    requests: Lines,
    /// Order of turns.
    commands: Vec<Command>,
    watches: Vec<Watch>,
    sandboxes: HashMap<String, Sender<Queued>>,
    pools: HashMap<String, PoolHandle>,
    /// Threads that have not ended.
    workers: usize,
    /// Tickets of requests that workers have or do.
    tickets: HashMap<Id, Ticket>,
    sender: EventSender,
    events: Receiver<WorkerEvent>,
    woken: UnixStream,
}

impl<'a> Session<'a> {
    pub(crate) fn new(
        store: &'a Store,
        input: BorrowedFd<'a>,
        output: BorrowedFd<'a>,
    ) -> Result<Self> {
        let wrong = |e| Error::io("begin session", "socketpair", e);
        let (wake, woken) = UnixStream::pair().map_err(wrong)?;
        wake.set_nonblocking(true).map_err(wrong)?;
        woken.set_nonblocking(true).map_err(wrong)?;
        let (sender, events) = sync_channel(EVENTS_MAX);
        Ok(Self {
            store,
            input,
            output,
            client: Client::default(),
            requests: Lines::new(LINE),
            commands: Vec::new(),
            watches: Vec::new(),
            sandboxes: HashMap::new(),
            pools: HashMap::new(),
            workers: 0,
            tickets: HashMap::new(),
            sender: EventSender::new(sender, wake),
            events,
            woken,
        })
    }

    /// Runs until the input has ended, everything is closed and every answer is
    /// written.
    pub(crate) fn speak(mut self) -> Result<()> {
        loop {
            // Work that did not fit is done when the client has read more.
            let undone = [self.take_requests(), self.take_events()].contains(&false);
            self.client.write(self.output)?;
            if self.is_over() {
                return Ok(());
            }
            let ready = self.wait(undone)?;
            self.advance(&ready);
        }
    }

    fn is_over(&mut self) -> bool {
        let heard = self.requests.ended() && self.requests.is_empty();
        if heard {
            // The worker finishes earlier requests, then closes the sandbox,
            // which ends its commands.
            self.sandboxes.clear();
            self.pools.clear();
        }
        let is_done = self.commands.is_empty() && self.watches.is_empty();
        heard && self.workers == 0 && is_done && self.client.is_up_to_date()
    }

    /// Waits until a descriptor is ready; returns the indexes of ready
    /// commands.
    fn wait(&mut self, undone: bool) -> Result<Vec<usize>> {
        let full = self.client.is_full();
        let mut on_output = PollFlags::empty();
        on_output.set(PollFlags::POLLOUT, !self.client.is_up_to_date());
        let mut fds = vec![PollFd::new(self.output, on_output)];
        if !full {
            fds.push(PollFd::new(self.woken.as_fd(), PollFlags::POLLIN));
        }
        let reading = !full && !self.requests.ended();
        if reading {
            fds.push(PollFd::new(self.input, PollFlags::POLLIN));
        }
        let input = fds.len() - 1;
        let mut ends = Vec::with_capacity(self.commands.len());
        let first = fds.len();
        for command in &self.commands {
            command.watch(full, &mut fds);
            ends.push(fds.len());
        }
        let watches = fds.len();
        if !full {
            self.watches.iter().for_each(|watch| watch.watch(&mut fds));
        }
        let ending = |command: &Command| !full && command.is_ending();
        let timeout = match !full && (undone || self.commands.iter().any(ending)) {
            true => PollTimeout::ZERO,
            false => PollTimeout::NONE,
        };
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(Error::os("wait for requests", "poll", e)),
        }
        let told = |fd: &PollFd<'_>| fd.any() == Some(true);
        let broken = PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL;
        if fds[0]
            .revents()
            .is_some_and(|flags| flags.intersects(broken))
        {
            return Err(Error::os("write answers", "output", Errno::EPIPE));
        }
        let read = reading && told(&fds[input]);
        let mut ready = Vec::new();
        let mut begin = first;
        for (at, end) in ends.into_iter().enumerate() {
            if fds[begin..end].iter().any(told) || ending(&self.commands[at]) {
                ready.push(at);
            }
            begin = end;
        }
        let watched = fds[watches..].iter().any(told);
        drop(fds);
        if watched {
            let client = &mut self.client;
            self.watches.retain(|watch| !watch.advance(client));
        }
        if read {
            self.requests.read(self.input)?;
        }
        Ok(ready)
    }

    /// Advances commands. Those that found no room go first next time.
    fn advance(&mut self, ready: &[usize]) {
        let mut over = Vec::new();
        let mut stuck = None;
        for at in ready {
            if stuck.is_none() && self.client.is_full() {
                stuck = Some(*at);
            }
            let command = &mut self.commands[*at];
            match command.advance(&mut self.client) {
                Ok(false) => {}
                Ok(true) => over.push(*at),
                Err(error) => {
                    command.give_up(error, &mut self.client);
                    over.push(*at);
                }
            }
        }
        if let Some(at) = stuck {
            self.commands.rotate_left(at);
            let length = self.commands.len();
            over.iter_mut()
                .for_each(|o| *o = (*o + length - at) % length);
            over.sort_unstable();
        }
        for at in over.into_iter().rev() {
            self.commands.remove(at);
        }
    }

    /// Takes events of workers; returns false if more may wait.
    fn take_events(&mut self) -> bool {
        let mut bytes = [0; 256];
        // A single wake-up covers all bytes.
        while (&self.woken).read(&mut bytes).is_ok_and(|n| n > 0) {}
        while !self.client.is_full() {
            match self.events.try_recv() {
                Ok(event) => self.hear(event),
                Err(_) => return true,
            }
        }
        false
    }

    fn hear(&mut self, event: WorkerEvent) {
        match event {
            WorkerEvent::Ended => self.workers -= 1,
            WorkerEvent::Gone(name) => drop(self.sandboxes.remove(&name)),
            WorkerEvent::PoolGone(slot) => self.pools.retain(|_, p| !Arc::ptr_eq(&p.slot, &slot)),
            WorkerEvent::Done(id, result) => {
                self.tickets.remove(&id);
                let at = self.commands.iter().position(|c| c.id == id);
                match (at, result) {
                    // Requests to a command that did not start fail, too.
                    (Some(at), Err(error)) => {
                        self.commands.remove(at).never(error, &mut self.client);
                    }
                    (_, result) => self.client.settle(&id, result),
                }
            }
            WorkerEvent::Watched(id, events) => {
                self.tickets.remove(&id);
                self.watches.push(Watch::new(id, events, &mut self.client));
            }
            WorkerEvent::Started(id, process) => {
                self.tickets.remove(&id);
                let Some(at) = self.commands.iter().position(|c| c.id == id) else {
                    return;
                };
                let command = &mut self.commands[at];
                if let Err(error) = command.started(*process, &mut self.client) {
                    command.give_up(error, &mut self.client);
                    self.commands.remove(at);
                }
            }
        }
    }

    /// Takes requests; returns false if more may wait.
    fn take_requests(&mut self) -> bool {
        while !self.client.is_full() {
            match self.requests.next() {
                None => return true,
                Some(Err(error)) => self.client.refuse(None, &error),
                Some(Ok(line)) => self.take(&line),
            }
        }
        false
    }

    fn take(&mut self, line: &[u8]) {
        let request = match Request::read(line) {
            Ok(request) => request,
            Err(Refused { id, error }) => {
                let known = id.filter(|id| !self.client.awaits(id));
                return self.client.refuse(known.as_ref(), &error);
            }
        };
        let Request { id, call } = request;
        // A command whose request was called off keeps the id.
        if self.client.awaits(&id) || self.commands.iter().any(|c| c.id == id) {
            let why = format_args!("a request {id} waits for its answer");
            let error = Error::new(Kind::Exists, "check request: id", why);
            // With the id, the error would look like the answer to the other
            // request.
            return self.client.refuse(None, &error.with_cure("another id"));
        }
        if let Err(error) = self.call(&id, call, line.len()) {
            self.client.refuse(Some(&id), &error);
        }
    }
}
