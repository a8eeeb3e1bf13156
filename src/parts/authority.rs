// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rights of a thread, to be compared with its earlier rights: a helper
//! that was started with more must not work for a thread that has given
//! something up. See `docs/design.md`.
#![forbid(unsafe_code)]

use nix::errno::Errno;
use nix::unistd::{ResGid, ResUid, getresgid, getresuid};

use crate::error::{Error, Result, Step};
use crate::spec::{Network, Spec};
use crate::sys::caller::{self, Capabilities, Namespace, Place};

/// Ids, groups, capabilities, root directory and namespaces of a thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Authority {
    users: ResUid,
    groups: ResGid,
    supplementary: Vec<u32>,
    capabilities: Capabilities,
    user_namespace: Namespace,
    /// Those that a sandbox may share, in the order of [`SHARED`].
    shared: [Namespace; 4],
    root: Place,
}

/// Namespaces that a sandbox may share with the helper, by their names in
/// `/proc`.
const SHARED: [&str; 4] = ["net", "uts", "ipc", "cgroup"];

/// NGROUPS_MAX, the most groups that a process has, setgroups(2).
const MOST_GROUPS: usize = 65536;

impl Authority {
    /// Reads what the calling thread has.
    ///
    /// # Errors
    /// Those of reading `/proc`.
    pub(crate) fn of_caller() -> Result<Self> {
        let wrong = |what| move |errno| Error::os(Step::ReadCredentials, what, errno);
        let proc = |kind: &'static str| {
            caller::namespace(kind).map_err(|errno| {
                Error::os(
                    Step::ReadCredentials,
                    format_args!("/proc/thread-self/ns/{kind}"),
                    errno,
                )
                .with_cure("mount -t proc proc /proc")
            })
        };
        Ok(Self {
            users: getresuid().map_err(wrong("getresuid"))?,
            groups: getresgid().map_err(wrong("getresgid"))?,
            supplementary: caller::groups(MOST_GROUPS)
                .map_err(wrong("getgroups"))?
                .unwrap_or_default(),
            capabilities: Capabilities::read().map_err(wrong("capget"))?,
            user_namespace: proc("user")?,
            shared: [
                proc(SHARED[0])?,
                proc(SHARED[1])?,
                proc(SHARED[2])?,
                proc(SHARED[3])?,
            ],
            root: caller::root().map_err(wrong("/"))?,
        })
    }

    /// Returns whether the calling thread has this authority, no less and no
    /// more. Leaves `shared` to [`Authority::shares`]. An unreadable part has
    /// changed.
    ///
    /// Asks for no more than can have changed. A thread without capabilities
    /// gets some in another user namespace only, and cannot change its groups,
    /// root directory and other namespaces without.
    pub(crate) fn is_callers(&self) -> bool {
        self.has_ids() == Ok(true) && (self.capabilities.are_none() || self.has_rest() == Ok(true))
    }

    fn has_ids(&self) -> Result<bool, Errno> {
        Ok(caller::namespace("user")? == self.user_namespace
            && getresuid()? == self.users
            && getresgid()? == self.groups)
    }

    fn has_rest(&self) -> Result<bool, Errno> {
        Ok(Capabilities::read()? == self.capabilities
            && caller::root()? == self.root
            && caller::groups(self.supplementary.len())?.as_ref() == Some(&self.supplementary))
    }

    /// Returns whether the calling thread is in the same namespaces, of those
    /// that a sandbox for this spec shares.
    pub(crate) fn shares(&self, spec: &Spec) -> bool {
        let shared = [
            spec.network == Network::Host,
            !spec.namespaces.uts,
            !spec.namespaces.ipc,
            !spec.namespaces.cgroup,
        ];
        let mut all = SHARED.iter().zip(&self.shared).zip(shared);
        self.capabilities.are_none()
            || all.all(|((kind, own), shared)| !shared || caller::namespace(kind) == Ok(*own))
    }

    /// Effective capabilities, as a set of bits.
    pub(crate) fn effective(&self) -> u64 {
        self.capabilities.effective
    }
}
