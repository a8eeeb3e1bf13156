// SPDX-License-Identifier: MIT OR Apache-2.0
//! Removes the cgroup of a dead sandbox.

use core::ffi::CStr;

use crate::dir;
use crate::sys::{self, AT_REMOVEDIR, Errno, Result, nr, sys};

/// A cgroup with its children; it may be busy for a moment after its last
/// process died.
pub(crate) fn remove_cgroup(at: i32, path: &CStr) {
    for round in 0..200 {
        match sys!(nr::UNLINKAT, at, path.as_ptr(), AT_REMOVEDIR) {
            // EBUSY
            Err(Errno(16)) => {}
            _ => return,
        }
        // What is left is found by the next `Store::recover`.
        let _ = remove_children(at, path);
        if round > 0 {
            sys::sleep_us(500);
        }
    }
}

/// The cgroups of commands.
fn remove_children(at: i32, path: &CStr) -> Result<()> {
    let parent = sys::openat(at, path, sys::O_PATH | sys::O_DIRECTORY, 0)?;
    dir::for_each(parent.0, c".", |name| {
        if name.to_bytes().starts_with(b"tare-") {
            // One that is busy is tried again with its parent.
            let _ = sys!(nr::UNLINKAT, parent.0, name.as_ptr(), AT_REMOVEDIR);
        }
        Ok(())
    })
}
