// SPDX-License-Identifier: MIT OR Apache-2.0
//! Work on files of subordinate ids, for a process in a user namespace.
#![forbid(unsafe_code)]

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use crate::error::Result;
use crate::image::layer::Fixup;

/// Gives files to subordinate ids and removes files of such ids.
///
/// An ordinary user may do neither, but a process in a user namespace that maps
/// the ids may. Without such a helper a store unpacks every file as the user's
/// single id.
pub trait Chown {
    /// Applies the work that unpacking a layer left: owners, and all that
    /// depends on owners.
    ///
    /// # Errors
    /// Those of the calls; the layer is not used then.
    fn apply(&mut self, root: BorrowedFd<'_>, fixups: &[Fixup]) -> Result<()>;

    /// Removes `name` and everything below from `parent`; a missing name is
    /// fine.
    ///
    /// # Errors
    /// Those of the calls.
    fn remove_tree(&mut self, parent: BorrowedFd<'_>, name: &CStr) -> Result<()>;
}
