// SPDX-License-Identifier: MIT OR Apache-2.0
//! Events from the threads of sandboxes and pools to the session loop.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use serde_json::Value;
use tare::{Events, Process, Result};

use crate::id::Id;
use crate::pool_slot::PoolSlot;

/// An event of a worker.
pub(crate) enum WorkerEvent {
    /// The answer to a request.
    Done(Id, Result<Value>),
    /// A command executes.
    Started(Id, Box<Process>),
    /// A sandbox is watched.
    Watched(Id, Box<Events>),
    /// The sandbox is gone and its name is free.
    Gone(String),
    /// A pool could not be opened.
    PoolGone(Arc<PoolSlot>),
    /// The thread has ended its work.
    Ended,
}

/// Sends events from the workers to the loop.
#[derive(Clone)]
pub(crate) struct EventSender {
    events: SyncSender<WorkerEvent>,
    /// Makes the loop's poll return.
    wake: Arc<UnixStream>,
}

impl EventSender {
    pub(crate) fn new(events: SyncSender<WorkerEvent>, wake: UnixStream) -> Self {
        Self {
            events,
            wake: wake.into(),
        }
    }

    pub(crate) fn send(&self, event: WorkerEvent) {
        // Without a loop the process is about to end. A full socket wakes the
        // loop as well as a byte.
        let _ = self.events.send(event);
        let _ = (&*self.wake).write(&[0]);
    }
}
