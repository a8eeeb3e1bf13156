// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mounts overlays with a writable layer in the stage.
#![forbid(unsafe_code)]

use std::ffi::{CStr, CString};

use super::options;
use crate::ops::{Ops, Slot};
use crate::wire::{ListBuf, Op, USERXATTR};

/// True if the overlay belongs to a user namespace, for [`Op::NewOverlay`].
pub(crate) const fn overlay_flags(ordinary: bool) -> u32 {
    if ordinary { USERXATTR } else { 0 }
}

/// Makes an overlay with a directory of the stage as its upper layer. The root
/// gets the topmost layer's mode and owner; with USERXATTR the owner is 0:0.
pub(crate) fn overlay(
    ops: &mut Ops,
    stage: Slot,
    name: &str,
    lowers: ListBuf,
    attrs: u32,
    flags: u32,
) -> Slot {
    use nix::sys::stat::stat;
    let path = |tail: &str| {
        CString::new(format!("{name}{tail}")).expect("names of the library hold no NUL")
    };
    let (upper, work) = (path("u"), path("w"));
    // An unreadable layer fails at the mount, with its name.
    let top = lowers
        .as_list()
        .iter()
        .next()
        .and_then(|top| stat(top).ok());
    let (mode, uid, gid) = match top {
        Some(stat) if flags & USERXATTR != 0 => (stat.st_mode & 0o7777, 0, 0),
        Some(stat) => (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid),
        None => (0o755, 0, 0),
    };
    ops.push(Op::MakeDir {
        root: stage.number(),
        path: &upper,
        mode,
        uid,
        gid,
    });
    ops.make_dir(stage, &work, 0o700);
    overlay_at(ops, stage, lowers, [&upper, &work], attrs, flags)
}

/// An overlay with its upper and work directories.
pub(crate) fn overlay_at(
    ops: &mut Ops,
    stage: Slot,
    lowers: ListBuf,
    [upper, work]: [&CStr; 2],
    attrs: u32,
    flags: u32,
) -> Slot {
    let into = ops.slot();
    // A layer from elsewhere may not redirect into other layers (the kernel's
    // overlayfs documentation, "Permission model").
    let options = if flags & USERXATTR != 0 {
        ListBuf::default()
    } else {
        options([
            c"redirect_dir",
            c"nofollow",
            c"metacopy",
            c"off",
            c"index",
            c"off",
        ])
    };
    ops.push(Op::NewOverlay {
        into: into.number(),
        stage: stage.number(),
        lowers: lowers.as_list(),
        upper,
        work,
        options: options.as_list(),
        attrs,
        flags,
    });
    into
}
