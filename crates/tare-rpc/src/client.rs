// SPDX-License-Identifier: MIT OR Apache-2.0
//! What goes to the client: answers and events as lines, and which requests still wait for theirs.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::write;
use serde::Serialize;
use tare::{Error, Kind, Result};

use crate::bytes::Shown;
use crate::failure::Failure;
use crate::id::Id;
use crate::input::HELD;
use crate::reply::{Answer, Event, Refusal};

/// When so much waits to be read by the client, nothing is done that would make it more.
pub(crate) const WAITING: usize = 256 << 10;
/// What one holds besides its own line.
const OVERHEAD: usize = 1 << 10;
/// A pipe that is writable takes so much whole, pipe(7).
const PIECE: usize = 4096;

/// The client's end of the conversation.
#[derive(Debug, Default)]
pub(crate) struct Client {
    waiting: Vec<u8>,
    written: usize,
    /// What each request without an answer holds.
    unanswered: HashMap<Id, usize>,
    held: usize,
}

impl Client {
    /// Whether the client has so much to read that it should get no more.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() - self.written >= WAITING
    }

    /// Whether it has everything.
    pub(crate) fn is_up_to_date(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Notes a request of so many bytes that will be answered later.
    ///
    /// # Errors
    /// EAGAIN when requests hold too much already.
    pub(crate) fn hold(&mut self, id: &Id, bytes: usize) -> Result<()> {
        let bytes = bytes + OVERHEAD;
        if self.held + bytes > HELD {
            let why = format_args!("requests without an answer hold {HELD} bytes");
            return Err(Error::os("hold request", why, Errno::EAGAIN)
                .with_cure("wait for answers before sending more"));
        }
        self.held += bytes;
        self.unanswered.insert(id.clone(), bytes);
        Ok(())
    }

    /// Notes a request that holds nothing and is never refused for want of room.
    pub(crate) fn note(&mut self, id: &Id) {
        self.unanswered.insert(id.clone(), 0);
    }

    /// Whether a request of this name waits for its answer.
    pub(crate) fn awaits(&self, id: &Id) -> bool {
        self.unanswered.contains_key(id)
    }

    /// A request holds no more than its name from now on.
    pub(crate) fn release(&mut self, id: &Id) {
        if let Some(bytes) = self.unanswered.get_mut(id) {
            self.held -= *bytes;
            *bytes = 0;
        }
    }

    /// A request's answer.
    pub(crate) fn answer(&mut self, id: &Id, result: impl Serialize) {
        self.forget(id);
        self.line(&Answer { id, result });
    }

    /// The same, or what went wrong.
    pub(crate) fn settle(&mut self, id: &Id, result: Result<impl Serialize>) {
        match result {
            Ok(result) => self.answer(id, result),
            Err(error) => self.refuse(Some(id), &error),
        }
    }

    /// What went wrong, with a request or with a line that is none.
    pub(crate) fn refuse(&mut self, id: Option<&Id>, error: &Error) {
        if let Some(id) = id {
            self.forget(id);
        }
        let error = Failure::of(error);
        self.line(&Refusal { id, error });
    }

    /// Something that happened before the answer.
    pub(crate) fn event(&mut self, id: &Id, event: &'static str, data: Option<Shown<'_>>) {
        self.line(&Event {
            id,
            event,
            data,
            oom_kills: None,
        });
    }

    /// Processes of a sandbox that were killed for want of memory.
    pub(crate) fn oom(&mut self, id: &Id, kills: u64) {
        self.line(&Event {
            id,
            event: "oom",
            data: None,
            oom_kills: Some(kills),
        });
    }

    fn forget(&mut self, id: &Id) {
        self.release(id);
        self.unanswered.remove(id);
    }

    fn line(&mut self, value: &impl Serialize) {
        serde_json::to_writer(&mut self.waiting, value).expect("strings, numbers, lists and maps");
        self.waiting.push(b'\n');
    }

    /// Writes what `output` takes without waiting. Its flags stay as they are: others may share them.
    ///
    /// # Errors
    /// Those of write(2); EPIPE when nobody reads any more.
    pub(crate) fn write(&mut self, output: BorrowedFd<'_>) -> Result<()> {
        let wrong = |e| Error::os("write answers", "output", e);
        while self.written < self.waiting.len() {
            let mut fds = [PollFd::new(output, PollFlags::POLLOUT)];
            match poll(&mut fds, PollTimeout::ZERO) {
                Ok(0) | Err(Errno::EINTR) => break,
                Ok(_) => {}
                Err(e) => return Err(wrong(e)),
            }
            let end = self.waiting.len().min(self.written + PIECE);
            match write(output, &self.waiting[self.written..end]) {
                Ok(n) => self.written += n,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                Err(e) => return Err(wrong(e)),
            }
        }
        if self.written == self.waiting.len() || self.written >= WAITING {
            self.waiting.drain(..self.written);
            self.written = 0;
        }
        Ok(())
    }
}

/// There is no such sandbox or command.
pub(crate) fn unknown(what: &str, name: impl std::fmt::Display) -> Error {
    Error::new(Kind::NotFound, format!("find {what}"), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_requests_are_bounded_until_they_are_answered() {
        let mut client = Client::default();
        let ids: Vec<Id> = (0..5).map(Id::Number).collect();
        for id in &ids[..3] {
            client.hold(id, HELD / 4).unwrap();
        }
        let error = client.hold(&ids[3], HELD / 4).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::EAGAIN as i32));
        assert!(!client.awaits(&ids[3]));
        client.answer(&ids[0], ());
        client.hold(&ids[3], HELD / 4).unwrap();
        assert!(client.hold(&ids[4], HELD / 4).is_err());
        // One that runs is still to be answered, but holds nothing.
        client.release(&ids[1]);
        assert!(client.awaits(&ids[1]));
        client.hold(&ids[4], HELD / 4).unwrap();
        for id in &ids[1..] {
            client.answer(id, ());
        }
        assert_eq!((client.held, client.unanswered.len()), (0, 0));
    }
}
