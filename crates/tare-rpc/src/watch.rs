// SPDX-License-Identifier: MIT OR Apache-2.0
//! Watches the events of sandboxes, for requests.
#![forbid(unsafe_code)]

use std::os::fd::AsFd as _;

use nix::poll::{PollFd, PollFlags};
use serde_json::json;
use tare::{Event, Events};

use crate::client::Client;
use crate::id::Id;

/// A sandbox's events, and the request that receives them.
pub(crate) struct Watch {
    pub(crate) id: Id,
    events: Box<Events>,
}

impl Watch {
    /// Begins to watch, and sends the first event.
    pub(crate) fn new(id: Id, events: Box<Events>, client: &mut Client) -> Self {
        client.release(&id);
        client.event(&id, "watching", None);
        Self { id, events }
    }

    /// Adds the descriptor to wait for.
    pub(crate) fn watch<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        fds.push(PollFd::new(self.events.as_fd(), PollFlags::POLLIN));
    }

    /// Sends new events; returns true after the answer, when the sandbox is
    /// gone.
    pub(crate) fn advance(&self, client: &mut Client) -> bool {
        while !client.is_full() {
            match self.events.next() {
                Ok(None) => return false,
                Ok(Some(Event::OomKills(kills))) => client.oom(&self.id, kills),
                Ok(Some(_)) => {
                    client.answer(&self.id, json!({}));
                    return true;
                }
                Err(error) => {
                    client.refuse(Some(&self.id), &error);
                    return true;
                }
            }
        }
        false
    }
}
