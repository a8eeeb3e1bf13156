// SPDX-License-Identifier: MIT OR Apache-2.0
//! Answers each request, or gives it to a worker.
#![forbid(unsafe_code)]

use std::sync::Arc;

use nix::errno::Errno;
use serde_json::json;
use serde_json::value::RawValue;
use tare::{Error, Kind, PoolSize, Result, Spec};

use super::Session;
use crate::call::Call;
use crate::client::unknown;
use crate::command::{Command, Order};
use crate::id::Id;
use crate::params::command::{Input, Run};
use crate::params::files::Ask;
use crate::params::sandbox::{Hello, Open, OpenPool};
use crate::pool::{self, PoolHandle};
use crate::reply::{Commands, Greeting};
use crate::ticket::{CalledOff, Ticket, called_off};
use crate::worker::{Task, start};

/// Bytes of the longest name of a sandbox or a request.
const NAME: usize = 256;

impl Session<'_> {
    pub(super) fn call(&mut self, id: &Id, call: Call, length: usize) -> Result<()> {
        if let Id::Text(text) = id
            && text.len() > NAME
        {
            let why = format_args!("{} bytes are more than {NAME}", text.len());
            return Err(Error::new(Kind::Invalid, "check request: id", why));
        }
        match call {
            Call::Hello(hello) => self.hello(id, &hello),
            Call::Open(open) => self.open(id, open, length),
            Call::OpenPool(open) => self.open_pool(id, open, length),
            Call::ClosePool(close) => self.close_pool(id, &close.pool, length),
            Call::Run(run) => self.run(id, run, length),
            Call::Input(input) => self.input(id, input, length),
            Call::Signal(to) => self.order(id, &to.command, Order::Signal(to.signal.0)),
            Call::Kill(to) => self.order(id, &to.command, Order::Kill),
            Call::Resize(to) => self.order(id, &to.command, Order::Resize(to.size())),
            Call::List(of) => self.list(id, &of.sandbox),
            Call::Cancel(cancel) => self.cancel(id, &cancel.request),
            Call::ReadFile(ask) => self.ask_files(id, length, ask),
            Call::WriteFile(ask) => self.ask_files(id, length, ask),
            Call::ListDir(ask) => self.ask_files(id, length, ask),
            Call::Stat(ask) => self.ask_files(id, length, ask),
            Call::Mkdir(ask) => self.ask_files(id, length, ask),
            Call::Remove(ask) => self.ask_files(id, length, ask),
            Call::Put(ask) => self.ask_files(id, length, ask),
            Call::Get(ask) => self.ask_files(id, length, ask),
            Call::PutTar(ask) => self.ask_files(id, length, ask),
            Call::GetTar(ask) => self.ask_files(id, length, ask),
            Call::Reset(of) => self.ask(&of.sandbox, id, length, Task::Reset),
            Call::Freeze(of) => self.ask(&of.sandbox, id, length, Task::Freeze),
            Call::Thaw(of) => self.ask(&of.sandbox, id, length, Task::Thaw),
            Call::Measure(of) => self.ask(&of.sandbox, id, length, Task::Usage),
            Call::SetLimits(of) => {
                let task = Task::SetLimits(Box::new(of.limits));
                self.ask(&of.sandbox, id, length, task)
            }
            Call::WatchSandbox(of) => self.ask(&of.sandbox, id, length, Task::Watch),
            Call::Inspect(of) => self.ask(&of.sandbox, id, length, Task::Effective),
            Call::Close(of) => self.ask(&of.sandbox, id, length, Task::Close),
        }
    }

    /// Gives a task to the sandbox's worker.
    fn ask(&mut self, sandbox: &str, id: &Id, length: usize, task: Task) -> Result<()> {
        if self.sandboxes.contains_key(sandbox) {
            self.client.hold(id, length)?;
        }
        self.give(sandbox, id, task)
    }

    /// Gives a task to the sandbox's worker, for a request that is noted
    /// already.
    fn give(&mut self, sandbox: &str, id: &Id, task: Task) -> Result<()> {
        let none = || unknown("sandbox", format_args!("{sandbox:?}"));
        let worker = self.sandboxes.get(sandbox).ok_or_else(none)?;
        // Only the worker can answer after the name is free again.
        let ticket = Ticket::new(matches!(task, Task::Open(_) | Task::Take(_)));
        let job = (id.clone(), ticket.clone(), task);
        worker.send(job).map_err(|_| none())?;
        self.tickets.insert(id.clone(), ticket);
        Ok(())
    }

    fn ask_files(&mut self, id: &Id, length: usize, ask: impl Into<Ask>) -> Result<()> {
        let ask = ask.into();
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
        // The name is free from now on; sandboxes that are being taken are
        // answered later.
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

    fn input(&mut self, id: &Id, input: Input, length: usize) -> Result<()> {
        let at = self.find(&input.command)?;
        self.commands[at].check_input()?;
        self.client.hold(id, length)?;
        let (data, eof) = (input.data.0, input.eof);
        self.commands[at].send(id.clone(), data, eof, &mut self.client);
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

    /// Calls another request off.
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

/// Checks a new name, which must be free.
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
