// SPDX-License-Identifier: MIT OR Apache-2.0
//! A thread for each pool: it opens the pool, and closes it when nobody can ask for it any more.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use serde_json::json;
use tare::{Error, Pool, PoolSize, Result, Spec, Store};

use crate::events::{EventSender, WorkerEvent};
use crate::id::Id;
use crate::pool_slot::{PoolSlot, State};

/// A pool of the session: the request that closes it goes to its thread.
pub(crate) struct PoolHandle {
    pub(crate) slot: Arc<PoolSlot>,
    pub(crate) closes: Sender<Id>,
}

/// Has a pool opened, for the request `id`; it is closed when its handle goes, or is asked to.
///
/// # Errors
/// When there can be no more threads.
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
            // The name is free before the client learns it.
            events.send(WorkerEvent::PoolGone(Arc::clone(slot)));
            events.send(WorkerEvent::Done(id, Err(error)));
            // Asked to close it before that was known.
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
