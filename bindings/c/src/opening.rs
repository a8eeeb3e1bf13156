// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sandboxes that are being opened while their caller goes on.

use std::ffi::c_char;
use std::os::fd::AsRawFd as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tare_core::{Opening, Result, Sandbox};

use crate::error::tare_error;
use crate::handle::{self, Noun, wrong};
use crate::image::{self, tare_image};
use crate::input;
use crate::out::set_handle;
use crate::sandbox::{self, tare_sandbox};
use crate::store::{self, tare_store};
use crate::value::value;

/// A sandbox that is being opened. Ends in tare_opening_finish(), or with
/// tare_opening_free().
pub struct tare_opening {
    _opaque: [u8; 0],
}

/// `None` after the finish.
struct OpeningObject(Mutex<Option<Opening>>);

impl Noun for OpeningObject {
    type Handle = tare_opening;
    const KIND: u8 = b'N';
}

impl OpeningObject {
    fn get(opening: *const tare_opening) -> Result<Arc<Self>> {
        handle::get(opening, "opening")
    }

    fn lock(&self) -> MutexGuard<'_, Option<Opening>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Begins to open a sandbox, for callers with an event loop: returns while the
/// helper works. The first call for a store waits for the start of the helper
/// process, about a millisecond.
///
/// The helper process makes the sandbox, except if the image must be imported
/// or unpacked first, if mounts of the machine may not answer, and after a
/// first attempt that this machine refuses. Then a thread of the library opens
/// the sandbox, with all signals blocked, until tare_opening_finish().
///
/// `image_or_null`: goes before the spec's own image, as in
/// tare_sandbox_open_on(). `root_or_null`: a directory in place of an image, as
/// in tare_sandbox_open_in(). `spec_json`, `spec_len`: as for
/// tare_sandbox_open().
///
/// Returns: NULL, or an error: those of tare_sandbox_open() that are known at
/// once, TARE_KIND_INVALID for an image and a root. Nothing is left behind
/// then.
/// Ownership: `*out` is the caller's, for tare_opening_finish() or
/// tare_opening_free(); `image_or_null` stays the caller's and may be freed at
/// once.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_sandbox_begin(
    store: *const tare_store,
    image_or_null: *const tare_image,
    root_or_null: *const c_char,
    spec_json: *const c_char,
    spec_len: usize,
    out: *mut *mut tare_opening,
) -> *mut tare_error {
    // SAFETY: the caller's word for all of them.
    unsafe {
        set_handle(out, || {
            let root = input::optional_path(root_or_null, "root_or_null")?;
            let spec = &sandbox::spec(spec_json, spec_len)?;
            let store = &store::get(store)?.store;
            let opening = match (image_or_null.is_null(), root) {
                (true, None) => Sandbox::begin(store, spec)?,
                (true, Some(root)) => Sandbox::begin_in(store, root, spec)?,
                (false, None) => Sandbox::begin_on(store, &image::get(image_or_null)?.image, spec)?,
                (false, Some(_)) => return Err(wrong("root_or_null", "comes with an image")),
            };
            Ok(OpeningObject(Mutex::new(Some(opening))))
        })
    }
}

/// A descriptor for poll(2) and epoll(7), not to be read from: readable when
/// tare_opening_ready() has work. Ask again after a 0: the descriptor may be
/// another.
///
/// Returns: the descriptor; -1 for NULL or a handle that is no opening.
/// Ownership: the descriptor belongs to the opening.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_opening_fd(opening: *const tare_opening) -> i32 {
    value(-1, || {
        let object = OpeningObject::get(opening).ok()?;
        let opening = object.lock();
        Some(opening.as_ref()?.fd().as_raw_fd())
    })
}

/// Tells whether tare_opening_finish() would return at once. Never waits: if an
/// attempt has failed and another may succeed, begins the other and returns 0.
///
/// Returns: 1 or 0; 1 for NULL or a handle that is no opening, which the finish
/// reports.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_opening_ready(opening: *mut tare_opening) -> i32 {
    value(1, || {
        let object = OpeningObject::get(opening).ok()?;
        let mut opening = object.lock();
        Some(i32::from(opening.as_mut()?.ready()))
    })
}

/// Gives the sandbox. Waits if tare_opening_ready() returns 0. The handle of
/// the opening is gone, also after an error.
///
/// Returns: NULL, or an error: those of tare_sandbox_open(); nothing is left
/// behind then.
/// Ownership: takes `opening`. `*out` is the caller's, for tare_sandbox_close()
/// or tare_sandbox_free().
/// Threads: any; a second call for the same opening is an error.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_opening_finish(
    opening: *mut tare_opening,
    out: *mut *mut tare_sandbox,
) -> *mut tare_error {
    // SAFETY: the caller's word for `out`.
    unsafe {
        set_handle(out, || {
            let object = handle::take::<OpeningObject>(opening, "opening")?;
            let opening = object.lock().take();
            opening
                .ok_or_else(|| wrong("opening", "was finished"))?
                .finish()
        })
    }
}

/// Ends an opening, without waiting. An import stops within moments, and undoes
/// its work. NULL and finished or freed handles are ignored.
///
/// Ownership: takes `opening`.
/// Threads: any.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_opening_free(opening: *mut tare_opening) {
    handle::free::<OpeningObject>(opening);
}
