// SPDX-License-Identifier: MIT OR Apache-2.0
//! The options of a sandbox, defined once for every face.
#![forbid(unsafe_code)]

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
mod units;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};

pub use device::{Device, DeviceRule};
pub use json::{from_json, nearest};
pub use limits::{Limits, Rlimit};
pub(crate) use limits::{RLIMITS, check_rlimits};
pub use mount::{Mount, MountKind};
pub use names::ExtraHost;
pub(crate) use names::sysctl_path;
pub use security::{Profile, Seccomp, Security};
pub use units::{ByteSize, parse_duration};

/// What to make: an image, a writable layer, namespaces, limits, restrictions.
///
/// Plain data. The same keys serve as Rust fields, as JSON and as the command
/// line's flags; a key that does not exist is refused with its nearest neighbour.
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
    /// Where writes to the root go. Default: `memory`.
    pub write: Write,
    /// Which copy-on-write back end makes the root. Default: `auto`.
    pub storage: Storage,
    /// More mounts, in order, each `SOURCE:TARGET[:options]` or a table. Default: none.
    pub mounts: Vec<Mount>,
    /// Environment over the image's own. Default: none.
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
    /// that `/etc/group` gives its user. Default: none.
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
    /// none.
    pub extra_hosts: Vec<ExtraHost>,
    /// Kernel parameters of the sandbox's own namespaces, sysctl(8):
    /// `{"net.core.somaxconn": "1024"}`. Default: Docker's two, which let
    /// everyone ping and listen on any port.
    #[cfg_attr(feature = "schema", schemars(extend("propertyNames" = {"pattern": "^(net|kernel|fs)[./]"})))]
    pub sysctls: BTreeMap<String, String>,
    /// What of the network is visible. Default: `none`, a loopback of its own.
    pub network: Network,
    /// Ceilings on what commands may use. Default: none but `output`.
    pub limits: Limits,
    /// Capabilities, seccomp, masks and devices. Default: Docker's, plus `no_new_privs`.
    pub security: Security,
    /// Which namespaces are made. Default: all; `user` for ordinary users only.
    pub namespaces: Namespaces,
    /// Who is process 1. Default: `tare`, the resident init.
    pub init: Init,
    /// Which keys must be enforced. Default: all of them.
    pub require: Require,
    /// Free text for the caller's own use; seen in `effective`. Default: none.
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
            require: Require::default(),
            labels: BTreeMap::new(),
        }
    }
}

/// Where writes to the root go.
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

/// Which copy-on-write back end makes the root.
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

/// What of the network is visible inside.
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

/// Which namespaces are made.
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
    /// How many.
    pub count: u32,
}

/// Who is process 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// The resident init: any number of commands, zombies reaped.
    #[default]
    Tare,
}

/// Which keys must be enforced. What is named here may be left out where the
/// machine cannot do it; everything else is an error then.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "\"all\", or a list of keys such as \"limits.io\""
)]
pub enum Require {
    /// Every key (`"all"`).
    #[default]
    #[serde(with = "all")]
    All,
    /// Every key but these (a list, for example `["limits.memory", "limits.io"]`).
    AllBut(Vec<String>),
}

/// What [`Require`] can name, or the beginning of.
const MAY_DEGRADE: [&str; 9] = [
    "limits.memory",
    "limits.swap",
    "limits.cpus",
    "limits.cpu_weight",
    "limits.cpuset",
    "limits.pids",
    "limits.io",
    "limits.disk",
    "security.devices",
];

/// Whether a dotted key is `whole` or in it: `limits.io` is in `limits`.
fn is_part(key: &str, whole: &str) -> bool {
    let rest = key.strip_prefix(whole);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

impl Require {
    fn validate(&self) -> Result<()> {
        let Self::AllBut(keys) = self else {
            return Ok(());
        };
        let is_one = |key: &String| MAY_DEGRADE.iter().any(|one| is_part(one, key));
        match keys.iter().find(|key| !is_one(key)) {
            None => Ok(()),
            Some(key) => {
                let why = format!("{key:?} is nothing that can be left out");
                let error = Error::new(Kind::Invalid, "check spec: require", why);
                Err(error.with_cure(MAY_DEGRADE.join(", ")))
            }
        }
    }

    /// Whether `key` (dotted, `limits.memory`) may be left out on this machine.
    pub fn may_degrade(&self, key: &str) -> bool {
        match self {
            Self::All => false,
            Self::AllBut(keys) => keys.iter().any(|whole| is_part(key, whole)),
        }
    }
}

mod all {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str("all")
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<(), D::Error> {
        // Owned, since a word with an escape cannot be borrowed.
        match String::deserialize(d)?.as_str() {
            "all" => Ok(()),
            other => Err(D::Error::custom(format_args!("{other:?} is not \"all\""))),
        }
    }
}

impl Spec {
    /// Reads a spec from JSON text and checks it.
    ///
    /// # Errors
    /// [`Kind::Invalid`] names the key's path, and for an unknown key its nearest neighbour.
    pub fn from_json(text: &str) -> Result<Self> {
        let spec: Self = from_json("parse spec", text)?;
        spec.validate()?;
        Ok(spec)
    }

    /// The spec as one line of JSON; [`Spec::from_json`] reads it back equal, but
    /// for paths that are not UTF-8: their other bytes become U+FFFD.
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
    /// [`Kind::Invalid`], naming the key.
    pub fn validate(&self) -> Result<()> {
        let wrong = |key: &str, why: String| {
            Err(Error::new(Kind::Invalid, format!("check spec: {key}"), why))
        };
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
        self.require.validate()?;
        self.security.validate()
    }
}

/// hostname(7): letters, digits, hyphens and dots; sethostname(2): at most 64 bytes.
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
