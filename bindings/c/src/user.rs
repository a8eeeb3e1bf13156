// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files of a sandbox with the rights of a user of the sandbox.

use std::ffi::c_char;
use std::sync::Arc;

use tare_core::{Files, Result, Sandbox};

use crate::call::call;
use crate::error::tare_error;
use crate::handle::{self, wrong};
use crate::input;
use crate::out::{Out, set_handle};
use crate::sandbox::{UserOf, get, tare_sandbox};

/// The owner of the files that a handle reaches.
pub(crate) struct Reached {
    sandbox: Arc<Sandbox>,
    user: Option<String>,
}

impl Reached {
    pub(crate) fn files(&self) -> Files<'_> {
        match &self.user {
            Some(user) => self.sandbox.files().as_user(user),
            None => self.sandbox.files(),
        }
    }
}

/// Returns the files behind a handle of a sandbox or of a user.
pub(crate) fn reach(handle: *const tare_sandbox) -> Result<Reached> {
    if !handle::is::<UserOf>(handle) {
        let sandbox = get(handle)?;
        return Ok(Reached {
            sandbox,
            user: None,
        });
    }
    let of = handle::get::<UserOf>(handle, "sandbox")?;
    let gone = || wrong("sandbox", "is of a sandbox that was freed or closed");
    Ok(Reached {
        sandbox: of.sandbox.upgrade().ok_or_else(gone)?,
        user: Some(of.user.clone()),
    })
}

/// Gives a handle to files with the rights of a user of the sandbox: a
/// forbidden read or write is EACCES, and new files belong to the user. Through
/// the sandbox's own handle every file can be read and written, and new files
/// belong to 0:0. For tare_file_open() and the other functions on files, and
/// tare_dir_open(), alone; each call with the handle makes a process inside
/// that becomes the user.
///
/// `user`: `USER[:GROUP]` by name or number, as in a tare_command; each call
/// looks the user up inside, and fails with TARE_KIND_NOT_FOUND for a missing
/// name and EINVAL for an id that the sandbox does not have.
///
/// Returns: NULL, or an error.
/// Ownership: `*out` is the caller's, for tare_sandbox_free(), which leaves the
/// sandbox unchanged.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_sandbox_as_user(
    sandbox: *const tare_sandbox,
    user: *const c_char,
    out: *mut *mut tare_sandbox,
) -> *mut tare_error {
    // SAFETY: the caller's word for both.
    unsafe {
        set_handle(out, || {
            let user = input::text(user, "user")?.to_owned();
            let sandbox = Arc::downgrade(&get(sandbox)?);
            Ok(UserOf { sandbox, user })
        })
    }
}

/// Looks a user of the sandbox up, for tare_file_chown() for example.
///
/// `user`: `USER[:GROUP]` by name or number.
///
/// Returns: NULL, or an error: TARE_KIND_NOT_FOUND for a name that /etc/passwd
/// or /etc/group of the sandbox does not have; EINVAL for an id that the
/// sandbox does not have.
/// Threads: any, at once.
/// Since: 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tare_sandbox_user_ids(
    sandbox: *const tare_sandbox,
    user: *const c_char,
    uid: *mut u32,
    gid: *mut u32,
) -> *mut tare_error {
    call(|| {
        // SAFETY: the caller's word for all of them.
        let (user, uid, gid) = unsafe {
            (
                input::text(user, "user")?,
                Out::new(uid, "uid")?,
                Out::new(gid, "gid")?,
            )
        };
        let ids = get(sandbox)?.files().user_ids(user)?;
        uid.set(ids.0);
        gid.set(ids.1);
        Ok(())
    })
}
