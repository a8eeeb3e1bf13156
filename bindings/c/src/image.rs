// SPDX-License-Identifier: MIT OR Apache-2.0
//! Images: bringing them in, holding them.

use std::ffi::{CString, c_char, c_void};
use std::os::fd::AsFd as _;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use tare_core::Result;
use tare_core::image::{Image, Images, ImportOptions, Progress, Reference};

use crate::bytes::{json, tare_bytes};
use crate::error::{c_text, tare_error};
use crate::handle::{self, Noun, wrong};
use crate::input::{self, Input};
use crate::out::{set, set_handle, set_json};
use crate::progress::{Callback, tare_progress_fn};
use crate::store::{self, tare_store};
use crate::value::value;

/// Also use the names that an archive gives its image, as docker-load(1) does.
pub const TARE_IMPORT_SOURCE_NAMES: u64 = 1;
/// No sync(2) at the end: faster, and a power cut may leave the image broken or
/// absent.
pub const TARE_IMPORT_NO_SYNC: u64 = 2;

/// An image ready for use, and held: no process removes its layers from the
/// store while there is a handle. Freed with tare_image_free().
pub struct tare_image {
    _opaque: [u8; 0],
}

pub(crate) struct ImageObject {
    pub(crate) image: Image,
    reference: CString,
    digest: Option<CString>,
}

impl Noun for ImageObject {
    type Handle = tare_image;
    const KIND: u8 = b'I';
}

/// Options of an import. All zeros but the size is the default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tare_import_options {
    /// sizeof(tare_import_options), set by the caller.
    pub size: u64,
    /// Some of TARE_IMPORT_*.
    pub flags: u64,
    /// Names to file the image under, `NAME[:TAG]` each, then NULL. Default:
    /// none.
    pub names: *const *const c_char,
    /// The image of a source with several, by its name there or the digest of
    /// its manifest. Default: the only image.
    pub select: *const c_char,
    /// `OS/ARCHITECTURE[/VARIANT]` of an index. Default: this machine's.
    pub platform: *const c_char,
    /// Nanoseconds to wait for a process that builds the same layer. Default:
    /// 10 minutes.
    pub patience_ns: u64,
    /// Receives the progress. Default: NULL, without reports.
    pub progress: tare_progress_fn,
    /// Passed to `progress`.
    pub progress_data: *mut c_void,
}

// SAFETY: `repr(C)`, begins with the size, pointers and numbers only.
unsafe impl Input for tare_import_options {
    const NAME: &'static str = "tare_import_options";
}

impl tare_import_options {
    /// The options as the core has them.
    ///
    /// # Safety
    /// Pointers are as the header says, or NULL, until the call returns.
    pub(crate) unsafe fn read(&self) -> Result<(ImportOptions, Callback)> {
        if self.flags & !(TARE_IMPORT_SOURCE_NAMES | TARE_IMPORT_NO_SYNC) != 0 {
            return Err(wrong("flags", "has a bit that this version does not know"));
        }
        // SAFETY: this function's own.
        let (names, select, platform, callback) = unsafe {
            (
                input::list(self.names, "names")?,
                input::optional_text(self.select, "select")?,
                input::optional_text(self.platform, "platform")?,
                Callback::new(self.progress, self.progress_data),
            )
        };
        let mut options = ImportOptions::default();
        for name in names {
            let name = name
                .to_str()
                .ok_or_else(|| wrong("names", "is not UTF-8"))?;
            options.names.push(name.parse()?);
        }
        options.select = select.map(str::to_owned);
        options.platform = platform.map(str::parse).transpose()?;
        options.source_names = self.flags & TARE_IMPORT_SOURCE_NAMES != 0;
        if self.flags & TARE_IMPORT_NO_SYNC != 0 {
            options.sync = false;
        }
        if self.patience_ns != 0 {
            options.patience = Duration::from_nanos(self.patience_ns);
        }
        Ok((options, callback))
    }
}

impl ImageObject {
    pub(crate) fn new(image: Image) -> Self {
        Self {
            reference: c_text(&image.reference().to_string()),
            digest: image.digest().map(|digest| c_text(&digest.to_string())),
            image,
        }
    }
}

/// Makes a call that brings images, with the arguments of the caller.
///
/// # Safety
/// As [`input::text`] and [`input::read`]; pointers of the options are as the
/// header says.
unsafe fn bring<T>(
    store: *const tare_store,
    reference: *const c_char,
    options_or_null: *const tare_import_options,
    work: impl FnOnce(&Images, &Reference, &ImportOptions, &mut dyn Progress) -> Result<T>,
) -> Result<T> {
    // SAFETY: this function's own.
    let (reference, (options, mut progress)) = unsafe {
        (
            input::text(reference, "reference")?,
            input::read_or_zero(options_or_null)?.read()?,
        )
    };
    let images = store::get(store)?.store.images().clone();
    work(&images, &reference.parse()?, &options, &mut progress)
}

/// The image behind a handle.
pub(crate) fn get(image: *const tare_image) -> Result<Arc<ImageObject>> {
    handle::get(image, "image")
}

