// SPDX-License-Identifier: MIT OR Apache-2.0
//! A profile in Docker's JSON form, read and checked but not yet compiled.
//!
//! Names of calls that x86-64 does not have are ignored, as Docker ignores
//! them: one file serves every architecture. That includes misspelt names.
#![forbid(unsafe_code)]

use std::str::FromStr as _;

use caps::Capability;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::action::Action;
use crate::error::{Error, Result, Step};
use crate::parts::caps::CapSet;

/// The answers to calls.
#[derive(Debug, Deserialize)]
#[serde(try_from = "RawProfile")]
pub(super) struct Profile {
    /// The answer to a call that no rule matches.
    pub(super) default: Action,
    /// In the order of the file.
    pub(super) rules: Vec<Rule>,
}

/// One answer to some calls.
#[derive(Debug, Deserialize)]
#[serde(try_from = "RawRule")]
pub(super) struct Rule {
    /// The calls.
    pub(super) names: Vec<String>,
    /// The answer.
    pub(super) action: Action,
    /// Conditions on the arguments. Conditions on different arguments must all
    /// hold; if an argument occurs twice, any one of the conditions is enough.
    pub(super) args: Vec<Condition>,
    /// Conditions that must all hold for the rule to apply.
    pub(super) includes: Gate,
    /// Conditions of which any turns the rule off.
    pub(super) excludes: Gate,
}

/// The conditions of a rule besides the call.
#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "RawGate")]
pub(super) struct Gate {
    pub(super) caps: CapSet,
    /// Go's names; this library's only one is `amd64`.
    pub(super) arches: Vec<String>,
    /// Major and minor version.
    pub(super) min_kernel: Option<(u32, u32)>,
}

/// A comparison of one argument, as 64-bit unsigned numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawCondition")]
pub(super) struct Condition {
    /// Number of the argument, 0 to 5.
    pub(super) index: u8,
    pub(super) operator: Operator,
    pub(super) value: u64,
}

/// The comparison of an argument, seccomp_rule_add(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Ne,
    Lt,
    Le,
    Eq,
    Ge,
    Gt,
    /// Equal in the bits of the mask.
    MaskedEq(u64),
}

impl Condition {
    /// Returns whether these arguments meet it.
    pub(super) fn holds(&self, args: &[u64; 6]) -> bool {
        let (arg, value) = (args[usize::from(self.index)], self.value);
        match self.operator {
            Operator::Ne => arg != value,
            Operator::Lt => arg < value,
            Operator::Le => arg <= value,
            Operator::Eq => arg == value,
            Operator::Ge => arg >= value,
            Operator::Gt => arg > value,
            Operator::MaskedEq(mask) => arg & mask == value & mask,
        }
    }
}

