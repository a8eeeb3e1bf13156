// SPDX-License-Identifier: MIT OR Apache-2.0
//! A requested command: input, output and end.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags};
use nix::unistd::write;
use serde_json::json;
use tare::{Capture, Error, Kind, Process, Result, Sink, Size, Status};

use crate::bytes::{Data, Encoding, Pieces, Shown};
use crate::client::Client;
use crate::id::Id;
use crate::params::command::{Run, Stream};
use crate::reply::OneCommand;
use crate::ticket::called_off;
use crate::typed::Line;

/// Bytes read at once, so that a single command does not delay the others.
const CHUNK: usize = 32 << 10;

/// A command from the request to the end.
pub(crate) struct Command {
    pub(crate) id: Id,
    sandbox: String,
    encoding: Encoding,
    /// True until the end of input, if the command takes input.
    takes_input: bool,
    input: VecDeque<Input>,
    /// Requests from before the command ran.
    early: Vec<(Id, Order)>,
    is_terminal: bool,
    running: Option<Running>,
    /// True if the request was called off: the client receives no more events.
    unheard: bool,
}

/// A request that takes effect at once.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Order {
    Signal(i32),
    Kill,
    Resize(Size),
}

struct Input {
    id: Id,
    data: Vec<u8>,
    written: usize,
    eof: bool,
}

struct Running {
    process: Process,
    stdin: Option<OwnedFd>,
    capture: Capture,
    /// The beginning of a character of standard output, and of standard error.
    pieces: [Pieces; 2],
    is_terminal: bool,
    line: Line,
}

/// Output on the way to the client.
struct Heard<'a> {
    /// `None` once the request was called off.
    id: Option<&'a Id>,
    encoding: Encoding,
    pieces: &'a mut [Pieces; 2],
    client: &'a mut Client,
    /// Bytes that may still come before other commands have their turn.
    turn: usize,
}

impl Sink for Heard<'_> {
    fn room(&self) -> usize {
        match self.client.is_full() {
            true => 0,
            false => self.turn.min(CHUNK),
        }
    }

    fn take(&mut self, stream: usize, bytes: &[u8]) {
        self.turn -= bytes.len();
        if self.id.is_some() {
            let bytes = self.pieces[stream].next(bytes, self.encoding);
            self.send(stream, &bytes);
        }
    }
}

impl Heard<'_> {
    fn send(&mut self, stream: usize, bytes: &[u8]) {
        if let Some(id) = self.id.filter(|_| !bytes.is_empty()) {
            let shown = Shown::new(bytes, self.encoding);
            self.client
                .event(id, ["stdout", "stderr"][stream], Some(shown));
        }
    }
}

impl Command {
    pub(crate) fn new(id: &Id, run: &Run) -> Result<Self> {
        let wrong = |what, why| Err(Error::new(Kind::Invalid, what, why));
        if run.input.is_some() && run.stdin == Stream::Pipe {
            return wrong("check command: stdin", "input was given whole");
        }
        if run.tty.is_some() && run.input.is_some() {
            return wrong("check command: input", "a terminal's input is stdin");
        }
        Ok(Self {
            id: id.clone(),
            sandbox: run.sandbox.clone(),
            encoding: run.encoding,
            takes_input: run.stdin == Stream::Pipe,
            input: VecDeque::new(),
            early: Vec::new(),
            is_terminal: run.tty.is_some(),
            running: None,
            unheard: false,
        })
    }

