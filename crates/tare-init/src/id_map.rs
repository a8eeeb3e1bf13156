// SPDX-License-Identifier: MIT OR Apache-2.0
//! Id maps of user namespaces, user_namespaces(7).
#![forbid(unsafe_code)]

use core::ffi::CStr;

use crate::dir;
use crate::sys::{self, AT_FDCWD, Result};
use crate::wire::Hello;

pub(crate) fn write_map(pid: i32, file: &CStr, map: &[u8]) -> Result<()> {
    let (mut path, mut pid_text) = ([0; 64], [0; 20]);
    let pid = dir::digits(pid as u64, &mut pid_text);
    let path = dir::join(&mut path, &[b"/proc/", pid, b"/", file.to_bytes()])?;
    dir::write_file(AT_FDCWD, path, map)
}

/// Maps the caller's ids to 0, the only ids that an ordinary user without
/// subordinate ids can map. Denies setgroups(2) first, because the kernel
/// refuses the map otherwise.
pub(crate) fn map_self(hello: &Hello) -> Result<()> {
    dir::write_file(AT_FDCWD, c"/proc/self/setgroups", b"deny")?;
    for (file, id) in [
        (c"/proc/self/uid_map", hello.uid),
        (c"/proc/self/gid_map", hello.gid),
    ] {
        let (mut text, mut digits) = ([0u8; 32], [0; 20]);
        let id = dir::digits(u64::from(id), &mut digits);
        let map = dir::join(&mut text, &[b"0 ", id, b" 1"])?;
        dir::write_file(AT_FDCWD, file, map.to_bytes())?;
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
