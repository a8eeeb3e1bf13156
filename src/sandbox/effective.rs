// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is really in force in a sandbox.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::live::Live;
use crate::parts::cgroup::Degraded;
use crate::parts::idmap::Ids;
use crate::parts::mounts;
use crate::parts::shown::ShownMount;
use crate::spec::{Network, Spec, UserNamespace};
use crate::store::Base;

/// What is really in force, as [`crate::Sandbox::effective`] gives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Effective {
    /// The sandbox's name: process id of the host, its start time, a number.
    pub name: String,
    /// Host name inside.
    pub hostname: String,
    /// The back end of the root: `overlay`, `copy`, `plain`.
    pub storage: String,
    /// The namespaces that are the sandbox's own.
    pub namespaces: Vec<String>,
    /// `host` (root of the machine), `single` (only the caller's id) or `subordinate` (more than
    /// that: its subordinate ids, or all of the user namespace that it is root of).
    pub ids: String,
    /// Capabilities of container root.
    pub capabilities: Vec<String>,
    /// Whether a system call filter is attached.
    pub seccomp: bool,
    /// Whether setuid programs gain nothing.
    pub no_new_privs: bool,
    /// Mounts of the machine in its view `host` and in `cow` mounts, and how each is shown.
    pub mounts: Vec<ShownMount>,
    /// Paths that are hidden where they exist.
    pub masked_paths: Vec<String>,
    /// Paths that are read-only where they exist.
    pub readonly_paths: Vec<String>,
    /// Version, directories and limits of the cgroup, read back from the kernel.
    pub cgroup: serde_json::Value,
    /// The caller's own text.
    pub labels: BTreeMap<String, String>,
}

impl Effective {
    pub(super) fn of(live: &Live, spec: &Spec, _base: &Base) -> Result<Self> {
        let ids = live.spawner.ids();
        let own_users =
            ids.ordinary() || matches!(spec.namespaces.user, UserNamespace::Maps { .. });
        let namespaces = [
            (true, "mnt"),
            (true, "pid"),
            (own_users, "user"),
            (spec.namespaces.uts, "uts"),
            (spec.namespaces.ipc, "ipc"),
            (spec.network != Network::Host, "net"),
            (spec.namespaces.cgroup, "cgroup"),
        ];
        let text = |paths: Vec<std::path::PathBuf>| {
            paths.iter().map(|p| p.display().to_string()).collect()
        };
        let mut cgroup = live.cgroup.effective()?;
        cgroup
            .degraded
            .extend(live.unbounded.iter().map(|error| Degraded {
                key: "limits.disk",
                why: error.to_string(),
            }));
        let cgroup = serde_json::to_value(cgroup)
            .map_err(|e| Error::new(crate::Kind::Broken, "describe cgroup", e))?;
        Ok(Self {
            name: live.name.clone(),
            hostname: live.hostname.clone(),
            storage: live.backend.into(),
            namespaces: namespaces
                .iter()
                .filter(|(on, _)| *on)
                .map(|(_, name)| (*name).into())
                .collect(),
            ids: match ids {
                Ids::Host => "host",
                Ids::Single => "single",
                Ids::Many { .. } => "subordinate",
            }
            .into(),
            capabilities: live.caps.names(),
            seccomp: live.seccomp,
            no_new_privs: spec.security.no_new_privs(),
            mounts: live.shown.iter().map(ShownMount::new).collect(),
            masked_paths: text(mounts::masked(spec)),
            readonly_paths: text(mounts::read_only(spec)),
            cgroup,
            labels: spec.labels.clone(),
        })
    }
}
