// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sandboxes: opening, running commands in them, resetting, closing.

use std::ffi::c_char;
use std::os::fd::{IntoRawFd as _, OwnedFd};
use std::sync::{Arc, Weak};

use tare_core::spec::Limits;
use tare_core::{Result, Sandbox, Spec};

use crate::bytes::tare_bytes;
use crate::call::call;
use crate::error::tare_error;
use crate::handle::{self, Noun};
use crate::image::{self, tare_image};
use crate::input;
use crate::out::{set, set_handle, set_json, set_json_or_null};
use crate::process::tare_process;
use crate::store::{self, tare_store};

/// A clean, isolated, disposable environment. Ended with tare_sandbox_close(),
/// which waits until nothing of the sandbox is left, or tare_sandbox_free(),
/// which does not.
pub struct tare_sandbox {
    _opaque: [u8; 0],
}

impl Noun for Sandbox {
    type Handle = tare_sandbox;
    const KIND: u8 = b'X';
}

/// A user of a sandbox; the handle does not delay the sandbox's end.
pub(crate) struct UserOf {
    pub(crate) sandbox: Weak<Sandbox>,
    pub(crate) user: String,
}

impl Noun for UserOf {
    type Handle = tare_sandbox;
    const KIND: u8 = b'U';
}

/// The sandbox behind a handle.
pub(crate) fn get(sandbox: *const tare_sandbox) -> Result<Arc<Sandbox>> {
    handle::get(sandbox, "sandbox")
}

/// Reads a spec.
///
/// # Safety
/// As [`input::json`].
pub(crate) unsafe fn spec(json: *const c_char, len: usize) -> Result<Spec> {
    // SAFETY: this function's own.
    Spec::from_json(unsafe { input::json(json, len, "spec_json")? })
}

/// Reads and checks a spec, without opening a sandbox.
///
/// `spec_json`, `spec_len`: a JSON object; NULL and 0 for the defaults.
/// `out_or_null`: gets the spec with every default filled in, as a JSON object.
///
/// Returns: NULL, or TARE_KIND_INVALID, which names the key and, for an unknown
/// key, the nearest known.
/// Ownership: `*out_or_null` is the caller's, for tare_bytes_free().
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_spec_check(
    spec_json: *const c_char,
    spec_len: usize,
    out_or_null: *mut *mut tare_bytes,
) -> *mut tare_error {
    // SAFETY: the caller's word for both.
    unsafe { set_json_or_null(out_or_null, "out_or_null", || spec(spec_json, spec_len)) }
}

/// Opens a sandbox: about a millisecond if the image is unpacked already. With
/// the defaults, a copy-on-write view of this machine.
///
/// `spec_json`, `spec_len`: a JSON object, the same keys as in every face; NULL
/// and 0 for the defaults.
///
/// Returns: NULL, or an error: TARE_KIND_INVALID for a wrong spec,
/// TARE_KIND_NOT_FOUND for a missing image, TARE_KIND_UNSUPPORTED with the cure
/// for keys that this machine cannot enforce. Nothing is left behind then.
/// Ownership: `*out` is the caller's, for tare_sandbox_close() or
/// tare_sandbox_free(). If this process dies, the sandbox ends.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_sandbox_open(
    store: *const tare_store,
    spec_json: *const c_char,
    spec_len: usize,
    out: *mut *mut tare_sandbox,
) -> *mut tare_error {
    // SAFETY: the caller's word for both.
    unsafe {
        set_handle(out, || {
            let spec = spec(spec_json, spec_len)?;
            Sandbox::open(&store::get(store)?.store, &spec)
        })
    }
}

/// Opens a sandbox on an open image, for example of tare_store_image(), which
/// reports its progress.
///
/// `spec_json`, `spec_len`: as for tare_sandbox_open(), but that `image` does
/// not matter.
///
/// Returns: NULL, or an error: those of tare_sandbox_open().
/// Ownership: `*out` is the caller's, for tare_sandbox_close() or
/// tare_sandbox_free(); `image` stays the caller's and may be freed while the
/// sandbox is open.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_sandbox_open_on(
    store: *const tare_store,
    image: *const tare_image,
    spec_json: *const c_char,
    spec_len: usize,
    out: *mut *mut tare_sandbox,
) -> *mut tare_error {
    // SAFETY: the caller's word for both.
    unsafe {
        set_handle(out, || {
            let spec = spec(spec_json, spec_len)?;
            let image = image::get(image)?;
            Sandbox::open_on(&store::get(store)?.store, &image.image, &spec)
        })
    }
}

