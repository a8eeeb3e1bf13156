// SPDX-License-Identifier: MIT OR Apache-2.0
//! The options of a sandbox, defined once for every face.
#![forbid(unsafe_code)]

mod best_effort;
mod device;
mod flat;
mod json;
mod limits;
mod mount;
mod names;
mod objects;
#[cfg(feature = "schema")]
mod schema;
mod security;
mod text;
mod units;
mod words;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, Step};

pub use best_effort::LeftOut;
pub(crate) use best_effort::may_leave_out;
pub use device::{Device, DeviceRule};
pub use json::{from_json, nearest};
pub use limits::{Limits, Rlimit};
pub(crate) use limits::{RLIMITS, check_rlimits};
pub use mount::{Mount, MountAttrs, MountKind, Tmpfs};
pub use names::ExtraHost;
pub(crate) use names::sysctl_path;
pub use security::{Profile, Seccomp, Security};
pub use units::{ByteSize, parse_duration};

/// The options of a sandbox: image, writable layer, namespaces, limits,
/// restrictions.
///
/// Plain data. The same keys serve as Rust fields, as JSON and as flags. An
/// unknown key is refused with its nearest neighbour.
///
/// ```
/// let spec = tare::Spec::from_json(r#"{"image": "host", "limits": {"memory": "256m"}}"#)?;
/// assert_eq!(spec.limits.memory.unwrap().bytes(), 256 << 20);
/// let error = tare::Spec::from_json(r#"{"limits": {"memroy": "256m"}}"#).unwrap_err();
/// assert!(error.to_string().contains(r#"try: "memory""#));
/// # Ok::<(), tare::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Spec {
    /// Image reference: `host`, `dir:PATH`, `oci:PATH[:TAG]`, `archive:FILE` or
    /// `NAME[:TAG][@DIGEST]` in the store. Default: `host`, the machine with
    /// all that is mounted.
    #[cfg_attr(
        feature = "schema",
        schemars(length(min = 1), regex(pattern = r"^[^\u0000\n]+$"))
    )]
    pub image: String,
    /// Place of writes to the root. Default: `memory`.
    pub write: Write,
    /// Copy-on-write back end of the root. Default: `auto`.
    pub storage: Storage,
    /// More mounts, in order, each `SOURCE:TARGET[:options]` or a table.
    /// Default: empty.
    pub mounts: Vec<Mount>,
    /// Environment over the image's own. Default: empty.
    #[cfg_attr(feature = "schema", schemars(extend("propertyNames" = {"pattern": "^[^=\\u0000]+$"})))]
    pub env: BTreeMap<String, String>,
    /// Working directory; a missing one is made in an image, but not in `host`
    /// or below a mount. Default: the image's, else `/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(regex(pattern = r"^/[^\u0000]*$")))]
    pub workdir: Option<PathBuf>,
    /// `USER[:GROUP]`, by name or number. Default: the image's, else `0:0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Supplementary groups of every command, by name or number, besides those
    /// that `/etc/group` gives its user. Default: empty.
    #[cfg_attr(
        feature = "schema",
        schemars(inner(regex(pattern = r"^[^:,\n\u0000]+$")))
    )]
    pub groups: Vec<String>,
    /// Host name inside. Default: the first twelve digits of the sandbox's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "schema",
        schemars(length(max = 64), regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9.-]*$"))
    )]
    pub hostname: Option<String>,
    /// Lines of `/etc/hosts`, each `NAME:ADDRESS` or `NAME=ADDRESS`. Default:
    /// empty.
    pub extra_hosts: Vec<ExtraHost>,
    /// Kernel parameters of the sandbox's own namespaces, sysctl(8):
    /// `{"net.core.somaxconn": "1024"}`. Default: Docker's two, which let
    /// everyone ping and listen on any port.
    #[cfg_attr(feature = "schema", schemars(extend("propertyNames" = {"pattern": "^(net|kernel|fs)[./]"})))]
    pub sysctls: BTreeMap<String, String>,
    /// Visible network. Default: `none`, a loopback of its own.
    pub network: Network,
    /// Ceilings on what commands may use. Default: `output` alone.
    pub limits: Limits,
    /// Capabilities, seccomp, masks and devices. Default: Docker's, plus
    /// `no_new_privs`.
    pub security: Security,
    /// Namespaces of the sandbox's own. Default: all; `user` for ordinary users
    /// only.
    pub namespaces: Namespaces,
    /// Process 1. Default: `tare`, the resident init.
    pub init: Init,
    /// Keys that may be left out where this machine cannot enforce them.
    /// `effective` lists each that was left out. Default: empty, so such a
    /// key is an error.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<schema::BestEffortKey>"))]
    pub best_effort: Vec<String>,
    /// Free text of the caller, shown in `effective`. Default: empty.
    pub labels: BTreeMap<String, String>,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            image: "host".into(),
            write: Write::default(),
            storage: Storage::default(),
            mounts: Vec::new(),
            env: BTreeMap::new(),
            workdir: None,
            user: None,
            groups: Vec::new(),
            hostname: None,
            extra_hosts: Vec::new(),
            sysctls: BTreeMap::new(),
            network: Network::default(),
            limits: Limits::default(),
            security: Security::default(),
            namespaces: Namespaces::default(),
            init: Init::default(),
            best_effort: Vec::new(),
            labels: BTreeMap::new(),
        }
    }
}

