// SPDX-License-Identifier: MIT OR Apache-2.0
//! The conversation: one loop that reads requests, watches every command and writes what comes of both.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, sync_channel};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::json;
use serde_json::value::RawValue;
use tare::{Error, Kind, PoolSize, Result, Spec, Store};

use crate::client::{Client, unknown};
use crate::command::{Command, Order};
use crate::events::{EventSender, WorkerEvent};
use crate::files::Ask;
use crate::input::{LINE, Lines};
use crate::message::{Call, Hello, Id, Open, OpenPool, Refused, Request, Run};
use crate::pool::{self, PoolHandle};
use crate::reply::{Commands, Greeting};
use crate::ticket::{CalledOff, Ticket, called_off};
use crate::watch::Watch;
use crate::worker::{Queued, Task, start};

/// Events of workers that wait; a worker with more waits itself.
const EVENTS_MAX: usize = 64;
/// The longest name of a sandbox or a request.
const NAME: usize = 256;

/// Everything between the first request and the last answer.
pub(crate) struct Session<'a> {
    store: &'a Store,
    input: BorrowedFd<'a>,
    output: BorrowedFd<'a>,
    client: Client,
    requests: Lines,
    /// In the order in which they are heard.
    commands: Vec<Command>,
    watches: Vec<Watch>,
    sandboxes: HashMap<String, Sender<Queued>>,
    pools: HashMap<String, PoolHandle>,
    /// Threads that have not ended.
    workers: usize,
    /// Of requests that workers have or do.
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

    /// Until the input has ended, everything is closed and every answer is read.
    pub(crate) fn speak(mut self) -> Result<()> {
        loop {
            // What is left undone for want of room is done when there is some.
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
            // Its worker does what it was asked before, then closes it, which ends its commands.
            self.sandboxes.clear();
            self.pools.clear();
        }
        let is_done = self.commands.is_empty() && self.watches.is_empty();
        heard && self.workers == 0 && is_done && self.client.is_up_to_date()
    }

    /// Waits until something can be done; the indexes of commands for which there is.
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

    /// Lets commands carry on; those that could not, for want of room, are first the next time.
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

    /// Hears what workers tell; false if there may be more.
    fn take_events(&mut self) -> bool {
        let mut bytes = [0; 256];
        // However often they woke us, once is enough.
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
                    // A command that could not be started takes with it what was asked of it.
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

    /// Takes the requests that were read; false if there may be more.
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
        // A command whose request was called off keeps its id.
        if self.client.awaits(&id) || self.commands.iter().any(|c| c.id == id) {
            let why = format_args!("a request {id} waits for its answer");
            let error = Error::new(Kind::Exists, "check request: id", why);
            // With the id, it would be taken for the other one's answer.
            return self.client.refuse(None, &error.with_cure("another id"));
        }
        if let Err(error) = self.call(&id, call, line.len()) {
            self.client.refuse(Some(&id), &error);
        }
    }

    fn call(&mut self, id: &Id, call: Call, length: usize) -> Result<()> {
        if let Id::Text(text) = id
            && text.len() > NAME
        {
            let why = format_args!("{} bytes are more than {NAME}", text.len());
            return Err(Error::new(Kind::Invalid, "check request: id", why));
        }
        let (sandbox, task) = match call {
            Call::Hello(hello) => return self.hello(id, &hello),
            Call::Open(open) => return self.open(id, open, length),
            Call::OpenPool(open) => return self.open_pool(id, open, length),
            Call::ClosePool(close) => return self.close_pool(id, &close.pool, length),
            Call::Run(run) => return self.run(id, run, length),
            Call::Input(input) => {
                let at = self.find(&input.command)?;
                self.commands[at].check_input()?;
                self.client.hold(id, length)?;
                let (data, eof) = (input.data.0, input.eof);
                self.commands[at].send(id.clone(), data, eof, &mut self.client);
                return Ok(());
            }
            Call::Signal(signal) => {
                return self.order(id, &signal.command, Order::Signal(signal.signal.0));
            }
            Call::Kill(kill) => return self.order(id, &kill.command, Order::Kill),
            Call::Resize(resize) => {
                return self.order(id, &resize.command, Order::Resize(resize.size()));
            }
            Call::List(list) => return self.list(id, &list.sandbox),
            Call::Cancel(cancel) => return self.cancel(id, &cancel.request),
            Call::ReadFile(ask) => return self.ask_files(id, length, Ask::Read(ask)),
            Call::WriteFile(ask) => return self.ask_files(id, length, Ask::Write(ask)),
            Call::ListDir(ask) => return self.ask_files(id, length, Ask::List(ask)),
            Call::Stat(ask) => return self.ask_files(id, length, Ask::Stat(ask)),
            Call::Mkdir(ask) => return self.ask_files(id, length, Ask::Mkdir(ask)),
            Call::Remove(ask) => return self.ask_files(id, length, Ask::Remove(ask)),
            Call::Put(ask) => return self.ask_files(id, length, Ask::Put(ask)),
            Call::Get(ask) => return self.ask_files(id, length, Ask::Get(ask)),
            Call::PutTar(ask) => return self.ask_files(id, length, Ask::PutTar(ask)),
            Call::GetTar(ask) => return self.ask_files(id, length, Ask::GetTar(ask)),
            Call::Reset(reset) => (reset.sandbox, Task::Reset),
            Call::Freeze(freeze) => (freeze.sandbox, Task::Freeze),
            Call::Thaw(thaw) => (thaw.sandbox, Task::Thaw),
            Call::Measure(measure) => (measure.sandbox, Task::Usage),
            Call::SetLimits(set) => (set.sandbox, Task::SetLimits(Box::new(set.limits))),
            Call::WatchSandbox(watch) => (watch.sandbox, Task::Watch),
            Call::Inspect(inspect) => (inspect.sandbox, Task::Effective),
            Call::Close(close) => (close.sandbox, Task::Close),
        };
        self.ask(&sandbox, id, length, task)
    }

    /// Gives a sandbox's worker something to do.
    fn ask(&mut self, sandbox: &str, id: &Id, length: usize, task: Task) -> Result<()> {
        if self.sandboxes.contains_key(sandbox) {
            self.client.hold(id, length)?;
        }
        self.give(sandbox, id, task)
    }

    /// Gives a sandbox's worker something to do, for a request that is held.
    fn give(&mut self, sandbox: &str, id: &Id, task: Task) -> Result<()> {
        let none = || unknown("sandbox", format_args!("{sandbox:?}"));
        let worker = self.sandboxes.get(sandbox).ok_or_else(none)?;
        // Its name is free again before it is answered, so the worker answers.
        let ticket = Ticket::new(matches!(task, Task::Open(_) | Task::Take(_)));
        let job = (id.clone(), ticket.clone(), task);
        worker.send(job).map_err(|_| none())?;
        self.tickets.insert(id.clone(), ticket);
        Ok(())
    }

    fn ask_files(&mut self, id: &Id, length: usize, ask: Ask) -> Result<()> {
        let sandbox = ask.sandbox().to_owned();
        self.ask(&sandbox, id, length, Task::Files(Box::new(ask)))
    }

    fn hello(&mut self, id: &Id, hello: &Hello) -> Result<()> {
        if let Some(wanted) = hello.protocol
            && wanted != crate::PROTOCOL
        {
            let why = format_args!("protocol {wanted}: this is {}", crate::PROTOCOL);
            return Err(Error::new(Kind::Unsupported, "greet", why));
        }
        self.client.answer(id, Greeting::new());
        Ok(())
    }

    fn open(&mut self, id: &Id, open: Open, length: usize) -> Result<()> {
        let name = open.sandbox;
        check_name("sandbox", &name, self.sandboxes.contains_key(&name))?;
        let task = match (&open.spec, &open.pool) {
            (Some(_), Some(_)) => {
                let why = "a sandbox of a pool is as the pool's spec says";
                return Err(Error::new(Kind::Invalid, "check request: spec", why));
            }
            (None, Some(pool)) => Task::Take(Arc::clone(&self.pool(pool)?.slot)),
            (spec, None) => Task::Open(Box::new(spec_of(spec.as_deref())?)),
        };
        self.client.hold(id, length)?;
        let worker = start(self.store, &name, self.sender.clone())?;
        self.workers += 1;
        self.sandboxes.insert(name.clone(), worker);
        self.give(&name, id, task)
    }

    fn open_pool(&mut self, id: &Id, open: OpenPool, length: usize) -> Result<()> {
        let name = open.pool;
        check_name("pool", &name, self.pools.contains_key(&name))?;
        let spec = spec_of(open.spec.as_deref())?;
        let (min, max) = (open.min, open.max);
        let size = PoolSize { min, max };
        self.client.hold(id, length)?;
        let sender = self.sender.clone();
        let handle = pool::start(self.store, &name, id.clone(), spec, size, sender)?;
        self.workers += 1;
        self.pools.insert(name, handle);
        Ok(())
    }

    fn close_pool(&mut self, id: &Id, name: &str, length: usize) -> Result<()> {
        let none = || unknown("pool", format_args!("{name:?}"));
        self.pool(name)?;
        self.client.hold(id, length)?;
        // Its name is free from now on; what was begun to be taken from it is answered as it comes.
        let pool = self.pools.remove(name).ok_or_else(none)?;
        pool.closes.send(id.clone()).map_err(|_| none())
    }

    fn pool(&self, name: &str) -> Result<&PoolHandle> {
        let none = || unknown("pool", format_args!("{name:?}"));
        self.pools.get(name).ok_or_else(none)
    }

    fn run(&mut self, id: &Id, run: Run, length: usize) -> Result<()> {
        let command = Command::new(id, &run)?;
        let sandbox = run.sandbox.clone();
        self.ask(&sandbox, id, length, Task::Run(Box::new(run)))?;
        self.commands.push(command);
        Ok(())
    }

    fn list(&mut self, id: &Id, sandbox: &str) -> Result<()> {
        if !self.sandboxes.contains_key(sandbox) {
            return Err(unknown("sandbox", format_args!("{sandbox:?}")));
        }
        let running = self.commands.iter().filter_map(|c| c.describe(sandbox));
        let commands = Commands {
            commands: running.collect(),
        };
        self.client.answer(id, commands);
        Ok(())
    }

    fn order(&mut self, id: &Id, command: &Id, order: Order) -> Result<()> {
        let at = self.find(command)?;
        self.client.note(id);
        self.commands[at].order(id, order, &mut self.client);
        Ok(())
    }

    /// Ends the wait for the answer to another request.
    fn cancel(&mut self, id: &Id, request: &Id) -> Result<()> {
        if !self.client.awaits(request) {
            return Err(Error::os("find request", request, Errno::ESRCH));
        }
        let off = self.tickets.get(request).map(Ticket::call_off);
        let command = self.commands.iter().position(|c| c.id == *request);
        let watches = self.watches.len();
        self.watches.retain(|watch| watch.id != *request);
        let is_watch = self.watches.len() < watches;
        let mut asked = self.commands.iter_mut();
        match (off, command) {
            (Some(CalledOff::Withdrawn), at) => {
                self.tickets.remove(request);
                if let Some(at) = at {
                    self.commands
                        .remove(at)
                        .never(called_off(), &mut self.client);
                } else {
                    self.client.refuse(Some(request), &called_off());
                }
            }
            (Some(CalledOff::Stopping), _) => {}
            (_, Some(at)) => self.commands[at].call_off(&mut self.client),
            (None, None) if is_watch || asked.any(|c| c.call_off_asked(request)) => {
                self.client.refuse(Some(request), &called_off());
            }
            (_, None) => {
                let why = format_args!("request {request} is being done");
                return Err(Error::new(Kind::Busy, "cancel request", why));
            }
        }
        self.client.answer(id, json!({}));
        Ok(())
    }

    fn find(&self, command: &Id) -> Result<usize> {
        let at = self.commands.iter().position(|c| c.id == *command);
        at.ok_or_else(|| Error::os("find command", command, Errno::ESRCH))
    }
}

/// A new name is one, and not taken.
fn check_name(what: &str, name: &str, taken: bool) -> Result<()> {
    let wrong = |kind, why| Err(Error::new(kind, format!("check request: {what}"), why));
    match (1..=NAME).contains(&name.len()) {
        false => wrong(Kind::Invalid, format!("a name has 1 to {NAME} bytes")),
        true if taken => wrong(Kind::Exists, format!("{name:?} is open")),
        true => Ok(()),
    }
}

fn spec_of(text: Option<&RawValue>) -> Result<Spec> {
    text.map_or_else(|| Ok(Spec::default()), |text| Spec::from_json(text.get()))
}