    /// Describes a command that runs in this sandbox.
    pub(crate) fn describe(&self, sandbox: &str) -> Option<OneCommand<'_>> {
        let running = self.running.as_ref().filter(|_| self.sandbox == sandbox)?;
        let said = running.process.describe();
        let bytes = said.argv.into_iter().map(OsString::into_vec);
        (!running.capture.has_ended()).then(|| OneCommand {
            command: &self.id,
            argv: bytes.map(Data).collect(),
            wall_ns: said.wall_ns,
        })
    }

    /// Calls the request off, which is answered. The command runs on, under its
    /// id.
    pub(crate) fn call_off(&mut self, client: &mut Client) {
        self.unheard = true;
        if let Some(running) = &mut self.running {
            running.capture.lift_limit();
        }
        client.refuse(Some(&self.id), &called_off());
    }

    /// Calls off a waiting request to the command; returns true if the request
    /// `id` was waiting.
    pub(crate) fn call_off_asked(&mut self, id: &Id) -> bool {
        let asked = self.early.len() + self.input.len();
        self.early.retain(|(early, _)| early != id);
        let ends = self.input.iter().any(|input| input.id == *id && input.eof);
        self.takes_input |= ends;
        self.input.retain(|input| input.id != *id);
        asked != self.early.len() + self.input.len()
    }

    /// Answers the request, unless it was called off.
    fn answer(&self, result: Result<Status>, client: &mut Client) {
        if !self.unheard {
            client.settle(&self.id, result);
        }
    }

    /// Takes the started process.
    pub(crate) fn started(&mut self, process: Process, client: &mut Client) -> Result<()> {
        if !self.unheard {
            client.release(&self.id);
            client.event(&self.id, "started", None);
        }
        let mut running = Running::new(process)?;
        if self.unheard {
            running.capture.lift_limit();
        }
        for (id, order) in self.early.drain(..) {
            client.settle(&id, running.obey(order).map(|()| json!({})));
        }
        running.write(&self.id, &mut self.input, client);
        self.running = Some(running);
        Ok(())
    }

    /// Refuses all waiting requests, because the command never runs or is gone.
    fn abandon(&mut self, client: &mut Client) {
        for id in self.early.drain(..).map(|(id, _)| id) {
            client.refuse(Some(&id), &ended("find command", &self.id, Errno::ESRCH));
        }
        for id in self.input.drain(..).map(|input| input.id) {
            client.refuse(Some(&id), &ended("send input", &self.id, Errno::EPIPE));
        }
    }

    /// Obeys at once, or as soon as the process exists.
    pub(crate) fn order(&mut self, id: &Id, order: Order, client: &mut Client) {
        match &mut self.running {
            Some(running) => client.settle(id, running.obey(order).map(|()| json!({}))),
            None => self.early.push((id.clone(), order)),
        }
    }

    /// Returns an error if the command takes no input.
    pub(crate) fn check_input(&self) -> Result<()> {
        match self.takes_input {
            true => Ok(()),
            false => {
                let why = format_args!("command {} takes none, or no more", self.id);
                Err(Error::new(Kind::Invalid, "send input", why)
                    .with_cure("\"stdin\": \"pipe\" when it is run"))
            }
        }
    }

    /// Queues checked input.
    pub(crate) fn send(&mut self, id: Id, data: Vec<u8>, eof: bool, client: &mut Client) {
        // A terminal stays open after Ctrl-D.
        self.takes_input = !eof || self.is_terminal;
        self.input.push_back(Input {
            id,
            data,
            written: 0,
            eof,
        });
        if let Some(running) = &mut self.running {
            running.write(&self.id, &mut self.input, client);
        }
    }

    /// Returns whether only the answer is missing.
    pub(crate) fn is_ending(&self) -> bool {
        self.running.as_ref().is_some_and(|r| r.capture.has_ended())
    }

    /// Adds descriptors to wait for; if `full`, none that would make output.
    pub(crate) fn watch<'a>(&'a self, full: bool, fds: &mut Vec<PollFd<'a>>) {
        let Some(running) = &self.running else {
            return;
        };
        let mut readable = |fd| fds.push(PollFd::new(fd, PollFlags::POLLIN));
        if !running.capture.has_ended() {
            readable(running.process.status_fd());
        }
        if !full {
            running.capture.fds().for_each(readable);
        }
        if let Some(fd) = running.input_fd()
            && !self.input.is_empty()
        {
            fds.push(PollFd::new(fd, PollFlags::POLLOUT));
        }
    }

    /// Moves ready bytes; returns true after the end and the answer.
    ///
    /// # Errors
    /// Those of reading the pipes; the end of the command is unknown then.
    pub(crate) fn advance(&mut self, client: &mut Client) -> Result<bool> {
        let Some(running) = &mut self.running else {
            return Ok(false);
        };
        running.write(&self.id, &mut self.input, client);
        let mut heard = Heard {
            id: (!self.unheard).then_some(&self.id),
            encoding: self.encoding,
            pieces: &mut running.pieces,
            client,
            turn: 2 * CHUNK,
        };
        let capture = &mut running.capture;
        let Some(status) = capture.step_into(&running.process, &mut heard)? else {
            return Ok(false);
        };
        for stream in 0..2 {
            let rest = heard.pieces[stream].rest();
            heard.send(stream, &rest);
        }
        self.abandon(client);
        self.answer(Ok(status), client);
        Ok(true)
    }

    /// Kills the command, and answers with an error.
    pub(crate) fn give_up(&mut self, error: Error, client: &mut Client) {
        if let Some(running) = &self.running {
            // If the kill fails, the sandbox is gone, and the command with it.
            let _ = running.process.kill();
        }
        self.never(error, client);
    }

    /// Answers with an error for a command that did not start or is lost.
    pub(crate) fn never(&mut self, error: Error, client: &mut Client) {
        self.abandon(client);
        self.answer(Err(error), client);
    }
}

