// SPDX-License-Identifier: MIT OR Apache-2.0
//! File descriptors: ownership, copies, closing.
//!
//! A function that only uses a descriptor takes its number, because numbers
//! come from slots and requests, and a wrong number is EBADF. Only [`Fd`],
//! [`MaybeFd`] and the `unsafe` functions below close descriptors.

use core::mem::ManuallyDrop;

use super::{Errno, O_CLOEXEC, Result, syscall};

/// The working directory, in place of a directory's descriptor.
pub(crate) const AT_FDCWD: i32 = -100;

/// A file descriptor that is closed at the end of its scope.
pub(crate) struct Fd(i32);

impl Fd {
    /// Takes ownership of a descriptor.
    ///
    /// # Safety
    /// The descriptor is open, and no other owner closes it.
    pub(crate) unsafe fn from_raw(fd: i32) -> Self {
        Self(fd)
    }

    /// Returns the number, for use while `self` lives.
    pub(crate) fn raw(&self) -> i32 {
        self.0
    }

    /// Gives up ownership: the descriptor stays open under the number.
    pub(crate) fn into_raw(self) -> i32 {
        ManuallyDrop::new(self).0
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        // SAFETY: `self` owns the descriptor, and goes away.
        unsafe { close(self.0) }
    }
}

/// Makes an [`Fd`] of the value of a system call.
///
/// # Safety
/// The call opened the returned descriptor.
pub(super) unsafe fn opened(returned: Result<usize>) -> Result<Fd> {
    returned.map(|fd| Fd(fd as i32))
}

/// Closes a descriptor by number; ignores a negative number.
///
/// # Safety
/// The caller owns the descriptor and does not use the number again.
pub(crate) unsafe fn close(fd: i32) {
    if fd >= 0 {
        // A descriptor is gone even when close(2) reports an error.
        // SAFETY: close(2) takes a number; the caller gives up the descriptor.
        let _ = unsafe { syscall!(CLOSE, fd) };
    }
}

/// Closes all descriptors from `first` to `last`, close_range(2).
///
/// # Safety
/// The caller owns those of them that are open.
pub(crate) unsafe fn close_range(first: i32, last: u32) -> Result<()> {
    // SAFETY: three numbers; the caller gives up the descriptors.
    unsafe { syscall!(CLOSE_RANGE, first, last, 0) }.map(drop)
}

/// Copies a descriptor to the lowest free number from `from` on, close-on-exec.
pub(crate) fn duplicate(fd: i32, from: i32) -> Result<Fd> {
    const F_DUPFD_CLOEXEC: usize = 1030;
    // SAFETY: three numbers; fcntl(2) opens the returned copy.
    match unsafe { opened(syscall!(FCNTL, fd, F_DUPFD_CLOEXEC, from)) } {
        // `from` is above RLIMIT_NOFILE.
        Err(Errno::INVAL) => Err(Errno::MFILE),
        done => done,
    }
}

/// Copies a descriptor to a number, inheritable, and closes the old descriptor
/// there.
///
/// # Safety
/// The caller owns the old descriptor at `to`, if any, and the copy from now
/// on.
pub(crate) unsafe fn dup2(fd: i32, to: i32) -> Result<()> {
    // SAFETY: two numbers; the caller gives up the old descriptor.
    unsafe { syscall!(DUP2, fd, to) }.map(drop)
}

/// Copies a descriptor to another number with `flags`, as [`dup2`].
///
/// # Safety
/// As for [`dup2`].
pub(crate) unsafe fn dup3(fd: i32, to: i32, flags: u32) -> Result<()> {
    // SAFETY: three numbers; the caller gives up the old descriptor.
    unsafe { syscall!(DUP3, fd, to, flags) }.map(drop)
}

/// Opens a pipe, close-on-exec: the end to read, and the end to write.
pub(crate) fn pipe() -> Result<(Fd, Fd)> {
    let mut ends = [0i32; 2];
    // SAFETY: pipe2(2) writes two numbers into the array.
    unsafe { syscall!(PIPE2, ends.as_mut_ptr(), O_CLOEXEC) }?;
    Ok((Fd(ends[0]), Fd(ends[1])))
}

/// An optional file descriptor; all bits zero are no descriptor, for tables in
/// fresh memory.
#[repr(transparent)]
#[derive(Default)]
pub(crate) struct MaybeFd(
    /// The number plus one.
    i32,
);

impl MaybeFd {
    /// Returns the number, for use while `self` lives; -1 without a descriptor.
    pub(crate) fn raw(&self) -> i32 {
        self.0 - 1
    }

    /// Returns whether there is a descriptor.
    pub(crate) fn is_some(&self) -> bool {
        self.0 > 0
    }
}

impl From<Option<Fd>> for MaybeFd {
    fn from(fd: Option<Fd>) -> Self {
        Self(fd.map_or(0, |fd| fd.into_raw() + 1))
    }
}

impl Drop for MaybeFd {
    fn drop(&mut self) {
        // SAFETY: `self` owns the descriptor, if any, and goes away.
        unsafe { close(self.raw()) }
    }
}