/// Brings an image from an OCI layout (`oci:PATH[:TAG]`) or an archive
/// (`archive:FILE`, of docker-save(1) or skopeo(1)) into the store. Both
/// digests of every layer are verified before the image becomes visible; after
/// an error no part of the image is visible.
///
/// `options_or_null`: NULL for the defaults.
///
/// Returns: NULL, or an error: TARE_KIND_CORRUPT for an inconsistent image,
/// TARE_KIND_NOT_FOUND for a missing source or tag, TARE_KIND_UNSUPPORTED if
/// nothing fits this machine, TARE_KIND_BUSY when patience ends, errno
/// ECANCELED when `progress` stopped the import.
/// Ownership: `*out` is the caller's, for tare_image_free().
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_store_import(
    store: *const tare_store,
    reference: *const c_char,
    options_or_null: *const tare_import_options,
    out: *mut *mut tare_image,
) -> *mut tare_error {
    // SAFETY: the caller's word for all of them.
    unsafe {
        set_handle(out, || {
            bring(store, reference, options_or_null, Images::import).map(ImageObject::new)
        })
    }
}

/// Brings every image of an OCI layout or an archive into the store, each under
/// its names there, as docker-load(1) does; with `select` only the image of
/// that name. All images are examined before the first is brought. Each becomes
/// visible whole; images before a failing image stay.
///
/// `reference`: `oci:PATH[:TAG]` or `archive:FILE`; a fifo is read to its end.
/// `options_or_null`: without `names`; NULL for the defaults. `*out`: a JSON
/// array with an object for each image, as tare_image_inspect() gives it. The
/// images are not held.
///
/// Returns: NULL, or an error: those of tare_store_import().
/// Ownership: `*out` is the caller's, for tare_bytes_free().
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_store_load(
    store: *const tare_store,
    reference: *const c_char,
    options_or_null: *const tare_import_options,
    out: *mut *mut tare_bytes,
) -> *mut tare_error {
    // SAFETY: the caller's word for all of them.
    unsafe {
        set_json(out, || {
            bring(store, reference, options_or_null, Images::load)
        })
    }
}

/// tare_store_load() of an archive that is open: a file, a pipe or a socket.
///
/// `archive_fd`: read from its offset to its end; stays the caller's.
///
/// Returns: NULL, or an error: those of tare_store_load(), errno EBADF for a
/// closed descriptor.
/// Ownership: `*out` is the caller's, for tare_bytes_free().
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_store_load_fd(
    store: *const tare_store,
    archive_fd: i32,
    options_or_null: *const tare_import_options,
    out: *mut *mut tare_bytes,
) -> *mut tare_error {
    // SAFETY: the caller's word for both.
    unsafe {
        set_json(out, || {
            let (options, mut progress) = input::read_or_zero(options_or_null)?.read()?;
            // Fails with EBADF if the descriptor is not open, and keeps the
            // file open until the call returns, even if another thread closes
            // the descriptor.
            let archive = input::descriptor(archive_fd, "archive_fd")?;
            let images = store::get(store)?.store.images().clone();
            images.load_from(archive.as_fd(), &options, &mut progress)
        })
    }
}

/// Opens an image by any reference: a name or a digest in the store; `oci:` and
/// `archive:`, imported if missing; `dir:PATH` and `host`, in place.
///
/// `options_or_null`: for images that are imported first, or have layers to be
/// unpacked again; NULL for the defaults.
///
/// Returns: NULL, or an error: TARE_KIND_NOT_FOUND with the nearest name as the
/// cure, and those of tare_store_import().
/// Ownership: `*out` is the caller's, for tare_image_free().
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_store_image(
    store: *const tare_store,
    reference: *const c_char,
    options_or_null: *const tare_import_options,
    out: *mut *mut tare_image,
) -> *mut tare_error {
    // SAFETY: the caller's word for all of them.
    unsafe {
        set_handle(out, || {
            bring(store, reference, options_or_null, Images::image_with).map(ImageObject::new)
        })
    }
}

/// Frees the handle of an image and releases its layers. NULL and freed handles
/// are ignored.
///
/// Ownership: takes `image`; its texts end.
/// Threads: any, if no thread uses those texts any more.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_image_free(image: *mut tare_image) {
    handle::free::<ImageObject>(image);
}

/// The reference that the image was opened by.
///
/// Returns: text; NULL for NULL or a handle that is no image.
/// Ownership: the text lives as long as the image's handle.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_image_reference(image: *const tare_image) -> *const c_char {
    value(ptr::null(), || Some(get(image).ok()?.reference.as_ptr()))
}

/// The digest of the image's manifest, for example `sha256:...`.
///
/// Returns: text; NULL for a directory, for the host, for NULL or a handle that
/// is no image.
/// Ownership: the text lives as long as the image's handle.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_image_digest(image: *const tare_image) -> *const c_char {
    value(ptr::null(), || {
        Some(get(image).ok()?.digest.as_ref()?.as_ptr())
    })
}

/// The image's description: a JSON object with `reference`, `digest`,
/// `created`, `size`, `architecture`, `os`, `config` (`env`, `entrypoint`,
/// `cmd`, `workdir`, `user`, `exposed_ports`, `volumes`, `labels`,
/// `stop_signal`), `notes`, `layers` and `root`.
///
/// Returns: NULL, or an error.
/// Ownership: `*out` is the caller's, for tare_bytes_free().
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_image_inspect(
    image: *const tare_image,
    out: *mut *mut tare_bytes,
) -> *mut tare_error {
    // SAFETY: the caller's word for `out`.
    unsafe { set(out, || json(&get(image)?.image)) }
}
