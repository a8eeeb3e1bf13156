// SPDX-License-Identifier: MIT OR Apache-2.0
//! The `limits` key: ceilings on what the commands of a sandbox may use.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

use super::text::text;
use super::units::ByteSize;
use crate::error::{Error, Result, Step};

/// Ceilings for a sandbox, all of its commands together. A limit that this
/// machine cannot enforce is an error unless `best_effort` names it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Memory, page cache and tmpfs included. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
    /// Swap on top of `memory`, not the sum of both. Default: no limit; `"0"`
    /// forbids swap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap: Option<ByteSize>,
    /// Processor time, in processors: `1.5`. Default: no limit.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "number_or_text"
    )]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::Cpus"))]
    pub cpus: Option<f64>,
    /// Share of processor time, 1 to 10000; others have 100. Default: not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 10000)))]
    pub cpu_weight: Option<u16>,
    /// Processors to run on, as in cpuset(7): `"0-2,4"`. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "schema",
        schemars(regex(pattern = r"^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*$"))
    )]
    pub cpuset: Option<String>,
    /// Processes and threads. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub pids: Option<u64>,
    /// Share of block input and output, 1 to 10000; others have 100. Default:
    /// not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 10000)))]
    pub io: Option<u16>,
    /// Size of the writable layer, which must be in memory. A file, directory
    /// or link is allowed for each 4 KiB, but never fewer than 1,024. Default:
    /// the kernel's, half of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<ByteSize>,
    /// Size of `/dev/shm`, which bounds its files as `disk` does. Default:
    /// `64m`, as Docker's.
    pub shm: ByteSize,
    /// Bytes captured of a command's output, both streams together. A command
    /// that writes more is killed with the reason `output`. Default: `64m`.
    pub output: ByteSize,
    /// Resource limits by name as in getrlimit(2), without `RLIMIT_`, in lower
    /// case: `{"nofile": "1024:4096"}`. Default: the caller's own, but `core`
    /// 0.
    #[cfg_attr(feature = "schema", schemars(extend("propertyNames" = super::schema::rlimit_names())))]
    pub rlimits: BTreeMap<String, Rlimit>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: None,
            swap: None,
            cpus: None,
            cpu_weight: None,
            cpuset: None,
            pids: None,
            io: None,
            disk: None,
            shm: ByteSize::new(64 << 20),
            output: ByteSize::new(64 << 20),
            rlimits: BTreeMap::new(),
        }
    }
}

/// The names of `limits.rlimits` with their numbers, getrlimit(2).
pub(crate) const RLIMITS: [(&str, u32); 16] = [
    ("cpu", 0),
    ("fsize", 1),
    ("data", 2),
    ("stack", 3),
    ("core", 4),
    ("rss", 5),
    ("nproc", 6),
    ("nofile", 7),
    ("memlock", 8),
    ("as", 9),
    ("locks", 10),
    ("sigpending", 11),
    ("msgqueue", 12),
    ("nice", 13),
    ("rtprio", 14),
    ("rttime", 15),
];

impl Limits {
    /// Reads limits from JSON text and checks them.
    ///
    /// # Errors
    /// As [`super::Spec::from_json`].
    pub fn from_json(text: &str) -> Result<Self> {
        let limits: Self = super::from_json(Step::ParseLimits, text)?;
        limits.validate()?;
        Ok(limits)
    }

    /// Returns these limits with those of `change`, and the keys to write anew:
    /// swap with memory, because v1 limits their sum.
    ///
    /// # Errors
    /// [`crate::Kind::Invalid`] for a wrong value, for a key that cannot be
    /// changed, and for an empty `change`.
    pub(crate) fn changed(&self, change: &Self) -> Result<(Self, Vec<&'static str>)> {
        let step = Step::ChangeLimits;
        change.validate()?;
        let mut rest = change.clone();
        let mut changed = self.clone();
        let mut keys = Vec::new();
        macro_rules! take {
            ($($key:ident)*) => {
                $(if let Some(limit) = rest.$key.take() {
                    changed.$key = Some(limit);
                    keys.push(concat!("limits.", stringify!($key)));
                })*
            };
        }
        take!(memory swap cpus cpu_weight cpuset pids io);
        if rest != Self::default() || keys.is_empty() {
            let why = "only memory, swap, cpus, cpu_weight, cpuset, pids and io can be changed";
            return Err(Error::invalid(step, why).with_cure("leave out the other limits"));
        }
        if changed.swap.is_some() && keys.contains(&"limits.memory") {
            keys.push("limits.swap");
        }
        changed.validate()?;
        Ok((changed, keys))
    }

