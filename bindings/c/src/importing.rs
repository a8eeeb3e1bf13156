// SPDX-License-Identifier: MIT OR Apache-2.0
//! Images that are being imported while their caller goes on.

use std::ffi::c_char;
use std::os::fd::AsRawFd as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tare_core::Result;
use tare_core::image::Importing;

use crate::error::tare_error;
use crate::handle::{self, Noun, wrong};
use crate::image::{ImageObject, tare_image, tare_import_options};
use crate::input::{self, Input};
use crate::out::{set_handle, set_struct};
use crate::store::{self, tare_store};
use crate::value::value;

/// An image that is being imported. Ends in tare_importing_finish(), or with
/// tare_importing_free().
pub struct tare_importing {
    _opaque: [u8; 0],
}

/// `None` after the finish.
struct ImportingObject(Mutex<Option<Importing>>);

impl Noun for ImportingObject {
    type Handle = tare_importing;
    const KIND: u8 = b'M';
}

impl ImportingObject {
    fn get(importing: *const tare_importing) -> Result<Arc<Self>> {
        handle::get(importing, "importing")
    }

    fn lock(&self) -> MutexGuard<'_, Option<Importing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The progress of an import.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tare_import_progress {
    /// sizeof(tare_import_progress), set by the caller.
    pub size: u64,
    /// Layers of the image; zero until the first is read.
    pub layers: u64,
    /// Number of layers whose reading has begun. Present layers are not read.
    pub begun: u64,
    /// Bytes read of those that were begun, as kept, so usually compressed.
    pub bytes_done: u64,
    /// All bytes of these.
    pub bytes_total: u64,
}

// SAFETY: `repr(C)`, begins with the size, numbers only.
unsafe impl Input for tare_import_progress {
    const NAME: &'static str = "tare_import_progress";
}

/// Begins an import as of tare_store_import(), for callers with an event loop:
/// returns at once. A thread of the library works on the import, with all
/// signals blocked, until tare_importing_finish().
///
/// `options_or_null`: without `progress`, for which there is
/// tare_importing_progress(); NULL for the defaults.
///
/// Returns: NULL, or an error: TARE_KIND_INVALID for wrong options,
/// TARE_KIND_EXHAUSTED if there is no thread to be had. Those of the import
/// come from tare_importing_finish().
/// Ownership: `*out` is the caller's, for tare_importing_finish() or
/// tare_importing_free().
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_store_begin_import(
    store: *const tare_store,
    reference: *const c_char,
    options_or_null: *const tare_import_options,
    out: *mut *mut tare_importing,
) -> *mut tare_error {
    // SAFETY: the caller's word for all of them, and for the pointers of the
    // options.
    unsafe {
        set_handle(out, || {
            let reference = input::text(reference, "reference")?;
            let options = input::read_or_zero(options_or_null)?;
            if options.progress.is_some() {
                return Err(wrong("progress", "would be called in another thread"));
            }
            let (options, _) = options.read()?;
            let images = store::get(store)?.store.images().clone();
            let importing = images.begin_import(&reference.parse()?, &options)?;
            Ok(ImportingObject(Mutex::new(Some(importing))))
        })
    }
}

/// A descriptor for poll(2) and epoll(7), not to be read from: readable when
/// tare_importing_finish() does not wait.
///
/// Returns: the descriptor; -1 for NULL or a handle that is no import.
/// Ownership: the descriptor belongs to the import.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_importing_fd(importing: *const tare_importing) -> i32 {
    value(-1, || {
        let object = ImportingObject::get(importing).ok()?;
        let importing = object.lock();
        Some(importing.as_ref()?.fd().as_raw_fd())
    })
}

/// Reads the progress.
///
/// Returns: NULL, or TARE_KIND_INVALID for a handle that is no import.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_importing_progress(
    importing: *const tare_importing,
    out: *mut tare_import_progress,
) -> *mut tare_error {
    // SAFETY: the caller's word for `out`.
    unsafe {
        set_struct(out, || {
            let object = ImportingObject::get(importing)?;
            let importing = object.lock();
            let so_far = importing.as_ref().ok_or_else(finished)?.progress();
            Ok(tare_import_progress {
                size: 0,
                layers: so_far.layers as u64,
                begun: so_far.begun as u64,
                bytes_done: so_far.bytes_done,
                bytes_total: so_far.bytes_total,
            })
        })
    }
}

/// Gives the image. Waits if the descriptor is not readable. The handle of the
/// import and the thread are gone, also after an error.
///
/// Returns: NULL, or an error: those of tare_store_import(); nothing is visible
/// then.
/// Ownership: takes `importing`. `*out` is the caller's, for tare_image_free().
/// Threads: any; a second call for the same import is an error.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_importing_finish(
    importing: *mut tare_importing,
    out: *mut *mut tare_image,
) -> *mut tare_error {
    // SAFETY: the caller's word for `out`.
    unsafe {
        set_handle(out, || {
            let object = handle::take::<ImportingObject>(importing, "importing")?;
            let importing = object.lock().take();
            importing
                .ok_or_else(finished)?
                .finish()
                .map(ImageObject::new)
        })
    }
}

/// Stops the import, without waiting: within moments the thread undoes its
/// work, and ends. NULL and finished or freed handles are ignored.
///
/// Ownership: takes `importing`.
/// Threads: any.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_importing_free(importing: *mut tare_importing) {
    handle::free::<ImportingObject>(importing);
}

fn finished() -> tare_core::Error {
    wrong("importing", "was finished")
}