/// Place of writes to the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Write {
    /// A tmpfs, gone at close; `limits.disk` bounds it.
    #[default]
    Memory,
    /// A directory in the store, removed at close.
    Disk,
    /// Nowhere: the root is read-only.
    None,
}

/// Copy-on-write back end of the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// The fastest that works here.
    #[default]
    Auto,
    /// An overlay mount; ordinary users need kernel 5.11.
    Overlay,
    /// A full copy; works everywhere.
    Copy,
}

/// Visible network.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// A namespace of its own in which only the loopback is up.
    #[default]
    None,
    /// The caller's own namespace: no isolation of the network.
    Host,
    /// An existing namespace, by path, for example `/run/netns/blue`.
    Join(PathBuf),
}

/// Namespaces of the sandbox's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Namespaces {
    /// Default: `auto`.
    pub user: UserNamespace,
    /// System V IPC and POSIX message queues of its own. Default: true.
    pub ipc: bool,
    /// Host name of its own. Default: true.
    pub uts: bool,
    /// A view of cgroups that begins at the sandbox's own. Default: true.
    pub cgroup: bool,
}

impl Default for Namespaces {
    fn default() -> Self {
        Self {
            user: UserNamespace::Auto,
            ipc: true,
            uts: true,
            cgroup: true,
        }
    }
}

/// The user namespace. The mount and pid namespaces are always made.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum UserNamespace {
    /// Made for ordinary users, not for root.
    #[default]
    Auto,
    /// The caller's own; an ordinary user cannot ask for it.
    Host,
    /// Made, with these maps.
    Maps {
        /// User ids.
        uids: Vec<IdMap>,
        /// Group ids.
        gids: Vec<IdMap>,
    },
}

/// One line of a `uid_map` or `gid_map`, user_namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct IdMap {
    /// First id inside.
    pub inside: u32,
    /// First id outside.
    pub outside: u32,
    /// Number of ids.
    pub count: u32,
}

/// Process 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// The resident init: any number of commands, zombies reaped.
    #[default]
    Tare,
}

impl Spec {
    /// Reads a spec from JSON text and checks it.
    ///
    /// # Errors
    /// [`crate::Kind::Invalid`] names the key's path; for an unknown key the
    /// cure is the nearest.
    pub fn from_json(text: &str) -> Result<Self> {
        let spec: Self = from_json(Step::ParseSpec, text)?;
        spec.validate()?;
        Ok(spec)
    }

    /// Writes the spec as a line of JSON. [`Spec::from_json`] reads an equal
    /// spec back, except for paths that are not UTF-8: other bytes become
    /// U+FFFD.
    pub fn to_json(&self) -> String {
        let mut spec = self.clone();
        let lists = [
            &mut spec.security.masked_paths,
            &mut spec.security.readonly_paths,
        ];
        let listed = lists.into_iter().flatten().flatten();
        let joined = match &mut spec.network {
            Network::Join(path) => Some(path),
            _ => None,
        };
        for path in listed.chain(&mut spec.workdir).chain(joined) {
            *path = path.to_string_lossy().into_owned().into();
        }
        serde_json::to_string(&spec).expect("a spec holds only text, numbers, lists and maps")
    }

    /// Checks what types cannot say: names, numbers and combinations.
    ///
    /// # Errors
    /// [`crate::Kind::Invalid`], naming the key.
    pub fn validate(&self) -> Result<()> {
        let wrong = |key: &str, why: String| Err(Error::invalid(Step::CheckSpec.key(key), why));
        if self.image.is_empty() || self.image.contains(['\0', '\n']) {
            return wrong("image", format!("{:?} is not a reference", self.image));
        }
        for (name, value) in &self.env {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                // What is behind a "=" may be a secret.
                let name = name.split('=').next().unwrap_or_default();
                return wrong("env", format!("{name:?} cannot be an environment variable"));
            }
        }
        if let Some(dir) = &self.workdir
            && (!dir.is_absolute() || dir.as_os_str().as_encoded_bytes().contains(&0))
        {
            return wrong("workdir", format!("{dir:?} is not an absolute path"));
        }
        if let Some(name) = &self.hostname
            && !is_hostname(name)
        {
            return wrong(
                "hostname",
                format!(
                    "{name:?} is not a host name of at most 64 letters, digits, dots and hyphens"
                ),
            );
        }
        for mount in &self.mounts {
            mount.validate()?;
        }
        names::check_groups(&self.groups)?;
        names::check_sysctls(self)?;
        self.limits.validate()?;
        best_effort::check(&self.best_effort)?;
        self.security.validate()
    }
}

/// Returns whether a name is one of hostname(7): letters, digits, hyphens and
/// dots; at most 64 bytes, sethostname(2).
fn is_hostname(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && !name.starts_with(['-', '.'])
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
}

#[cfg(any(test, feature = "bench"))]
pub(crate) mod fuzz;
#[cfg(test)]
mod tests;
