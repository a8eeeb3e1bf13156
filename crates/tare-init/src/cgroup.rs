// SPDX-License-Identifier: MIT OR Apache-2.0
//! Removes the cgroup of a dead sandbox.
#![forbid(unsafe_code)]

use core::ffi::CStr;

use crate::dir;
use crate::sys::{self, AT_REMOVEDIR, Errno, Result};

/// Removes a cgroup with its direct children named `tare-*`. A cgroup may be
/// busy for a moment after its last process died.
pub(crate) fn remove_cgroup(at: i32, path: &CStr) {
    for round in 0..200 {
        match sys::unlinkat(at, path, AT_REMOVEDIR) {
            Err(Errno::BUSY) => {}
            _ => return,
        }
        // `Watched::remove` finds the rest at the helper's end, or a later
        // sweep.
        let _ = remove_children(at, path);
        if round > 0 {
            sys::sleep_us(500);
        }
    }
}

/// Removes the cgroups of commands.
fn remove_children(at: i32, path: &CStr) -> Result<()> {
    let parent = sys::openat(at, path, sys::O_PATH | sys::O_DIRECTORY, 0)?;
    dir::for_each(parent.raw(), c".", |name| {
        if name.to_bytes().starts_with(b"tare-") {
            // A busy child is tried again with its parent.
            let _ = sys::unlinkat(parent.raw(), name, AT_REMOVEDIR);
        }
        Ok(())
    })
}
