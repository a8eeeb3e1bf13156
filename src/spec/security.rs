// SPDX-License-Identifier: MIT OR Apache-2.0
//! The `security` key: capabilities, seccomp, masks and devices.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::device::{Device, DeviceRule};
use crate::error::{Error, Result, Step};

/// Rights of commands.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Security {
    /// Start of the lists below. Default: `default`, Docker's.
    pub profile: Profile,
    /// Capabilities added to the profile's, as `NET_ADMIN`, `CAP_NET_ADMIN` or
    /// `ALL`. Default: empty.
    pub cap_add: Vec<String>,
    /// Capabilities taken from the profile's, before adding. Default: empty.
    pub cap_drop: Vec<String>,
    /// The system call filter. Default: the profile's.
    pub seccomp: Seccomp,
    /// No rights gained from setuid programs. Default: true; false with
    /// `privileged`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_new_privs: Option<bool>,
    /// Hidden paths. Default: Docker's list.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(inner(regex(pattern = "^/"))))]
    pub masked_paths: Option<Vec<PathBuf>>,
    /// Read-only paths. Default: Docker's list.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(inner(regex(pattern = "^/"))))]
    pub readonly_paths: Option<Vec<PathBuf>>,
    /// Visible devices of the host besides Docker's six, `/dev/fuse` or
    /// `/dev/sda:/dev/xvda:rwm`. Default: empty.
    pub devices: Vec<Device>,
    /// Devices that commands may use through any node, cgroups(7): `c 10:200
    /// rwm`, `b 8:* r`, `a`. Default: Docker's.
    pub device_rules: Vec<DeviceRule>,
}

/// Start of the lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Docker's default.
    #[default]
    Default,
    /// Docker's default without any capability.
    Strict,
    /// Namespaces alone: every capability and device, no filter, no mask.
    Privileged,
}

/// The system call filter.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Seccomp {
    /// Docker's default profile (`"default"`).
    #[default]
    Default,
    /// None (`"off"`).
    Off,
    /// A profile in Docker's JSON form, as a table.
    Custom(serde_json::Value),
}

impl Serialize for Seccomp {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Default => s.serialize_str("default"),
            Self::Off => s.serialize_str("off"),
            Self::Custom(table) => table.serialize(s),
        }
    }
}

impl<'de> Deserialize<'de> for Seccomp {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        match serde_json::Value::deserialize(d)? {
            serde_json::Value::String(text) if text == "default" => Ok(Self::Default),
            serde_json::Value::String(text) if text == "off" => Ok(Self::Off),
            table @ serde_json::Value::Object(_) => Ok(Self::Custom(table)),
            other => Err(D::Error::custom(format_args!(
                "{other} is not \"default\", \"off\" or a profile"
            ))),
        }
    }
}

impl Security {
    /// Returns whether setuid programs gain no rights. Default: unless the
    /// profile is `privileged`.
    pub fn no_new_privs(&self) -> bool {
        self.no_new_privs
            .unwrap_or(self.profile != Profile::Privileged)
    }

    /// Returns the keys that a device cgroup is made from.
    pub(crate) fn device_keys(&self) -> (Profile, &[Device], &[DeviceRule]) {
        (self.profile, &self.devices, &self.device_rules)
    }

    pub(super) fn validate(&self) -> Result<()> {
        for paths in [&self.masked_paths, &self.readonly_paths]
            .into_iter()
            .flatten()
        {
            if let Some(path) = paths.iter().find(|p| !p.is_absolute()) {
                let why = format!("{path:?} is not an absolute path");
                return Err(Error::invalid(Step::CheckSpec.key("security"), why));
            }
            // The root has no name to resolve and would count as missing.
            if let Some(path) = paths.iter().find(|p| p.components().count() == 1) {
                let why = format!("{path:?} is the whole root");
                return Err(Error::invalid(Step::CheckSpec.key("security"), why)
                    .with_cure("write \"none\" for one that is read-only"));
            }
        }
        Ok(())
    }
}
