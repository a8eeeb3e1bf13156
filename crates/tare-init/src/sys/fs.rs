// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files and directories: opening, reading, making, changing, removing.

use core::ffi::CStr;

use super::fd::opened;
use super::{Errno, Fd, Result, calls, syscall};

pub(crate) const AT_SYMLINK_NOFOLLOW: u32 = 0x100;
pub(crate) const AT_REMOVEDIR: u32 = 0x200;
pub(crate) const AT_EMPTY_PATH: u32 = 0x1000;
pub(crate) const AT_RECURSIVE: u32 = 0x8000;

pub(crate) const O_RDONLY: u32 = 0;
pub(crate) const O_WRONLY: u32 = 1;
pub(crate) const O_RDWR: u32 = 2;
pub(crate) const O_CREAT: u32 = 0o100;
pub(crate) const O_EXCL: u32 = 0o200;
pub(crate) const O_NOCTTY: u32 = 0o400;
pub(crate) const O_APPEND: u32 = 0o2000;
pub(crate) const O_NONBLOCK: u32 = 0o4000;
pub(crate) const O_DIRECTORY: u32 = 0o200000;
pub(crate) const O_NOFOLLOW: u32 = 0o400000;
pub(crate) const O_CLOEXEC: u32 = 0o2000000;
pub(crate) const O_PATH: u32 = 0o10000000;

pub(crate) const RESOLVE_NO_XDEV: u64 = 0x01;
pub(crate) const RESOLVE_NO_MAGICLINKS: u64 = 0x02;
pub(crate) const RESOLVE_NO_SYMLINKS: u64 = 0x04;
pub(crate) const RESOLVE_BENEATH: u64 = 0x08;
pub(crate) const RESOLVE_IN_ROOT: u64 = 0x10;

/// [`renameat2`]: an existing target is an error.
pub(crate) const RENAME_NOREPLACE: u32 = 1;

