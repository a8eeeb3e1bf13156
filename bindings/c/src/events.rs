// SPDX-License-Identifier: MIT OR Apache-2.0
//! Events of sandboxes, announced by a descriptor.

use std::os::fd::AsRawFd as _;
use std::sync::Arc;

use tare_core::{Event, Events, Result};

use crate::error::tare_error;
use crate::handle::{self, Noun};
use crate::input::Input;
use crate::out::{set_handle, set_struct};
use crate::sandbox::{self, tare_sandbox};
use crate::value::value;

/// No event since the last call.
pub const TARE_EVENT_NONE: u64 = 0;
/// The kernel killed processes inside for want of memory.
pub const TARE_EVENT_OOM: u64 = 1;
/// The sandbox is gone: closed, freed, reset, or its process 1 has died.
pub const TARE_EVENT_GONE: u64 = 2;

/// The events of a sandbox. Freed with tare_events_free().
pub struct tare_events {
    _opaque: [u8; 0],
}

impl Noun for Events {
    type Handle = tare_events;
    const KIND: u8 = b'V';
}

/// An event of a sandbox.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tare_event {
    /// sizeof(tare_event), set by the caller.
    pub size: u64,
    /// One of TARE_EVENT_*; later versions may have more.
    pub kind: u64,
    /// The number of killed processes for TARE_EVENT_OOM; else 0.
    pub oom_kills: u64,
}

// SAFETY: `repr(C)`, begins with the size, numbers only.
unsafe impl Input for tare_event {
    const NAME: &'static str = "tare_event";
}

fn get(events: *const tare_events) -> Result<Arc<Events>> {
    handle::get(events, "events")
}

/// Has a sandbox's events told from now on. Any number of handles may be told
/// of the same sandbox.
///
/// Returns: NULL, or an error: TARE_KIND_UNSUPPORTED without `limits.memory`,
/// which counts kills for want of memory, TARE_KIND_INVALID if the sandbox was
/// closed.
/// Ownership: `*out` is the caller's, for tare_events_free(). The handle may
/// outlive the sandbox, and keeps the helper process, but not the sandbox.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_sandbox_events(
    sandbox: *const tare_sandbox,
    out: *mut *mut tare_events,
) -> *mut tare_error {
    // SAFETY: the caller's word for `out`.
    unsafe { set_handle(out, || sandbox::get(sandbox)?.events()) }
}

/// A descriptor for poll(2) and epoll(7), not to be read from: readable when
/// there may be something for tare_events_next(), and for good once the sandbox
/// is gone.
///
/// Returns: the descriptor; -1 for NULL or a handle that is no events.
/// Ownership: the descriptor belongs to the events.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_events_fd(events: *const tare_events) -> i32 {
    value(-1, || Some(get(events).ok()?.fd().as_raw_fd()))
}

/// Reads the next event since the last call. Never waits. Kills come before
/// TARE_EVENT_GONE, which every later call returns; kills of a sandbox's last
/// moment may be missed.
///
/// Returns: NULL, or an error: TARE_KIND_INVALID after fork(2) in the child.
/// Threads: any, at once; each event is told once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_events_next(
    events: *mut tare_events,
    out: *mut tare_event,
) -> *mut tare_error {
    // SAFETY: the caller's word for `out`.
    unsafe {
        set_struct(out, || {
            let (kind, oom_kills) = match get(events)?.next()? {
                None => (TARE_EVENT_NONE, 0),
                Some(Event::OomKills(kills)) => (TARE_EVENT_OOM, kills),
                Some(_) => (TARE_EVENT_GONE, 0),
            };
            let size = 0;
            Ok(tare_event {
                size,
                kind,
                oom_kills,
            })
        })
    }
}

/// Frees the handle. NULL and freed handles are ignored.
///
/// Ownership: takes `events`; the descriptor is closed.
/// Threads: any, if no other thread uses the descriptor any more.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_events_free(events: *mut tare_events) {
    handle::free::<Events>(events);
}
