// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lists the inputs of a plan.
#![forbid(unsafe_code)]

use crate::backend::{Backend, TreeRequest};
use crate::parts::caps::CapSet;
use crate::parts::cgroup::Cgroup;
use crate::parts::idmap::Ids;
use crate::parts::seccomp::Compiled;
use crate::spec::Spec;

/// The inputs of a start.
pub(crate) struct Inputs<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) ids: &'a Ids,
    pub(crate) hostname: &'a str,
    pub(crate) backend: &'a dyn Backend,
    pub(crate) tree: &'a TreeRequest<'a>,
    pub(crate) cgroup: &'a Cgroup,
    /// True if `/sys/fs/cgroup` can show a v2 hierarchy.
    pub(crate) cgroup2: bool,
    pub(crate) caps: CapSet,
    pub(crate) seccomp: Option<&'a Compiled>,
    /// True if the kernel is believed to mount all of a tree detached.
    pub(crate) empty_ns: bool,
}

/// The most mounts of the caller that are made detached: each takes a slot
/// until it is attached, and the init has [`SLOTS`](crate::wire::SLOTS).
const AHEAD: usize = 128;

impl Inputs<'_> {
    /// Returns whether the init makes its tree in the host's mount namespace
    /// and takes the tree into an empty one. Only root may: in a user namespace
    /// the kernel mounts a procfs only where a whole one is visible already,
    /// mount_too_revealing().
    pub(super) fn uses_empty_ns(&self, own_user_namespace: bool) -> bool {
        let ordinary = self.ids.ordinary() || own_user_namespace;
        self.empty_ns && !ordinary && self.backend.is_portable() && self.spec.mounts.len() <= AHEAD
    }
}
