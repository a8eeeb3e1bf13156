// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sealed memory files, memfd_create(2), which no process can change any more.
#![forbid(unsafe_code)]

use std::ffi::CStr;
use std::os::fd::{AsFd as _, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::write;

use super::file_size::WithoutSignal;

/// A memory file with these bytes, sealed against every change; executable if
/// asked for.
pub(crate) fn sealed(name: &CStr, bytes: &[u8], executable: bool) -> Result<OwnedFd, Errno> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let _without = WithoutSignal::begin();
    // KERNEL(6.3): MFD_EXEC and MFD_NOEXEC_SEAL state the behaviour of earlier
    // kernels.
    let wish = MFdFlags::from_bits_retain(if executable { 0x10 } else { 0x8 });
    let file = match memfd_create(name, flags | wish) {
        Err(Errno::EINVAL) => memfd_create(name, flags)?,
        other => other?,
    };
    let mut rest = bytes;
    while !rest.is_empty() {
        let n = write(file.as_fd(), rest)?;
        rest = &rest[n..];
    }
    let seals = SealFlag::F_SEAL_SEAL
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_WRITE;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file)
}
