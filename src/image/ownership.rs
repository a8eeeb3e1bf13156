// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an ordinary user's store needs done by somebody inside a user namespace.
#![forbid(unsafe_code)]

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use crate::error::Result;
use crate::image::layer::Fixup;

/// Gives files to subordinate ids and removes what such ids own.
///
/// An ordinary user may do neither, but a process in a user namespace whose map
/// holds those ids may. A store without one unpacks everything as the one id the
/// user has.
pub trait Chown {
    /// Applies what an unpacked layer put off: owners, and what depends on them.
    ///
    /// # Errors
    /// Any of the calls that fail; the layer is then not used.
    fn apply(&mut self, root: BorrowedFd<'_>, fixups: &[Fixup]) -> Result<()>;

    /// Removes `name` and everything below it from `parent`; nothing there is fine.
    ///
    /// # Errors
    /// Any of the calls that fail.
    fn remove_tree(&mut self, parent: BorrowedFd<'_>, name: &CStr) -> Result<()>;
}
