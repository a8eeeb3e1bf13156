// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is seen inside: root, kernel file systems, the caller's mounts, and what is hidden of them.
#![forbid(unsafe_code)]

use std::ffi::CString;

use super::needs::Needs;
use crate::error::Result;
use crate::parts::idmap::Ids;
use crate::parts::mounts::{self, Kernel, options};
use crate::parts::ops::{Ops, Slot};
use crate::parts::{devices, sysctl};
use crate::spec::ByteSize;
use crate::tree::{Lower, Mounted};
use crate::wire::Op;

/// What is seen inside, whole.
pub(super) struct Tree {
    pub(super) root: Slot,
    /// Of the root, what is made read-only beside it.
    pub(super) parts: Vec<Slot>,
    pub(super) kernel: Kernel,
    pub(super) pts: Slot,
}

/// Everything is made in the host's mount namespace, attached nowhere. Then the way out of it, with the tree as the root.
pub(super) fn bare(ops: &mut Ops, stage: Slot, needs: &Needs<'_>) -> Result<Tree> {
    // First, and whole: the next start may have it made ahead.
    let (kernel, pts) = kernel(ops, None, stage, needs, false)?;
    let root = needs.backend.mount_detached(ops, stage, needs.tree)?;
    let callers = mounts::callers_ahead(ops, stage, needs.spec)?;
    ops.push(Op::EnterBare {});
    ops.push(Op::AttachRoot {
        from: root.number(),
    });
    kernel.attach(ops, root);
    names(ops, root, stage, needs)?;
    callers.iter().for_each(|one| one.attach(ops, root));
    kernel.restrict_rest(ops, root, stage, needs.spec)?;
    let parts = Vec::new();
    Ok(Tree {
        root,
        parts,
        kernel,
        pts,
    })
}

/// The same, each made where it is attached.
pub(super) fn attached(
    ops: &mut Ops,
    stage: Slot,
    needs: &Needs<'_>,
    ordinary: bool,
) -> Result<Tree> {
    let Mounted { root, parts } = needs.backend.mount(ops, stage, needs.tree)?;
    let (kernel, pts) = kernel(ops, Some(root), stage, needs, ordinary)?;
    names(ops, root, stage, needs)?;
    mounts::callers(ops, root, stage, needs.spec, ordinary)?;
    kernel.restrict_rest(ops, root, stage, needs.spec)?;
    Ok(Tree {
        root,
        parts,
        kernel,
        pts,
    })
}

/// `/proc`, `/sys` and `/dev` with all that is in them, attached to `root` if there is one already; the devpts comes back, too.
///
/// KERNEL(6.15): before that nothing can be attached to what is attached nowhere.
fn kernel(
    ops: &mut Ops,
    root: Option<Slot>,
    stage: Slot,
    needs: &Needs<'_>,
    ordinary: bool,
) -> Result<(Kernel, Slot)> {
    let spec = needs.spec;
    let kernel = Kernel::new(ops, spec, ordinary);
    sysctl::network(ops, kernel.proc, spec, needs.ids);
    // Before anything is mounted in it: the next start may have this made ahead.
    devices::standard(ops, kernel.dev, spec, ordinary);
    if let Some(root) = root {
        kernel.attach(ops, root);
    }
    let tty_group = *needs.ids != Ids::Single;
    let pts = kernel.fill(ops, spec, needs.cgroup2, tty_group);
    devices::of_spec(ops, kernel.dev, spec, ordinary)?;
    kernel.restrict(ops, stage, spec)?;
    Ok((kernel, pts))
}

/// What other engines bind over the image's own `/etc`; not over the host's.
fn names(ops: &mut Ops, root: Slot, stage: Slot, needs: &Needs<'_>) -> Result<()> {
    match needs.tree.lower {
        Lower::Host => Ok(()),
        _ => mounts::names(ops, root, stage, needs.spec, needs.hostname),
    }
}

/// A tmpfs of ours: the writable layer in memory, files to be bound, an empty directory. Attached on top of the root, but
/// for a bare start, which needs it nowhere.
pub(super) fn stage(ops: &mut Ops, size: Option<ByteSize>, attached: bool) -> Slot {
    let mut list = options([c"mode", c"755"]);
    if let Some(size) = size {
        list.push(c"size");
        list.push(&CString::new(size.bytes().to_string()).expect("digits hold no NUL"));
    }
    let stage = ops.new_fs(c"tmpfs", &list, 0);
    empty_dir(ops, stage);
    if attached {
        ops.push(Op::AttachRoot {
            from: stage.number(),
        });
    }
    stage
}

/// A directory that hides others, and stands for an image without layers.
fn empty_dir(ops: &mut Ops, stage: Slot) {
    ops.make_dir(stage, c"empty", 0o755);
}
