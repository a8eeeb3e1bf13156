// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads of sandboxes: each does slow requests in order.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use serde_json::{Value, json};
use tare::image::{ImportOptions, Progress as _};
use tare::spec::Limits;
use tare::{Command, Error, Kind, Process, Result, Sandbox, Spec, Stdin, Stdout, Store};

use crate::client::unknown;
use crate::events::{EventSender, WorkerEvent};
use crate::id::Id;
use crate::params::command::{Run, Stderr, Stream};
use crate::params::files::Ask;
use crate::pool_slot::PoolSlot;
use crate::reply::Opened;
use crate::ticket::{Ticket, called_off};

/// A task for a worker, with the request's id and ticket.
pub(crate) type Queued = (Id, Ticket, Task);

/// A task that may take long.
pub(crate) enum Task {
    Open(Box<Spec>),
    Take(Arc<PoolSlot>),
    Run(Box<Run>),
    Reset,
    Freeze,
    Thaw,
    Usage,
    Watch,
    SetLimits(Box<Limits>),
    Effective,
    Files(Box<Ask>),
    Close,
}

/// Starts a worker, which ends when the returned sender is dropped.
///
/// # Errors
/// Those of starting a thread.
pub(crate) fn start(store: &Store, name: &str, events: EventSender) -> Result<Sender<Queued>> {
    let (tasks, queue) = channel();
    let mut worker = Worker {
        store: store.clone(),
        name: name.to_owned(),
        sandbox: None,
        gone: false,
        events,
    };
    thread::Builder::new()
        .name("sandbox".into())
        .spawn(move || worker.work(&queue))
        .map_err(|e| Error::io("open sandbox", "thread", e))?;
    Ok(tasks)
}

struct Worker {
    store: Store,
    name: String,
    sandbox: Option<Sandbox>,
    /// True if the sandbox was closed, or never opened.
    gone: bool,
    events: EventSender,
}

impl Worker {
    fn work(&mut self, queue: &Receiver<Queued>) {
        for (id, ticket, task) in queue {
            if !ticket.begin() {
                continue;
            }
            let event = match task {
                Task::Run(run) => match self.run(*run) {
                    Ok(process) => WorkerEvent::Started(id, Box::new(process)),
                    Err(error) => WorkerEvent::Done(id, Err(error)),
                },
                Task::Watch => match self.sandbox().and_then(Sandbox::events) {
                    Ok(events) => WorkerEvent::Watched(id, Box::new(events)),
                    Err(error) => WorkerEvent::Done(id, Err(error)),
                },
                task => {
                    let result = self.once(task, ticket);
                    self.tell_gone();
                    WorkerEvent::Done(id, result)
                }
            };
            self.events.send(event);
        }
        // The session is over, so an error has no reader.
        let _ = self.close();
        self.events.send(WorkerEvent::Ended);
    }

    /// Frees the name of a missing sandbox before the client learns of it. Does
    /// so once, because another sandbox may have the name by now.
    fn tell_gone(&mut self) {
        if self.sandbox.is_none() && !self.gone {
            self.gone = true;
            self.events.send(WorkerEvent::Gone(self.name.clone()));
        }
    }

    fn once(&mut self, task: Task, mut ticket: Ticket) -> Result<Value> {
        if !ticket.keep_going() {
            return Err(called_off());
        }
        match task {
            Task::Open(spec) => {
                spec.validate()?;
                let (reference, options) = (spec.image.parse()?, ImportOptions::default());
                let images = self.store.images();
                let image = images.image_with(&reference, &options, &mut ticket)?;
                self.sandbox = Some(Sandbox::open_on(&self.store, &image, &spec)?);
                return self.opened();
            }
            Task::Take(slot) => {
                self.sandbox = Some(slot.pool()?.take()?);
                return self.opened();
            }
            Task::Reset => {
                self.sandbox()?.reset()?;
                return self.opened();
            }
            Task::Freeze => self.sandbox()?.freeze()?,
            Task::Thaw => self.sandbox()?.thaw()?,
            Task::Usage => return described(&self.sandbox()?.usage()?),
            Task::SetLimits(limits) => self.sandbox()?.set_limits(&limits)?,
            Task::Effective => return described(&self.sandbox()?.effective()?),
            Task::Files(ask) => return ask.apply(&self.sandbox()?.files()),
            Task::Close => {
                self.sandbox()?;
                self.close()?;
            }
            Task::Run(_) | Task::Watch => unreachable!("has an answer of its own"),
        }
        Ok(json!({}))
    }

    /// Answers with the keys that were left out, if any.
    fn opened(&self) -> Result<Value> {
        let left_out = self.sandbox()?.left_out()?;
        match left_out.is_empty() {
            true => Ok(json!({})),
            false => described(&Opened { left_out }),
        }
    }

    fn sandbox(&self) -> Result<&Sandbox> {
        let none = || unknown("sandbox", format_args!("{:?}", self.name));
        self.sandbox.as_ref().ok_or_else(none)
    }

    fn close(&mut self) -> Result<()> {
        self.sandbox
            .take()
            .map_or(Ok(()), |sandbox| sandbox.close())
    }

    fn run(&self, run: Run) -> Result<Process> {
        let sandbox = self.sandbox()?;
        sandbox.spawn(command(sandbox, run)?)
    }
}

fn described(what: &impl serde::Serialize) -> Result<Value> {
    serde_json::to_value(what).map_err(|e| Error::new(Kind::Broken, "describe sandbox", e))
}

fn command(sandbox: &Sandbox, run: Run) -> Result<Command> {
    let mut command = match run.argv {
        Some(argv) => Command::from_argv(argv.into_iter().map(crate::bytes::Data::into_os)),
        None => sandbox.image_command::<&str>(&[])?,
    };
    for (name, value) in run.env {
        command = command.env(name, value.into_os());
    }
    if let Some(cwd) = run.cwd {
        command = command.cwd(PathBuf::from(cwd.into_os()));
    }
    if let Some(user) = run.user {
        command = command.user(user);
    }
    if let Some(timeout) = run.timeout {
        command = command.timeout(timeout.into());
    }
    if let Some(limit) = run.output_limit {
        command = command.output_limit(limit.bytes());
    }
    if let Some(size) = run.tty {
        command = command.tty(size.into());
    }
    for (name, limit) in run.rlimits {
        command = command.rlimit(name, limit);
    }
    for name in run.cap_add {
        command = command.cap_add(name);
    }
    for name in run.cap_drop {
        command = command.cap_drop(name);
    }
    if let Some(mask) = run.umask {
        command = command.umask(mask.0);
    }
    let stdout = match run.stdout {
        Stream::Null => Stdout::Null,
        Stream::Pipe => Stdout::Piped,
    };
    let stderr = match run.stderr {
        Stderr::Null => Stdout::Null,
        Stderr::Pipe => Stdout::Piped,
        Stderr::Stdout => Stdout::Merged,
    };
    let stdin = match (run.input, run.stdin) {
        (Some(input), _) => Stdin::Bytes(input.0),
        (None, Stream::Pipe) => Stdin::Piped,
        (None, Stream::Null) => Stdin::Null,
    };
    Ok(command.stdin(stdin).stdout(stdout).stderr(stderr))
}
