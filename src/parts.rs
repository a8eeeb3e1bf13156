// SPDX-License-Identifier: MIT OR Apache-2.0
//! Restrictions of a sandbox: a file for each kind.

pub(crate) mod authority;
pub(crate) mod caps;
pub(crate) mod cgroup;
pub(crate) mod devices;
pub(crate) mod home;
pub(crate) mod idmap;
pub(crate) mod mounts;
pub(crate) mod rlimit;
pub(crate) mod seccomp;
pub(crate) mod shown;
pub(crate) mod sysctl;
