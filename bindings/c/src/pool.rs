// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pools: sandboxes made ahead, each used once.

use std::ffi::c_char;

use tare_core::{Pool, PoolSize};

use crate::call::call;
use crate::error::tare_error;
use crate::handle::{self, Noun, wrong};
use crate::image::{self, tare_image};
use crate::out::{set, set_handle};
use crate::sandbox::{self, tare_sandbox};
use crate::store::{self, tare_store};

/// Sandboxes of a spec that wait to be taken, each used once. Ended with
/// tare_pool_close(), which waits until all waiting sandboxes are gone, or
/// tare_pool_free(), which does not.
pub struct tare_pool {
    _opaque: [u8; 0],
}

impl Noun for Pool {
    type Handle = tare_pool;
    const KIND: u8 = b'L';
}

/// Opens a pool, and returns when the first sandbox is ready. The helper
/// process makes the others meanwhile, without a thread in this process. The
/// number that waits follows the demand, between `min` and `max`.
///
/// `image_or_null`: goes before the spec's own image. `spec_json`, `spec_len`:
/// as for tare_sandbox_open(). `min`: the number that waits without demand.
/// `max`: the highest number that waits; 0 for the defaults of both, 2 and 16.
///
/// Returns: NULL, or an error: those of tare_sandbox_open(); TARE_KIND_INVALID
/// for impossible bounds.
/// Ownership: `*out` is the caller's, for tare_pool_close() or
/// tare_pool_free(); `image_or_null` stays the caller's. If this process dies,
/// waiting sandboxes end.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_pool_open(
    store: *const tare_store,
    image_or_null: *const tare_image,
    spec_json: *const c_char,
    spec_len: usize,
    min: u64,
    max: u64,
    out: *mut *mut tare_pool,
) -> *mut tare_error {
    let bound = |n| usize::try_from(n).map_err(|_| wrong("max", "is no number of sandboxes"));
    // SAFETY: the caller's word for both.
    unsafe {
        set_handle(out, || {
            let spec = sandbox::spec(spec_json, spec_len)?;
            let size = match (min, max) {
                (0, 0) => PoolSize::default(),
                (min, max) => PoolSize {
                    min: bound(min)?,
                    max: bound(max)?,
                },
            };
            let store = &store::get(store)?.store;
            match image_or_null.is_null() {
                true => Pool::open(store, &spec, size),
                false => Pool::open_on(store, &image::get(image_or_null)?.image, &spec, size),
            }
        })
    }
}

/// Takes an unused sandbox: a waiting one, else a sandbox opened now. It never
/// returns to the pool. Closing or freeing it starts its replacement.
///
/// Returns: NULL, or an error: those of tare_sandbox_open().
/// Ownership: `*out` is the caller's, for tare_sandbox_close() or
/// tare_sandbox_free(); the sandbox may outlive the pool.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_pool_take(
    pool: *const tare_pool,
    out: *mut *mut tare_sandbox,
) -> *mut tare_error {
    // SAFETY: the caller's word for `out`.
    unsafe { set_handle(out, || handle::get::<Pool>(pool, "pool")?.take()) }
}

/// Returns the number that could be taken now without waiting.
///
/// Returns: NULL, or TARE_KIND_INVALID for a handle that is no pool.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_pool_ready(
    pool: *const tare_pool,
    out: *mut u64,
) -> *mut tare_error {
    // SAFETY: the caller's word for `out`.
    unsafe {
        set(
            out,
            || Ok(handle::get::<Pool>(pool, "pool")?.ready() as u64),
        )
    }
}

/// Ends all waiting sandboxes and returns when they are gone; taken sandboxes
/// live on. The handle is gone, also after an error. NULL is ignored.
///
/// Returns: NULL, or an error: TARE_KIND_INVALID for a handle that is no pool,
/// or was closed or freed already; TARE_KIND_BROKEN if the helper process is
/// gone, with all waiting sandboxes.
/// Ownership: takes `pool`.
/// Threads: any; a tare_pool_take() in another thread is refused or served.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_pool_close(pool: *mut tare_pool) -> *mut tare_error {
    call(|| match pool.is_null() {
        true => Ok(()),
        false => handle::take::<Pool>(pool, "pool")?.close(),
    })
}

/// Closes a pool without waiting. NULL and closed or freed handles are ignored.
///
/// Ownership: takes `pool`.
/// Threads: any.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_pool_free(pool: *mut tare_pool) {
    handle::free::<Pool>(pool);
}