    pub(super) fn validate(&self) -> Result<()> {
        let wrong = |key: &str, why: String| {
            Err(Error::invalid(
                Step::CheckSpec.key(format_args!("limits.{key}")),
                why,
            ))
        };
        if let Some(memory) = self.memory
            && memory.bytes() < 512 << 10
        {
            return wrong(
                "memory",
                format!("{memory} is less than 512k, too little for any process"),
            );
        }
        if let Some(cpus) = self.cpus
            && !(0.01..=4096.0).contains(&cpus)
        {
            return wrong("cpus", format!("{cpus} is not between 0.01 and 4096"));
        }
        if let Some(list) = &self.cpuset
            && !is_cpu_list(list)
        {
            return wrong(
                "cpuset",
                format!("{list:?} is not a list such as \"0-2,4\""),
            );
        }
        // tmpfs(5): a size of 0 is none.
        if self.disk.is_some_and(|size| size.bytes() == 0) {
            return wrong("disk", "0 leaves no room at all".into());
        }
        if self.shm.bytes() == 0 {
            return wrong("shm", "0 leaves no room at all".into());
        }
        if self.pids == Some(0) {
            return wrong("pids", "0 leaves no process at all".into());
        }
        for (key, weight) in [("io", self.io), ("cpu_weight", self.cpu_weight)] {
            if let Some(weight) = weight
                && !(1..=10000).contains(&weight)
            {
                return wrong(key, format!("{weight} is not between 1 and 10000"));
            }
        }
        check_rlimits(&self.rlimits).or_else(|why| wrong("rlimits", why))
    }
}

/// Checks names and values of resource limits; an error is the reason.
pub(crate) fn check_rlimits(limits: &BTreeMap<String, Rlimit>) -> Result<(), String> {
    for (name, Rlimit { soft, hard }) in limits {
        if !RLIMITS.iter().any(|(known, _)| known == name) {
            return Err(format!("{name:?} is not a resource limit"));
        }
        if soft > hard {
            return Err(format!("{name}: soft {soft} is above hard {hard}"));
        }
    }
    Ok(())
}

fn is_cpu_list(list: &str) -> bool {
    let number = |s: &str| s.parse::<u16>().ok();
    list.split(',').all(|part| match part.split_once('-') {
        Some((a, b)) => matches!((number(a), number(b)), (Some(a), Some(b)) if a <= b),
        None => number(part).is_some(),
    })
}

/// A resource limit: `1024`, `"1024:4096"` (soft, then hard) or `"unlimited"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rlimit {
    /// The limit in force; the process may raise it up to `hard`.
    pub soft: u64,
    /// The ceiling. `u64::MAX` is unlimited.
    pub hard: u64,
}

impl std::str::FromStr for Rlimit {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = |s: &str| match s {
            "unlimited" | "-1" => Some(u64::MAX),
            s => s.parse().ok(),
        };
        let pair = match text.split_once(':') {
            Some((soft, hard)) => number(soft).zip(number(hard)),
            None => number(text).map(|n| (n, n)),
        };
        match pair {
            Some((soft, hard)) => Ok(Self { soft, hard }),
            None => Err(
                Error::invalid(Step::ParseRlimit, format_args!("{text:?} is not a limit"))
                    .with_cure("a number, SOFT:HARD, or \"unlimited\""),
            ),
        }
    }
}

impl fmt::Display for Rlimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |n: u64| match n {
            u64::MAX => "unlimited".to_owned(),
            n => n.to_string(),
        };
        write!(f, "{}:{}", part(self.soft), part(self.hard))
    }
}

text!(Rlimit, "a number, \"SOFT:HARD\" or \"unlimited\"", both);

/// Makes a limit that is soft and hard.
fn both(limit: u64) -> Rlimit {
    let (soft, hard) = (limit, limit);
    Rlimit { soft, hard }
}

/// `1.5` and `"1.5"` are the same number of processors.
fn number_or_text<'de, D: Deserializer<'de>>(d: D) -> Result<Option<f64>, D::Error> {
    struct Visitor;
    impl<'de> de::Visitor<'de> for Visitor {
        type Value = Option<f64>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number such as 1.5 or \"1.5\"")
        }
        fn visit_u64<E: de::Error>(self, n: u64) -> Result<Self::Value, E> {
            Ok(Some(n as f64))
        }
        fn visit_f64<E: de::Error>(self, n: f64) -> Result<Self::Value, E> {
            Ok(Some(n))
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            text.parse()
                .map(Some)
                .map_err(|_| E::custom(format_args!("{text:?} is not a number")))
        }
        fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
            d.deserialize_any(self)
        }
    }
    d.deserialize_option(Visitor)
}
