// SPDX-License-Identifier: MIT OR Apache-2.0
//! Id maps of user namespaces, user_namespaces(7).
#![forbid(unsafe_code)]

use core::ffi::CStr;

use crate::dir;
use crate::sys::{self, AT_FDCWD, Result};
use crate::wire::Hello;

pub(crate) fn write_map(pid: i32, file: &CStr, map: &[u8]) -> Result<()> {
    let mut path = [0u8; 64];
    let path = dir::join(
        &mut path,
        &[
            b"/proc/",
            dir::digits(pid as u64, &mut [0; 20]),
            b"/",
            file.to_bytes(),
        ],
    )?;
    let file = sys::openat(AT_FDCWD, path, sys::O_WRONLY, 0)?;
    sys::write(file.raw(), map)
}

/// Maps the caller's ids to 0, the only ids that an ordinary user without
/// subordinate ids can map. Denies setgroups(2) first, because the kernel
/// refuses the map otherwise.
pub(crate) fn map_self(hello: &Hello) -> Result<()> {
    for (file, id) in [
        (c"/proc/self/setgroups", None),
        (c"/proc/self/uid_map", Some(hello.uid)),
        (c"/proc/self/gid_map", Some(hello.gid)),
    ] {
        let (mut text, mut digits) = ([0u8; 32], [0; 20]);
        let bytes = match id {
            None => &b"deny"[..],
            Some(id) => dir::join(
                &mut text,
                &[b"0 ", dir::digits(u64::from(id), &mut digits), b" 1"],
            )?
            .to_bytes(),
        };
        let file = sys::openat(AT_FDCWD, file, sys::O_WRONLY, 0)?;
        sys::write(file.raw(), bytes)?;
    }
    Ok(())
}

/// Becomes user and group 0 of the new user namespace, and hides from the
/// caller's other processes again.
pub(crate) fn become_root() -> Result<()> {
    sys::setresgid(0)?;
    sys::setresuid(0)?;
    sys::set_dumpable(false)
}