/// Opens a path, close-on-exec, with the `RESOLVE_*` bits of openat2(2).
pub(crate) fn openat2(dir: i32, path: &CStr, flags: u32, mode: u32, resolve: u64) -> Result<Fd> {
    // `struct open_how`.
    let how = [u64::from(flags | O_CLOEXEC), u64::from(mode), resolve];
    let (path, size) = (path.as_ptr(), size_of_val(&how));
    for _ in 0..1000 {
        // SAFETY: `path` ends with a NUL; the kernel reads `size` bytes of
        // `how`, and opens the returned descriptor.
        match unsafe { opened(syscall!(OPENAT2, dir, path, how.as_ptr(), size)) } {
            // A rename raced with the walk; the kernel asks to try again.
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
    // A sandbox renames without end.
    Err(Errno::AGAIN)
}

calls! {
    /// Opens a path, close-on-exec.
    fn openat(dir: i32, path: &CStr, flags: u32, mode: u32) -> Fd =
        OPENAT(dir, path.as_ptr(), flags | O_CLOEXEC, mode);

    /// Makes a directory.
    fn mkdirat(dir: i32, name: &CStr, mode: u32) = MKDIRAT(dir, name.as_ptr(), mode);

    /// Makes a device, a fifo or another special file.
    fn mknodat(dir: i32, name: &CStr, mode: u32, device: u64) =
        MKNODAT(dir, name.as_ptr(), mode, device);

    /// Makes a symbolic link.
    fn symlinkat(target: &CStr, dir: i32, name: &CStr) =
        SYMLINKAT(target.as_ptr(), dir, name.as_ptr());

    /// Gives a file another name; does not follow a symbolic link.
    fn linkat(from: i32, name: &CStr, to: i32, new: &CStr) =
        LINKAT(from, name.as_ptr(), to, new.as_ptr(), 0);

    /// Renames, and replaces an existing target.
    fn renameat(from: i32, name: &CStr, to: i32, new: &CStr) =
        RENAMEAT(from, name.as_ptr(), to, new.as_ptr());

    /// Renames with flags, as [`RENAME_NOREPLACE`].
    fn renameat2(from: i32, name: &CStr, to: i32, new: &CStr, flags: u32) =
        RENAMEAT2(from, name.as_ptr(), to, new.as_ptr(), flags);

    /// Removes a file, or with [`AT_REMOVEDIR`] an empty directory.
    fn unlinkat(dir: i32, name: &CStr, flags: u32) = UNLINKAT(dir, name.as_ptr(), flags);

    /// Changes owner and group.
    fn fchownat(dir: i32, name: &CStr, uid: u32, gid: u32, flags: u32) =
        FCHOWNAT(dir, name.as_ptr(), uid, gid, flags);

    /// Changes owner and group of an open file; `u32::MAX` keeps the old value.
    fn fchown(fd: i32, uid: u32, gid: u32) = FCHOWN(fd, uid, gid);

    /// Changes the permission bits of an open file.
    fn fchmod(fd: i32, mode: u32) = FCHMOD(fd, mode);

    /// Changes the permission bits; a symbolic link is followed.
    fn fchmodat(dir: i32, name: &CStr, mode: u32) = FCHMODAT(dir, name.as_ptr(), mode);

    /// Changes the working directory to an open directory.
    fn fchdir(dir: i32) = FCHDIR(dir);

    /// Changes the working directory.
    fn chdir(path: &CStr) = CHDIR(path.as_ptr());

    /// Changes the root directory.
    fn chroot(path: &CStr) = CHROOT(path.as_ptr());
}

/// Reads once; a signal does not end that.
pub(crate) fn read(fd: i32, into: &mut [u8]) -> Result<usize> {
    loop {
        // SAFETY: the kernel writes at most `into.len()` bytes.
        match unsafe { syscall!(READ, fd, into.as_mut_ptr(), into.len()) } {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

/// Writes everything at once; a short write is an error.
pub(crate) fn write(fd: i32, bytes: &[u8]) -> Result<()> {
    // SAFETY: the kernel reads `bytes.len()` bytes.
    match unsafe { syscall!(WRITE, fd, bytes.as_ptr(), bytes.len()) }? {
        n if n == bytes.len() => Ok(()),
        _ => Err(Errno::IO),
    }
}

/// Copies up to `len` bytes inside the kernel, at the offsets of both.
pub(crate) fn copy_file_range(from: &Fd, to: &Fd, len: usize) -> Result<usize> {
    // SAFETY: null offsets are allowed; the rest are numbers.
    unsafe { syscall!(COPY_FILE_RANGE, from.raw(), 0, to.raw(), 0, len, 0) }
}

/// Reads directory entries, `struct linux_dirent64` each, into `into`.
pub(crate) fn getdents64(dir: i32, into: &mut [u64]) -> Result<&[u8]> {
    // SAFETY: the kernel writes at most as many bytes as `into` has.
    let n = unsafe { syscall!(GETDENTS64, dir, into.as_mut_ptr(), size_of_val(into)) }?;
    let n = n.min(size_of_val(into));
    // SAFETY: `into` has `n` bytes and stays borrowed; any byte is a u8.
    Ok(unsafe { core::slice::from_raw_parts(into.as_ptr().cast(), n) })
}

/// Reads the text of a symbolic link; returns its length.
pub(crate) fn readlinkat(dir: i32, name: &CStr, into: &mut [u8]) -> Result<usize> {
    let (name, len) = (name.as_ptr(), into.len());
    // SAFETY: `name` ends with a NUL; the kernel writes at most `len` bytes.
    unsafe { syscall!(READLINKAT, dir, name, into.as_mut_ptr(), len) }
}

/// Sets the times of the last access and of the last change.
pub(crate) fn utimensat(dir: i32, name: &CStr, times: &[u64; 4], flags: u32) -> Result<()> {
    // SAFETY: `name` ends with a NUL; the kernel reads two `struct timespec`.
    unsafe { syscall!(UTIMENSAT, dir, name.as_ptr(), times.as_ptr(), flags) }.map(drop)
}

/// Sets the times of an open file, as [`utimensat`].
pub(crate) fn futimens(fd: &Fd, times: &[u64; 4]) -> Result<()> {
    // SAFETY: a null path means `fd`; the kernel reads two `struct timespec`.
    unsafe { syscall!(UTIMENSAT, fd.raw(), 0, times.as_ptr(), 0) }.map(drop)
}

/// Sets the file mode creation mask.
pub(crate) fn umask(mask: u32) {
    // umask(2) cannot fail.
    // SAFETY: one number.
    let _ = unsafe { syscall!(UMASK, mask) };
}
