// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a plan is made from.
#![forbid(unsafe_code)]

use crate::backend::{Backend, TreeRequest};
use crate::parts::caps::CapSet;
use crate::parts::cgroup::Cgroup;
use crate::parts::idmap::Ids;
use crate::parts::seccomp::Compiled;
use crate::spec::Spec;

/// What a start needs beside the spec.
pub(crate) struct Inputs<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) ids: &'a Ids,
    pub(crate) hostname: &'a str,
    pub(crate) backend: &'a dyn Backend,
    pub(crate) tree: &'a TreeRequest<'a>,
    pub(crate) cgroup: &'a Cgroup,
    /// Whether `/sys/fs/cgroup` can show a v2 hierarchy.
    pub(crate) cgroup2: bool,
    pub(crate) caps: CapSet,
    pub(crate) seccomp: Option<&'a Compiled>,
    /// Whether to do without a copy of the host's mount namespace, where that can be.
    pub(crate) empty_ns: bool,
}

/// More of the caller's mounts than this are made one by one, not ahead: there are only so many slots.
const AHEAD: usize = 128;

impl Inputs<'_> {
    /// Whether the init makes its tree in the host's mount namespace and takes it into an empty one: for root, who may
    /// do that. In a user namespace the kernel wants to see a whole procfs already, mount_too_revealing().
    pub(super) fn uses_empty_ns(&self, own_user_namespace: bool) -> bool {
        let ordinary = self.ids.ordinary() || own_user_namespace;
        self.empty_ns && !ordinary && self.backend.is_portable() && self.spec.mounts.len() <= AHEAD
    }
}