/// Opens a sandbox on a plain directory as root, without copy-on-write: writes
/// of commands stay.
///
/// `root`: is there. `spec_json`, `spec_len`: as for tare_sandbox_open(), but
/// that `image` and `storage` do not matter.
///
/// Returns: NULL, or an error: those of tare_sandbox_open().
/// Ownership: `*out` is the caller's, for tare_sandbox_close() or
/// tare_sandbox_free().
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_sandbox_open_in(
    store: *const tare_store,
    root: *const c_char,
    spec_json: *const c_char,
    spec_len: usize,
    out: *mut *mut tare_sandbox,
) -> *mut tare_error {
    // SAFETY: the caller's word for all of them.
    unsafe {
        set_handle(out, || {
            let (root, spec) = (input::path(root, "root")?, spec(spec_json, spec_len)?);
            Sandbox::open_in(&store::get(store)?.store, root, &spec)
        })
    }
}

/// Ends all processes inside and returns when nothing of the sandbox is left.
/// The handle is gone, also after an error. NULL is ignored.
///
/// Returns: NULL, or an error: TARE_KIND_INVALID for a handle that is no
/// sandbox, or was closed or freed already; TARE_KIND_BROKEN if the helper
/// process is gone, and the sandbox with the helper.
/// Ownership: takes `sandbox`. Processes and outputs of the sandbox stay the
/// caller's.
/// Threads: any; calls in other threads see their commands killed.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_sandbox_close(sandbox: *mut tare_sandbox) -> *mut tare_error {
    call(|| match sandbox.is_null() {
        true => Ok(()),
        false => handle::take::<Sandbox>(sandbox, "sandbox")?.close(),
    })
}

/// Closes a sandbox without waiting; for a handle of tare_sandbox_as_user(),
/// frees that handle alone. NULL and closed or freed handles are ignored.
///
/// Ownership: takes `sandbox`. Processes and outputs of the sandbox stay the
/// caller's.
/// Threads: any; the sandbox ends when the last running call in another thread
/// returns.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_sandbox_free(sandbox: *mut tare_sandbox) {
    match handle::is::<UserOf>(sandbox) {
        true => handle::free::<UserOf>(sandbox),
        false => handle::free::<Sandbox>(sandbox),
    }
}

/// Ends everything inside and starts again from the image; old commands are
/// seen as killed. The new state is made first: for a moment there are both.
///
/// Returns: NULL, or an error: those of tare_sandbox_open(); nothing has
/// changed then.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_sandbox_reset(sandbox: *mut tare_sandbox) -> *mut tare_error {
    call(|| get(sandbox)?.reset())
}

/// Stops all processes inside, at once and unseen by them; returns when all
/// have stopped. Starting a command and using files then fail until
/// tare_sandbox_thaw(). A signal, a kill and a time limit take effect after the
/// thaw. A reset and a close work, and so does the end of this process.
///
/// Returns: NULL, or an error: TARE_KIND_UNSUPPORTED without an own cgroup in
/// v2 (kernel 5.2), TARE_KIND_BUSY if a process did not stop within two
/// seconds; then all continue.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_sandbox_freeze(sandbox: *mut tare_sandbox) -> *mut tare_error {
    call(|| get(sandbox)?.freeze())
}

/// Lets all processes inside continue; nothing happens if they were not
/// stopped.
///
/// Returns: NULL, or an error of writing to the cgroup.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn tare_sandbox_thaw(sandbox: *mut tare_sandbox) -> *mut tare_error {
    call(|| get(sandbox)?.thaw())
}

