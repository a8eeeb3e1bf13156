// SPDX-License-Identifier: MIT OR Apache-2.0
//! Replies to the client as lines, and the requests that wait for replies.
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

/// Unread bytes above which the session makes no more output.
pub(crate) const WAITING: usize = 256 << 10;
/// Bytes that a request holds besides its own line.
const OVERHEAD: usize = 1 << 10;
/// Bytes that a writable pipe takes whole, pipe(7).
const PIECE: usize = 4096;

/// The client's end of the conversation.
#[derive(Debug, Default)]
pub(crate) struct Client {
    waiting: Vec<u8>,
    written: usize,
    /// Bytes that each unanswered request holds.
    unanswered: HashMap<Id, usize>,
    held: usize,
}

impl Client {
    /// Returns whether the client has too much to read.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() - self.written >= WAITING
    }

    /// Returns whether every reply is written.
    pub(crate) fn is_up_to_date(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Notes a request of `bytes` bytes that will be answered later.
    ///
    /// # Errors
    /// EAGAIN if requests hold too many bytes already.
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

    /// Notes a request that holds no bytes, so that it is never refused for
    /// lack of room.
    pub(crate) fn note(&mut self, id: &Id) {
        self.unanswered.insert(id.clone(), 0);
    }

    /// Returns whether a request with this id waits for an answer.
    pub(crate) fn awaits(&self, id: &Id) -> bool {
        self.unanswered.contains_key(id)
    }

    /// Releases the bytes of a request, but keeps the id.
    pub(crate) fn release(&mut self, id: &Id) {
        if let Some(bytes) = self.unanswered.get_mut(id) {
            self.held -= *bytes;
            *bytes = 0;
        }
    }

    /// Answers a request.
    pub(crate) fn answer(&mut self, id: &Id, result: impl Serialize) {
        self.forget(id);
        self.line(&Answer { id, result });
    }

    /// Answers a request with a result or an error.
    pub(crate) fn settle(&mut self, id: &Id, result: Result<impl Serialize>) {
        match result {
            Ok(result) => self.answer(id, result),
            Err(error) => self.refuse(Some(id), &error),
        }
    }

    /// Sends an error about a request, or about a line that is no request.
    pub(crate) fn refuse(&mut self, id: Option<&Id>, error: &Error) {
        if let Some(id) = id {
            self.forget(id);
        }
        let error = Failure::of(error);
        self.line(&Refusal { id, error });
    }

    /// Sends an event of a request.
    pub(crate) fn event(&mut self, id: &Id, event: &'static str, data: Option<Shown<'_>>) {
        self.line(&Event {
            id,
            event,
            data,
            oom_kills: None,
        });
    }

    /// Sends the number of processes that the OOM killer ended in a sandbox.
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

    /// Writes as much as `output` takes without waiting. Keeps the flags of
    /// `output`, because other processes may share them.
    ///
    /// # Errors
    /// Those of write(2); EPIPE if the reader is gone.
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

/// Returns the error about a missing sandbox or command.
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
        // A running command is still to be answered, but holds no bytes.
        client.release(&ids[1]);
        assert!(client.awaits(&ids[1]));
        client.hold(&ids[4], HELD / 4).unwrap();
        for id in &ids[1..] {
            client.answer(id, ());
        }
        assert_eq!((client.held, client.unanswered.len()), (0, 0));
    }
}
