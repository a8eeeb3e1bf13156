// SPDX-License-Identifier: MIT OR Apache-2.0
//! The keys `extra_hosts`, `groups` and `sysctls`.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::text::text;
use super::{Network, Spec};
use crate::error::{Error, Result, Step};

/// A line of hosts(5), `NAME:ADDRESS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraHost {
    /// Host name.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
}

impl FromStr for ExtraHost {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts = text.split_once('=').or_else(|| text.split_once(':'));
        let parts = parts.and_then(|(name, address)| {
            let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']'));
            Some((name, bare.unwrap_or(address).parse().ok()?))
        });
        // A line of the file is words between blanks, up to a remark.
        let is_word = |name: &str| name.chars().all(|c| c.is_ascii_graphic() && c != '#');
        match parts {
            Some((name, address)) if !name.is_empty() && is_word(name) => {
                let name = name.to_owned();
                Ok(Self { name, address })
            }
            _ => {
                let why = format_args!("{text:?} is not a host and its address");
                let error = Error::invalid(Step::ParseExtraHost, why);
                Err(error.with_cure("NAME:ADDRESS, such as db:10.0.0.1"))
            }
        }
    }
}

impl fmt::Display for ExtraHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.address)
    }
}

text!(ExtraHost);

/// Checks that groups are words of group(5).
pub(super) fn check_groups(groups: &[String]) -> Result<()> {
    let is_group = |group: &&String| !group.is_empty() && !group.contains([':', ',', '\n', '\0']);
    match groups.iter().find(|group| !is_group(group)) {
        None => Ok(()),
        Some(group) => {
            let why = format!("{group:?} is neither a group's name nor its number");
            Err(Error::invalid(Step::CheckSpec.key("groups"), why))
        }
    }
}

/// Parameters of an IPC namespace, ipc_namespaces(7), as Docker takes them.
const OF_IPC: [&str; 8] = [
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
    "kernel/shm_rmid_forced",
];

/// Returns the path of a kernel parameter below `/proc/sys`, sysctl(8): a name
/// whose first separator is a slash is one already.
pub(crate) fn sysctl_path(name: &str) -> String {
    let dots = name
        .find(['.', '/'])
        .is_some_and(|at| name.as_bytes()[at] == b'.');
    let swap = |c| match c {
        '.' => '/',
        '/' => '.',
        c => c,
    };
    match dots {
        true => name.chars().map(swap).collect(),
        false => name.to_owned(),
    }
}

/// Checks that each parameter belongs to the sandbox's own namespaces.
pub(super) fn check_sysctls(spec: &Spec) -> Result<()> {
    let all: &BTreeMap<String, String> = &spec.sysctls;
    for (name, value) in all {
        let wrong = |why: &str| {
            let why = format!("{name:?} {why}");
            Err(Error::invalid(Step::CheckSpec.key("sysctls"), why))
        };
        let path = sysctl_path(name);
        let is_part = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
        if !path.split('/').all(is_part) || value.is_empty() || value.contains(['\0', '\n']) {
            return wrong("is not a kernel parameter with a value");
        }
        let is_net = path.starts_with("net/");
        let is_ipc = OF_IPC.contains(&path.as_str()) || path.starts_with("fs/mqueue/");
        if is_net && spec.network != Network::None {
            return wrong("belongs to a network that others use");
        }
        if is_ipc && !spec.namespaces.ipc {
            return wrong("belongs to the IPC namespace of others");
        }
        if !is_net && !is_ipc {
            return wrong("belongs to no namespace of a sandbox: set it on the machine");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sysctl_names_are_those_of_sysctl() {
        for (name, path) in [
            ("net.core.somaxconn", "net/core/somaxconn"),
            ("net/core/somaxconn", "net/core/somaxconn"),
            ("net.ipv4.conf.eth0/5.mtu", "net/ipv4/conf/eth0.5/mtu"),
            ("net/ipv4/conf/eth0.5/mtu", "net/ipv4/conf/eth0.5/mtu"),
        ] {
            assert_eq!(sysctl_path(name), path);
        }
    }
}
