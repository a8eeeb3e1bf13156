// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands in sandboxes, and the third primitive: a command in a plain root.

use std::ffi::{OsStr, c_char};

use tare_core::{Command, Error, Kind, Result, Sandbox, spawn_in};

use crate::call::call;
use crate::command::tare_command;
use crate::error::tare_error;
use crate::input;
use crate::out::{Out, OutStruct, set_handle};
use crate::output::{OutputObject, tare_output};
use crate::process::{self, tare_process, tare_process_fds};
use crate::sandbox::{get, spec, tare_sandbox};
use crate::store::{self, tare_store};

/// # Safety
/// As [`tare_command::read`]; `command` points to a struct that begins with its
/// size.
unsafe fn command(sandbox: &Sandbox, command: *const tare_command) -> Result<Command> {
    // SAFETY: this function's own.
    unsafe { input::read(command)?.read(|args: &[&OsStr]| sandbox.image_command(args)) }
}

/// Starts a command and returns while the command runs. Any number may run at
/// once.
///
/// `fds_or_null`: gets all descriptors of the command in the same call; the
/// pipes are then the caller's, as if taken with tare_process_take_stdin() and
/// its like.
///
/// Returns: NULL, or an error: TARE_KIND_NOT_FOUND, TARE_KIND_NOT_EXECUTABLE or
/// TARE_KIND_PERMISSION with the step `execute` mean that the program does not
/// exist or cannot be executed.
/// Ownership: `*out` is the caller's, for tare_process_free().
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_sandbox_spawn(
    sandbox: *const tare_sandbox,
    command: *const tare_command,
    out: *mut *mut tare_process,
    fds_or_null: *mut tare_process_fds,
) -> *mut tare_error {
    call(|| {
        // SAFETY: the caller's word for both.
        let (out, fds) = unsafe { (Out::new(out, "out")?, OutStruct::optional(fds_or_null)?) };
        let sandbox = get(sandbox)?;
        // SAFETY: the caller vouches for `command` and its pointers.
        let command = unsafe { self::command(&sandbox, command)? };
        process::give(sandbox.spawn(command)?, out, fds)
    })
}

/// Runs a command to its end and keeps its output. A failing command is a
/// result, not an error.
///
/// Returns: NULL, or an error: those of tare_sandbox_spawn().
/// Ownership: `*out` is the caller's, for tare_output_free().
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_sandbox_run(
    sandbox: *const tare_sandbox,
    command: *const tare_command,
    out: *mut *mut tare_output,
) -> *mut tare_error {
    // SAFETY: the caller's word for both, and for the command's pointers.
    unsafe {
        set_handle(out, || {
            let sandbox = get(sandbox)?;
            let command = self::command(&sandbox, command)?;
            sandbox.run(command).map(OutputObject::new)
        })
    }
}

/// Starts a command in a root directory of the caller's, in a sandbox for this
/// command alone: the third primitive. No image, no copy-on-write: writes of
/// the command stay.
///
/// `root`: is there. `spec_json`, `spec_len`: as for tare_sandbox_open_in().
/// `fds_or_null`: as for tare_sandbox_spawn().
///
/// Returns: NULL, or an error: those of tare_sandbox_open() and
/// tare_sandbox_spawn().
/// Ownership: `*out` is the caller's, for tare_process_free(), which also ends
/// the sandbox.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_spawn_in(
    store: *const tare_store,
    root: *const c_char,
    spec_json: *const c_char,
    spec_len: usize,
    command: *const tare_command,
    out: *mut *mut tare_process,
    fds_or_null: *mut tare_process_fds,
) -> *mut tare_error {
    call(|| {
        let no_image = |_: &[&OsStr]| {
            let why = "a plain root has no image that could name a command";
            Err(Error::new(Kind::Invalid, "find command", why).with_cure("argv, with flags = 0"))
        };
        // SAFETY: the caller's word for all of them.
        let (root, spec, command, out, fds) = unsafe {
            (
                input::path(root, "root")?,
                spec(spec_json, spec_len)?,
                input::read(command)?.read(no_image)?,
                Out::new(out, "out")?,
                OutStruct::optional(fds_or_null)?,
            )
        };
        let store = store::get(store)?;
        process::give(spawn_in(&store.store, root, &spec, command)?, out, fds)
    })
}
