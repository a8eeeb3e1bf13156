// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the threads of sandboxes and pools tell the loop.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use serde_json::Value;
use tare::{Events, Process, Result};

use crate::id::Id;
use crate::pool_slot::PoolSlot;

/// What a worker has to tell.
pub(crate) enum WorkerEvent {
    /// A request's answer.
    Done(Id, Result<Value>),
    /// A command executes.
    Started(Id, Box<Process>),
    /// A sandbox is watched.
    Watched(Id, Box<Events>),
    /// The sandbox is gone and its name is free.
    Gone(String),
    /// A pool could not be opened.
    PoolGone(Arc<PoolSlot>),
    /// The thread has nothing more to do.
    Ended,
}

/// The way from the workers to the loop.
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
        // Without a loop the whole process is about to end; a full socket wakes as well as one byte.
        let _ = self.events.send(event);
        let _ = (&*self.wake).write(&[0]);
    }
}
