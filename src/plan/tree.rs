// SPDX-License-Identifier: MIT OR Apache-2.0
//! Plans the tree of a sandbox: root, kernel file systems, the caller's mounts,
//! hidden paths.
#![forbid(unsafe_code)]

use super::callers::Callers;
use super::inputs::Inputs;
use crate::backend::{Filled, Lower, Mounted, Survey, aliases};
use crate::error::Result;
use crate::ops::{Ops, Slot};
use crate::parts::idmap::Ids;
use crate::parts::mounts::{Kernel, names, options, push_size};
use crate::parts::{devices, sysctl};
use crate::spec::ByteSize;
use crate::wire::Op;

/// The mounts of a sandbox, as slots.
pub(super) struct Tree {
    pub(super) root: Slot,
    /// Mounts of the host on the root, and how they are shown.
    pub(super) filled: Filled,
    pub(super) kernel: Kernel,
    pub(super) pts: Slot,
}

impl Tree {
    /// Mounts the files of names, then the caller's mounts by `callers`, then
    /// hides paths. In this order, because a later mount covers an earlier one.
    fn finish(
        self,
        ops: &mut Ops,
        stage: Slot,
        inputs: &Inputs<'_>,
        callers: impl FnOnce(&mut Ops) -> Result<()>,
    ) -> Result<Self> {
        let is_host = *inputs.tree.lower == Lower::Host;
        match is_host {
            true => names::own(ops, self.root, stage, inputs.spec, inputs.hostname),
            false => names::files(ops, self.root, stage, inputs.spec, inputs.hostname),
        }
        callers(ops)?;
        let mut hidden = inputs.spec.security.masked_paths.clone();
        if let Some(paths) = &mut hidden
            && is_host
        {
            // The host may show the same directory by other names, such as a
            // bind.
            let survey = Survey::new(inputs.tree, inputs.tree.ordinary)?;
            paths.extend(aliases(&survey, paths));
        }
        self.kernel
            .restrict_rest(ops, self.root, stage, inputs.spec, hidden.as_deref())?;
        Ok(self)
    }
}

/// Makes everything detached in the host's mount namespace, then changes to an
/// empty namespace with the tree as its root.
pub(super) fn detached(ops: &mut Ops, stage: Slot, inputs: &Inputs<'_>) -> Result<Tree> {
    // First and complete, so that a prestarted init can have run all of it.
    let (kernel, pts) = kernel(ops, None, stage, inputs, false)?;
    let root = inputs.backend.make_tree(ops, stage, inputs.tree)?;
    let mut filled = inputs.backend.fill(ops, stage, root, inputs.tree)?;
    let mut callers = Callers::new(inputs, stage, false);
    let placed = callers.ahead(ops)?;
    callers.tell(&mut filled);
    // From here on no path leads to a file of the host.
    ops.push(Op::EnterEmptyNs {});
    ops.push(Op::AttachRoot {
        from: root.number(),
    });
    kernel.attach(ops, root);
    let tree = Tree {
        root,
        filled,
        kernel,
        pts,
    };
    tree.finish(ops, stage, inputs, |ops| {
        for one in placed {
            one.attach_whole(ops, root);
        }
        Ok(())
    })
}

/// Makes each mount where it is attached, in a copy of the host's mount
/// namespace.
pub(super) fn attached(
    ops: &mut Ops,
    stage: Slot,
    inputs: &Inputs<'_>,
    ordinary: bool,
) -> Result<Tree> {
    let Mounted { root, filled } = inputs.backend.mount(ops, stage, inputs.tree)?;
    let (kernel, pts) = kernel(ops, Some(root), stage, inputs, ordinary)?;
    let mut callers = Callers::new(inputs, stage, ordinary);
    let tree = Tree {
        root,
        filled,
        kernel,
        pts,
    };
    let mut tree = tree.finish(ops, stage, inputs, |ops| callers.attached(ops, root))?;
    callers.tell(&mut tree.filled);
    Ok(tree)
}

/// Makes `/proc`, `/sys` and `/dev` with all that is in them, attached to
/// `root` if it is given. Returns the devpts, too, because the init opens
/// terminals in it.
///
/// KERNEL(6.15): before, move_mount(2) refuses a detached target.
fn kernel(
    ops: &mut Ops,
    root: Option<Slot>,
    stage: Slot,
    inputs: &Inputs<'_>,
    ordinary: bool,
) -> Result<(Kernel, Slot)> {
    let spec = inputs.spec;
    let kernel = Kernel::new(ops, spec, ordinary);
    sysctl::network(ops, kernel.proc, spec, inputs.ids);
    sysctl::of_spec(ops, kernel.proc, spec);
    // Before `/dev` is attached, because a prestarted init has no root to
    // attach to.
    devices::standard(ops, kernel.dev, spec, ordinary);
    if let Some(root) = root {
        kernel.attach(ops, root);
    }
    // A map of one id has no group tty.
    let tty_group = *inputs.ids != Ids::Single;
    let pts = kernel.fill(ops, spec, inputs.cgroup2, tty_group);
    devices::of_spec(ops, kernel.dev, spec, ordinary)?;
    kernel.restrict(ops, stage, spec)?;
    Ok((kernel, pts))
}

/// Makes the stage: a tmpfs for the writable layer in memory, files to be
/// bound, and an empty directory. `attached` puts it on top of the root.
/// KERNEL(6.15): before, overlayfs takes no directory of a detached mount.
pub(super) fn stage(ops: &mut Ops, size: Option<ByteSize>, attached: bool) -> Slot {
    let mut list = options([c"mode", c"755"]);
    if let Some(size) = size {
        push_size(&mut list, size);
    }
    let stage = ops.new_fs(c"tmpfs", &list, 0);
    // Covers directories to be hidden, and stands for an image without layers.
    ops.make_dir(stage, c"empty", 0o755);
    if attached {
        ops.push(Op::AttachRoot {
            from: stage.number(),
        });
    }
    stage
}
