// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lists the inputs of a plan.
#![forbid(unsafe_code)]

use crate::backend::{Backend, TreeRequest};
use crate::parts::caps::CapSet;
use crate::parts::cgroup::Cgroup;
use crate::parts::idmap::Ids;
use crate::parts::seccomp::Compiled;
use crate::spec::{Spec, UserNamespace};

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
    /// True if the detached path is to be taken where [`suits_empty_ns`]. The
    /// list of attempts has checked that already; benches have not.
    pub(crate) may_use_empty_ns: bool,
}

/// The most mounts of the caller that are made detached: each takes a slot
/// until it is attached, and the init has [`SLOTS`](crate::wire::SLOTS).
const MOST_MOUNTS: usize = 128;

impl Inputs<'_> {
    /// Returns whether the detached path is taken: the init makes its tree in
    /// the host's mount namespace, then enters a copy of the spawner's empty
    /// namespace.
    pub(super) fn uses_empty_ns(&self) -> bool {
        self.may_use_empty_ns && suits_empty_ns(self.spec, self.ids, self.backend)
    }
}

/// Returns whether the detached path is possible for a sandbox of `spec`. Only
/// root may: in a user namespace the kernel mounts a procfs only where a whole
/// one is visible already, mount_too_revealing().
pub(crate) fn suits_empty_ns(spec: &Spec, ids: &Ids, backend: &dyn Backend) -> bool {
    let own_users = matches!(spec.namespaces.user, UserNamespace::Maps { .. });
    let ordinary = ids.ordinary() || own_users;
    !ordinary && backend.is_portable() && spec.mounts.len() <= MOST_MOUNTS
}
