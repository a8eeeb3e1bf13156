// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mounts inside: the kernel's file systems of Docker's default, files of
//! names, overlays.
#![forbid(unsafe_code)]

mod kernel;
mod mask;
pub(crate) mod names;
mod overlay;

use std::ffi::CStr;
use std::io::Write as _;

use crate::spec::ByteSize;
use crate::wire::ListBuf;

pub(crate) use kernel::Kernel;
pub(crate) use mask::{masked, read_only};
pub(crate) use overlay::{overlay, overlay_at, overlay_flags};

/// Mount attributes, mount_setattr(2).
pub(crate) const RDONLY: u32 = 0x01;
/// No set-user-id programs.
pub(crate) const NOSUID: u32 = 0x02;
/// No devices.
pub(crate) const NODEV: u32 = 0x04;
/// No programs.
pub(crate) const NOEXEC: u32 = 0x08;
/// Attributes of mounts without programs, set-id bits or devices.
pub(crate) const LOCKED: u32 = NOSUID | NODEV | NOEXEC;
/// Access times always.
const STRICTATIME: u32 = 0x20;

/// Key and value in turn.
pub(crate) fn options<const N: usize>(pairs: [&CStr; N]) -> ListBuf {
    pairs.into_iter().collect()
}

/// Bytes of a tmpfs for each inode: the kernel's ratio for a tmpfs without
/// options, an inode a page.
const BYTES_PER_INODE: u64 = 4096;
/// Inodes that any tmpfs may have, so that small ones stay usable.
const LEAST_INODES: u64 = 1024;

/// Adds a tmpfs's bounds, tmpfs(5): bytes, and inodes in proportion, because
/// empty files take kernel memory beyond the size.
pub(crate) fn push_size(options: &mut ListBuf, size: ByteSize) {
    let inodes = (size.bytes() / BYTES_PER_INODE).max(LEAST_INODES);
    for (name, bound) in [(c"size", size.bytes()), (c"nr_inodes", inodes)] {
        // The digits of the largest number, and the NUL that is left behind
        // them.
        let mut text = [0; 21];
        write!(&mut text[..20], "{bound}").expect("a u64 has 20 digits at most");
        options.push(name);
        options.push(CStr::from_bytes_until_nul(&text).expect("the last byte is a NUL"));
    }
}