fn ended(step: &'static str, id: &Id, errno: Errno) -> Error {
    Error::os(step, format_args!("command {id} has ended"), errno)
}

impl Running {
    fn new(process: Process) -> Result<Self> {
        let stdin = process.take_stdin();
        let capture = stdin.iter().try_for_each(never_wait);
        let capture = capture.and_then(|()| Capture::of(&process));
        let capture = capture.inspect_err(|_| {
            // If the kill fails, the sandbox is gone, and the command with it.
            let _ = process.kill();
        })?;
        Ok(Self {
            is_terminal: process.terminal().is_some(),
            line: Line::default(),
            process,
            stdin,
            capture,
            pieces: Default::default(),
        })
    }

    fn obey(&self, order: Order) -> Result<()> {
        match order {
            Order::Signal(signal) => self.process.signal(signal),
            Order::Kill => self.process.kill(),
            Order::Resize(size) => self.process.resize(size),
        }
    }

    /// Returns the descriptor for input.
    fn input_fd(&self) -> Option<BorrowedFd<'_>> {
        match self.is_terminal {
            true => self.process.terminal(),
            false => self.stdin.as_ref().map(|fd| fd.as_fd()),
        }
    }

    /// Writes as much input as the pipe takes, and answers requests whose input
    /// is written.
    fn write(&mut self, id: &Id, queue: &mut VecDeque<Input>, client: &mut Client) {
        while let Some(input) = queue.front_mut() {
            let fd = match self.is_terminal {
                true => self.process.terminal(),
                false => self.stdin.as_ref().map(|fd| fd.as_fd()),
            };
            let Some(fd) = fd else {
                return;
            };
            if input.eof && self.is_terminal && input.written == input.data.len() {
                input.data.extend(self.line.end(fd));
                input.eof = false;
            }
            let left = &input.data[input.written..];
            let outcome = match left.is_empty() {
                true => Ok(()),
                false => match write(fd, left) {
                    Ok(n) => {
                        if self.is_terminal {
                            self.line.follow(&left[..n], fd);
                        }
                        input.written += n;
                        continue;
                    }
                    Err(Errno::EINTR) => continue,
                    Err(Errno::EAGAIN) => return,
                    Err(e) => Err(Error::os("send input", format_args!("command {id}"), e)),
                },
            };
            if input.eof {
                self.stdin = None;
            }
            client.settle(&input.id, outcome.map(|()| json!({})));
            queue.pop_front();
        }
    }
}

/// Makes the input non-blocking.
fn never_wait(stdin: &OwnedFd) -> Result<()> {
    // The command's end is another open file description, so the command never
    // sees this flag.
    fcntl(stdin, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
        .map(drop)
        .map_err(|e| Error::os("start command", "fcntl", e))
}
