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
use nix::unistd::{read, write};
use serde_json::json;
use tare::{Error, Kind, Process, Result, Size, Status};

use crate::bytes::{Data, Encoding, Pieces, Shown};
use crate::client::Client;
use crate::id::Id;
use crate::params::command::{Run, Stream};
use crate::reply::OneCommand;
use crate::ticket::called_off;
use crate::typed::Line;

/// Bytes read at once, so that a single command does not delay the others.
const CHUNK: usize = 32 << 10;
/// Above the size of a terminal's buffers.
const TERMINAL_HOLDS: u64 = 1 << 20;

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
    outputs: [Output; 2],
    is_terminal: bool,
    line: Line,
    /// Bytes of output still allowed.
    room: u64,
    /// True if the command wrote more and was killed.
    over: bool,
    status: Option<Status>,
}

struct Output {
    event: &'static str,
    fd: Option<OwnedFd>,
    pieces: Pieces,
    /// After the command's end: the most that the command can have left here.
    /// Later output of background processes is not awaited.
    left: u64,
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
        running.status.is_none().then(|| OneCommand {
            command: &self.id,
            argv: bytes.map(Data).collect(),
            wall_ns: said.wall_ns,
        })
    }

    /// Calls the request off, which is answered. The command runs on, under its
    /// id.
    pub(crate) fn call_off(&mut self, client: &mut Client) {
        self.unheard = true;
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
        self.running.as_ref().is_some_and(|r| r.status.is_some())
    }

    /// Adds descriptors to wait for; if `full`, none that would make output.
    pub(crate) fn watch<'a>(&'a self, full: bool, fds: &mut Vec<PollFd<'a>>) {
        let Some(running) = &self.running else {
            return;
        };
        if running.status.is_none() {
            fds.push(PollFd::new(running.process.status_fd(), PollFlags::POLLIN));
        }
        if !full && !running.over {
            let open = running.outputs.iter().filter_map(|o| o.fd.as_ref());
            fds.extend(open.map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
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
        running.notice_end()?;
        let heard = (!self.unheard).then_some(&self.id);
        let dry = running.read(heard, self.encoding, client)?;
        let Some(status) = running.status.filter(|_| dry) else {
            return Ok(false);
        };
        for output in &mut running.outputs {
            if let Some(id) = heard {
                output.show(id, None, self.encoding, client);
            }
        }
        // Cut output is no success, even if the command ended before the kill.
        let status = match running.over {
            true => status.with_output_cut(),
            false => status,
        };
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
        let outputs = match outputs(&process, stdin.as_ref()) {
            Ok(outputs) => outputs,
            Err(error) => {
                // If the kill fails, the sandbox is gone, and the command with
                // it.
                let _ = process.kill();
                return Err(error);
            }
        };
        Ok(Self {
            is_terminal: process.terminal().is_some(),
            line: Line::default(),
            room: process.output_limit(),
            process,
            stdin,
            outputs,
            over: false,
            status: None,
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

    fn notice_end(&mut self) -> Result<()> {
        if self.status.is_some() {
            return Ok(());
        }
        self.status = self.process.try_wait()?;
        if self.status.is_some() {
            for output in &mut self.outputs {
                output.left = output.holds();
            }
        }
        Ok(())
    }

    /// Reads a chunk of each stream while the command runs, and all after the
    /// end. Returns true if the streams are empty for now.
    fn read(
        &mut self,
        heard: Option<&Id>,
        encoding: Encoding,
        client: &mut Client,
    ) -> Result<bool> {
        loop {
            let mut dry = true;
            for at in 0..self.outputs.len() {
                if self.over {
                    return Ok(true);
                }
                if client.is_full() {
                    return Ok(false);
                }
                dry &= self.read_one(at, heard, encoding, client)?;
            }
            if dry || self.status.is_none() {
                return Ok(dry);
            }
        }
    }

    fn read_one(
        &mut self,
        at: usize,
        heard: Option<&Id>,
        encoding: Encoding,
        client: &mut Client,
    ) -> Result<bool> {
        let output = &mut self.outputs[at];
        let Some(fd) = &output.fd else {
            return Ok(true);
        };
        if output.left == 0 {
            return Ok(true);
        }
        let mut chunk = [0; CHUNK];
        let length = match read(fd, &mut chunk) {
            Ok(n) => n,
            Err(Errno::EINTR) => return Ok(false),
            Err(Errno::EAGAIN) => return Ok(true),
            // A terminal fails so when its last user is gone.
            Err(Errno::EIO) => 0,
            Err(e) => return Err(Error::os("read output", "read", e)),
        };
        if length == 0 {
            output.fd = None;
            return Ok(true);
        }
        output.left = output.left.saturating_sub(length as u64);
        let Some(id) = heard else {
            return Ok(false);
        };
        let fits = length.min(usize::try_from(self.room).unwrap_or(usize::MAX));
        self.room -= fits as u64;
        output.show(id, Some(&chunk[..fits]), encoding, client);
        if fits < length {
            self.over = true;
            // The pipes stay open, because SIGPIPE would be faster otherwise.
            // If the kill fails, the sandbox is gone, and the status comes at
            // once.
            let _ = self.process.kill_for_output();
        }
        Ok(false)
    }
}

/// Takes the output descriptors, and makes them and the input non-blocking.
fn outputs(process: &Process, stdin: Option<&OwnedFd>) -> Result<[Output; 2]> {
    let master = process.terminal().map(|fd| fd.try_clone_to_owned());
    let master = master
        .transpose()
        .map_err(|e| Error::io("carry terminal", "dup", e))?;
    let stdout = master.or(process.take_stdout());
    let stderr = process.take_stderr();
    for fd in stdin.into_iter().chain(&stdout).chain(&stderr) {
        // The command's end is another open file description, so the command
        // never sees this flag.
        fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
            .map_err(|e| Error::os("start command", "fcntl", e))?;
    }
    Ok([Output::new("stdout", stdout), Output::new("stderr", stderr)])
}

impl Output {
    fn new(event: &'static str, fd: Option<OwnedFd>) -> Self {
        Self {
            event,
            fd,
            pieces: Pieces::default(),
            left: u64::MAX,
        }
    }

    /// Returns the capacity of the pipe, or of a terminal's buffers.
    fn holds(&self) -> u64 {
        let size = |fd| fcntl(fd, FcntlArg::F_GETPIPE_SZ);
        let size = self.fd.as_ref().map_or(Ok(0), size);
        size.map_or(TERMINAL_HOLDS, |bytes| bytes as u64)
    }

    /// Sends a chunk, or at the end the held bytes.
    fn show(&mut self, id: &Id, chunk: Option<&[u8]>, encoding: Encoding, client: &mut Client) {
        let bytes = match chunk {
            Some(chunk) => self.pieces.next(chunk, encoding),
            None => self.pieces.rest(),
        };
        if !bytes.is_empty() {
            client.event(id, self.event, Some(Shown::new(&bytes, encoding)));
        }
    }
}
