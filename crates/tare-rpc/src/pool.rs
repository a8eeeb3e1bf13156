// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads of pools: each opens a pool, and closes it when the last handle is
//! gone.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use serde_json::json;
use tare::{Error, Pool, PoolSize, Result, Spec, Store};

use crate::events::{EventSender, WorkerEvent};
use crate::id::Id;
use crate::pool_slot::{PoolSlot, State};

/// A pool of the session, with a channel for the request that closes it.
pub(crate) struct PoolHandle {
    pub(crate) slot: Arc<PoolSlot>,
    pub(crate) closes: Sender<Id>,
}

/// Opens a pool on a new thread, for the request `id`. The thread closes the
/// pool on request, or when the handle is dropped.
///
/// # Errors
/// Those of starting a thread.
pub(crate) fn start(
    store: &Store,
    name: &str,
    id: Id,
    spec: Spec,
    size: PoolSize,
    events: EventSender,
) -> Result<PoolHandle> {
    let slot = Arc::new(PoolSlot::new(name));
    let (closes, asked) = channel();
    let (store, of_thread) = (store.clone(), Arc::clone(&slot));
    thread::Builder::new()
        .name("pool".into())
        .spawn(move || {
            keep(
                Pool::open(&store, &spec, size),
                &of_thread,
                id,
                &asked,
                &events,
            );
            events.send(WorkerEvent::Ended);
        })
        .map_err(|e| Error::io("open pool", "thread", e))?;
    Ok(PoolHandle { slot, closes })
}

fn keep(
    opened: Result<Pool>,
    slot: &Arc<PoolSlot>,
    id: Id,
    asked: &Receiver<Id>,
    events: &EventSender,
) {
    let pool = match opened {
        Ok(pool) => Arc::new(pool),
        Err(error) => {
            slot.set(State::Gone);
            // The name is free before the client learns of the error.
            events.send(WorkerEvent::PoolGone(Arc::clone(slot)));
            events.send(WorkerEvent::Done(id, Err(error)));
            // Requests to close the pool from before the error.
            for id in asked {
                events.send(WorkerEvent::Done(id, Err(slot.gone())));
            }
            return;
        }
    };
    slot.set(State::Open(Arc::clone(&pool)));
    events.send(WorkerEvent::Done(id, Ok(json!({}))));
    let closing = asked.recv();
    slot.set(State::Gone);
    let closed = pool.close();
    if let Ok(id) = closing {
        events.send(WorkerEvent::Done(id, closed.map(|()| json!({}))));
    }
}
