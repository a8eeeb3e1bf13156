// SPDX-License-Identifier: MIT OR Apache-2.0
//! A thread for each pool: it opens the pool, and closes it when nobody can ask for it any more.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use serde_json::json;
use tare::{Error, Pool, PoolSize, Result, Spec, Store};

use super::message::Id;
use super::news::{News, Wire};
use super::shelf::{Shelf, State};

/// A pool of the session: the request that closes it goes to its thread.
pub(super) struct PoolHandle {
    pub(super) shelf: Arc<Shelf>,
    pub(super) closes: Sender<Id>,
}

/// Has a pool opened, for the request `id`; it is closed when its handle goes, or is asked to.
///
/// # Errors
/// When there can be no more threads.
pub(super) fn start(
    store: &Store,
    name: &str,
    id: Id,
    spec: Spec,
    size: PoolSize,
    wire: Wire,
) -> Result<PoolHandle> {
    let shelf = Arc::new(Shelf::new(name));
    let (closes, asked) = channel();
    let (store, of_thread) = (store.clone(), Arc::clone(&shelf));
    thread::Builder::new()
        .name("pool".into())
        .spawn(move || {
            keep(
                Pool::open(&store, &spec, size),
                &of_thread,
                id,
                &asked,
                &wire,
            );
            wire.tell(News::Ended);
        })
        .map_err(|e| Error::io("open pool", "thread", e))?;
    Ok(PoolHandle { shelf, closes })
}

fn keep(opened: Result<Pool>, shelf: &Arc<Shelf>, id: Id, asked: &Receiver<Id>, wire: &Wire) {
    let pool = match opened {
        Ok(pool) => Arc::new(pool),
        Err(error) => {
            shelf.set(State::Gone);
            // The name is free before the client learns it.
            wire.tell(News::PoolGone(Arc::clone(shelf)));
            wire.tell(News::Done(id, Err(error)));
            // Asked to close it before that was known.
            for id in asked {
                wire.tell(News::Done(id, Err(shelf.gone())));
            }
            return;
        }
    };
    shelf.set(State::Open(Arc::clone(&pool)));
    wire.tell(News::Done(id, Ok(json!({}))));
    let closing = asked.recv();
    shelf.set(State::Gone);
    let closed = pool.close();
    if let Ok(id) = closing {
        wire.tell(News::Done(id, closed.map(|()| json!({}))));
    }
}
