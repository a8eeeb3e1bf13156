// SPDX-License-Identifier: MIT OR Apache-2.0
//! Progress of an import or an unpack, and the caller's way to stop the work.

use std::ffi::{c_char, c_void};
use std::ptr;

use tare_core::image::{Digest, Progress};

use crate::error::c_text;

/// The progress of a layer of an image. Lives as long as the call that receives
/// it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tare_progress {
    /// sizeof(tare_progress) of the library: read no field beyond it.
    pub size: u64,
    /// The layer's place in the image, from 0, bottom first.
    pub layer: u64,
    /// Number of layers of the image.
    pub layers: u64,
    /// Bytes of the layer read so far, as kept, so usually compressed.
    pub bytes_done: u64,
    /// Bytes of the layer in all.
    pub bytes_total: u64,
    /// The layer's digest, for example `sha256:...`.
    pub digest: *const c_char,
}

/// Receives the progress, several times a second, on the calling thread.
/// `progress` is NULL without news. Returns 0 to continue; any other value
/// stops the work with ECANCELED and undoes it. Must return: no longjmp(3), no
/// C++ exception. May use the library.
pub type tare_progress_fn =
    Option<unsafe extern "C" fn(data: *mut c_void, progress: *const tare_progress) -> i32>;

/// A caller's function as the core asks it.
pub(crate) struct Callback {
    function: tare_progress_fn,
    data: *mut c_void,
    stopped: bool,
}

impl Callback {
    /// # Safety
    /// `function`, if present, can be called with `data` on this thread until
    /// the call returns.
    pub(crate) unsafe fn new(function: tare_progress_fn, data: *mut c_void) -> Self {
        Self {
            function,
            data,
            stopped: false,
        }
    }

    fn ask(&mut self, progress: *const tare_progress) {
        if let Some(function) = self.function.filter(|_| !self.stopped) {
            // SAFETY: the caller's word (`new`); `progress` is NULL or outlives
            // the call.
            self.stopped = unsafe { function(self.data, progress) } != 0;
        }
    }
}

impl Progress for Callback {
    fn layer(&mut self, index: usize, total: usize, digest: &Digest, done: u64, bytes: u64) {
        let digest = c_text(&digest.to_string());
        self.ask(&tare_progress {
            size: size_of::<tare_progress>() as u64,
            layer: index as u64,
            layers: total as u64,
            bytes_done: done,
            bytes_total: bytes,
            digest: digest.as_ptr(),
        });
    }

    fn keep_going(&mut self) -> bool {
        self.ask(ptr::null());
        !self.stopped
    }
}