/// The use of all processes inside, now and since the open or the last reset: a
/// JSON object with `memory`, `memory_peak`, `user_us`, `system_us`, `io_read`,
/// `io_written`, `pids`, `pids_peak` and `oom_kills`, each null if this machine
/// does not count it for this sandbox.
///
/// Returns: NULL, or TARE_KIND_INVALID if the sandbox was closed.
/// Ownership: `*out` is the caller's, for tare_bytes_free().
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_sandbox_usage(
    sandbox: *const tare_sandbox,
    out: *mut *mut tare_bytes,
) -> *mut tare_error {
    // SAFETY: the caller's word for `out`.
    unsafe { set_json(out, || get(sandbox)?.usage()) }
}

/// The running commands, in the order of their start, those of
/// tare_sandbox_run() in other threads included: a JSON array of objects with
/// `id` (of tare_process_id()), `argv` and `wall_ns`, the nanoseconds since the
/// start.
///
/// Returns: NULL, or TARE_KIND_INVALID if the sandbox was closed.
/// Ownership: `*out` is the caller's, for tare_bytes_free().
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_sandbox_commands(
    sandbox: *const tare_sandbox,
    out: *mut *mut tare_bytes,
) -> *mut tare_error {
    // SAFETY: the caller's word for `out`.
    unsafe { set_json(out, || get(sandbox)?.commands()) }
}

/// A running command by its number, also after its handle was freed: a second
/// handle to wait, signal and kill. Pipes and terminal stay with the first
/// handle.
///
/// Returns: NULL, or an error: TARE_KIND_NOT_FOUND if no command of that number
/// runs, TARE_KIND_BUSY while the sandbox is frozen.
/// Ownership: `*out` is the caller's, for tare_process_free().
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_sandbox_process(
    sandbox: *const tare_sandbox,
    id: u64,
    out: *mut *mut tare_process,
) -> *mut tare_error {
    // SAFETY: the caller's word for `out`.
    unsafe { set_handle(out, || get(sandbox)?.process(id)) }
}

/// Changes limits while commands run. A reset brings those of the spec back.
///
/// `limits_json`, `limits_len`: a JSON object as `limits` of a spec, with
/// `memory`, `swap`, `cpus`, `cpu_weight`, `cpuset`, `pids` and `io`; limits
/// without a key stay.
///
/// Returns: NULL, or an error: TARE_KIND_INVALID for a wrong value and for
/// other keys, TARE_KIND_UNSUPPORTED for a limit that was not in force before,
/// the kernel's errno for a value that the kernel refuses.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_sandbox_set_limits(
    sandbox: *mut tare_sandbox,
    limits_json: *const c_char,
    limits_len: usize,
) -> *mut tare_error {
    call(|| {
        // SAFETY: the caller's word for both.
        let json = unsafe { input::json(limits_json, limits_len, "limits_json")? };
        get(sandbox)?.set_limits(&Limits::from_json(json)?)
    })
}

/// The restrictions in force: a JSON object with `name`, `hostname`, `storage`,
/// `unique_inodes`, `namespaces`, `ids`, `capabilities`, `seccomp`,
/// `no_new_privs`, `mounts`, `masked_paths`, `readonly_paths`, `cgroup`,
/// `left_out`, `labels` and `notes`.
///
/// Returns: NULL, or an error when the kernel does not let a limit be read
/// back.
/// Ownership: `*out` is the caller's, for tare_bytes_free().
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_sandbox_effective(
    sandbox: *const tare_sandbox,
    out: *mut *mut tare_bytes,
) -> *mut tare_error {
    // SAFETY: the caller's word for `out`.
    unsafe { set_json(out, || get(sandbox)?.effective()) }
}

/// A pidfd of the sandbox's first process: readable at any end of the sandbox.
/// tare_sandbox_reset() makes another process.
///
/// Returns: NULL, or an error of dup(2).
/// Ownership: `*out` is the caller's, for close(2).
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_sandbox_pidfd(
    sandbox: *const tare_sandbox,
    out: *mut i32,
) -> *mut tare_error {
    // SAFETY: the caller's word for `out`.
    unsafe { set(out, || get(sandbox)?.pidfd().map(OwnedFd::into_raw_fd)) }
}