impl Profile {
    /// Reads a profile from the value of `security.seccomp`.
    ///
    /// # Errors
    /// [`crate::Kind::Invalid`] names the place and what is wrong with it.
    pub(super) fn read(json: &serde_json::Value) -> Result<Self> {
        serde_path_to_error::deserialize(json).map_err(|error| {
            let subject = match error.path().iter().next() {
                Some(_) => format!("{}: {}", error.path(), error.inner()),
                None => error.inner().to_string(),
            };
            Error::invalid(Step::CheckSpec.key("security.seccomp"), subject)
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawProfile {
    default_action: RawAction,
    default_errno_ret: Option<u32>,
    // Only x86-64 is compiled, so which further architectures a profile lists
    // has no effect: the other two ABIs of the machine are always refused.
    #[serde(rename = "architectures")]
    _architectures: Option<IgnoredAny>,
    #[serde(rename = "archMap")]
    _arch_map: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "nullable")]
    flags: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    syscalls: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawRule {
    name: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    names: Vec<String>,
    action: RawAction,
    errno_ret: Option<u32>,
    #[serde(default, deserialize_with = "nullable")]
    args: Vec<Condition>,
    #[serde(default, deserialize_with = "nullable")]
    includes: Gate,
    #[serde(default, deserialize_with = "nullable")]
    excludes: Gate,
    #[serde(rename = "comment")]
    _comment: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawGate {
    #[serde(default, deserialize_with = "nullable")]
    caps: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    arches: Vec<String>,
    min_kernel: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawCondition {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: RawOperator,
}

#[derive(Clone, Copy, Deserialize)]
enum RawAction {
    #[serde(rename = "SCMP_ACT_ALLOW")]
    Allow,
    #[serde(rename = "SCMP_ACT_LOG")]
    Log,
    #[serde(rename = "SCMP_ACT_ERRNO")]
    Errno,
    #[serde(rename = "SCMP_ACT_TRAP")]
    Trap,
    #[serde(rename = "SCMP_ACT_KILL_THREAD", alias = "SCMP_ACT_KILL")]
    KillThread,
    #[serde(rename = "SCMP_ACT_KILL_PROCESS")]
    KillProcess,
    #[serde(rename = "SCMP_ACT_TRACE")]
    Trace,
    #[serde(rename = "SCMP_ACT_NOTIFY")]
    Notify,
}

#[derive(Deserialize)]
enum RawOperator {
    #[serde(rename = "SCMP_CMP_NE")]
    Ne,
    #[serde(rename = "SCMP_CMP_LT")]
    Lt,
    #[serde(rename = "SCMP_CMP_LE")]
    Le,
    #[serde(rename = "SCMP_CMP_EQ")]
    Eq,
    #[serde(rename = "SCMP_CMP_GE")]
    Ge,
    #[serde(rename = "SCMP_CMP_GT")]
    Gt,
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEq,
}

impl RawAction {
    fn with_errno(self, errno: Option<u32>) -> Result<Action, String> {
        // The kernel would silently lower a greater number to this one.
        const MAX_ERRNO: u32 = 4095;
        let action = match self {
            Self::Errno => {
                let errno = errno.unwrap_or(libc::EPERM.unsigned_abs());
                return match u16::try_from(errno) {
                    Ok(errno) if u32::from(errno) <= MAX_ERRNO => Ok(Action::Errno(errno)),
                    _ => Err(format!("errnoRet {errno} is above {MAX_ERRNO}")),
                };
            }
            Self::Trace => return Err("SCMP_ACT_TRACE needs a tracer, and there is none".into()),
            Self::Notify => {
                return Err("SCMP_ACT_NOTIFY needs a supervisor, and there is none".into());
            }
            Self::Allow => Action::Allow,
            Self::Log => Action::Log,
            Self::Trap => Action::Trap,
            Self::KillThread => Action::KillThread,
            Self::KillProcess => Action::KillProcess,
        };
        match errno {
            None => Ok(action),
            Some(_) => Err("errnoRet has a meaning for SCMP_ACT_ERRNO only".into()),
        }
    }
}

impl TryFrom<RawProfile> for Profile {
    type Error = String;

    fn try_from(raw: RawProfile) -> Result<Self, String> {
        // The flag only makes the filter cheaper on old kernels; leaving it out
        // is safe.
        let unknown = |flag: &&String| *flag != "SECCOMP_FILTER_FLAG_SPEC_ALLOW";
        if let Some(flag) = raw.flags.iter().find(unknown) {
            return Err(format!("flag {flag:?} is not supported"));
        }
        Ok(Self {
            default: raw.default_action.with_errno(raw.default_errno_ret)?,
            rules: raw.syscalls,
        })
    }
}

impl TryFrom<RawRule> for Rule {
    type Error = String;

    fn try_from(raw: RawRule) -> Result<Self, String> {
        let names = match (raw.name, raw.names) {
            (Some(name), names) if names.is_empty() => vec![name],
            (None, names) if !names.is_empty() => names,
            _ => return Err("exactly one of \"names\" and \"name\" is needed".into()),
        };
        Ok(Self {
            names,
            action: raw.action.with_errno(raw.errno_ret)?,
            args: raw.args,
            includes: raw.includes,
            excludes: raw.excludes,
        })
    }
}

impl TryFrom<RawGate> for Gate {
    type Error = String;

    fn try_from(raw: RawGate) -> Result<Self, String> {
        let capability = |name: &String| {
            Capability::from_str(name).map_err(|_| format!("{name:?} is not a capability"))
        };
        Ok(Self {
            caps: raw.caps.iter().map(capability).collect::<Result<_, _>>()?,
            arches: raw.arches,
            min_kernel: raw.min_kernel.as_deref().map(version).transpose()?,
        })
    }
}

impl TryFrom<RawCondition> for Condition {
    type Error = String;

    fn try_from(raw: RawCondition) -> Result<Self, String> {
        if raw.index > 5 {
            return Err(format!("index {} is above 5", raw.index));
        }
        let (operator, value) = match raw.op {
            RawOperator::Ne => (Operator::Ne, raw.value),
            RawOperator::Lt => (Operator::Lt, raw.value),
            RawOperator::Le => (Operator::Le, raw.value),
            RawOperator::Eq => (Operator::Eq, raw.value),
            RawOperator::Ge => (Operator::Ge, raw.value),
            RawOperator::Gt => (Operator::Gt, raw.value),
            RawOperator::MaskedEq => (Operator::MaskedEq(raw.value), raw.value_two),
        };
        Ok(Self {
            index: raw.index,
            operator,
            value,
        })
    }
}

/// Reads `null` as the default: Go writes it for an empty list.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(d: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(d)?.unwrap_or_default())
}

/// Reads the first two numbers of a kernel's version, `6.1.0-13-amd64`.
pub(super) fn version(text: &str) -> Result<(u32, u32), String> {
    let number = |part: Option<&str>| part.and_then(|p| p.parse().ok());
    let mut parts = text.split(|c: char| !c.is_ascii_digit());
    match (number(parts.next()), number(parts.next())) {
        (Some(major), Some(minor)) => Ok((major, minor)),
        _ => Err(format!("{text:?} is not a kernel version")),
    }
}
