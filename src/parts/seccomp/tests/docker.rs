// SPDX-License-Identifier: MIT OR Apache-2.0
//! Docker's JSON evaluated the plain way, rule by rule, as the thing to compare
//! with.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::str::FromStr as _;

use serde_json::Value;

use super::*;

/// A profile's text as Docker publishes it.
pub(super) struct Docker {
    json: Value,
    /// Returns the rules that name a call.
    by_name: HashMap<String, Vec<usize>>,
    /// The newest call that some rule for x86-64 names.
    pub(super) newest: u32,
}

impl Docker {
    pub(super) fn read() -> Self {
        let text = include_str!("../../../../tests/data/docker-seccomp-default.json");
        let json: Value = serde_json::from_str(text).unwrap();
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, rule) in json["syscalls"].as_array().unwrap().iter().enumerate() {
            for name in list(&rule["names"]) {
                by_name.entry(name.into()).or_default().push(index);
            }
        }
        let named = table::calls().filter(|call| by_name.contains_key(call.0));
        Self {
            newest: named.map(|call| call.1).max().unwrap(),
            json,
            by_name,
        }
    }

    pub(super) fn json(&self) -> &Value {
        &self.json
    }

    pub(super) fn with_default_errno(mut self, errno: u32) -> Self {
        self.json["defaultErrnoRet"] = errno.into();
        self
    }

    fn rules(&self) -> &[Value] {
        self.json["syscalls"].as_array().unwrap()
    }

    /// Every capability that some rule mentions.
    pub(super) fn capabilities(&self) -> Vec<caps::Capability> {
        let gates = self
            .rules()
            .iter()
            .flat_map(|r| [&r["includes"], &r["excludes"]]);
        let names = gates.flat_map(|gate| list(&gate["caps"]));
        let mut known: Vec<_> = names
            .map(|n| caps::Capability::from_str(n).unwrap())
            .collect();
        known.sort_by_key(|c| c.index());
        known.dedup();
        known
    }

    /// Values at and next to every number that a condition mentions.
    pub(super) fn boundaries(&self) -> Vec<u64> {
        let args = self.rules().iter().filter_map(|r| r["args"].as_array());
        let mentioned = args.flatten().map(|a| a["value"].as_u64().unwrap());
        let bits = (0..64).map(|bit| 1 << bit);
        let mut values: Vec<u64> = mentioned
            .chain(bits)
            .flat_map(|v| [v.wrapping_sub(1), v, v + 1, v | 1 << 32, !v])
            .collect();
        values.sort_unstable();
        values.dedup();
        values
    }

    /// Returns the profile's answer to a native call, by name.
    pub(super) fn verdict(&self, name: Option<&str>, args: &[u64; 6], caps: CapSet) -> u32 {
        let rules = name.and_then(|name| self.by_name.get(name));
        let rules = rules.into_iter().flatten().map(|at| &self.rules()[*at]);
        let matching = rules.into_iter().find(|rule| {
            is_included(&rule["includes"], caps)
                && !is_excluded(&rule["excludes"], caps)
                && holds(&rule["args"], args)
        });
        let errno = |value: &Value| {
            libc::SECCOMP_RET_ERRNO | u32::try_from(value.as_u64().unwrap()).unwrap()
        };
        match matching.map(|rule| (rule["action"].as_str().unwrap(), &rule["errnoRet"])) {
            None => errno(&self.json["defaultErrnoRet"]),
            Some(("SCMP_ACT_ALLOW", _)) => ALLOW,
            Some(("SCMP_ACT_ERRNO", value)) => errno(value),
            Some((action, _)) => panic!("{action}"),
        }
    }
}

fn list(value: &Value) -> impl Iterator<Item = &str> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

fn is_held(name: &str, caps: CapSet) -> bool {
    caps.has(caps::Capability::from_str(name).unwrap())
}

fn is_included(gate: &Value, caps: CapSet) -> bool {
    let arch = list(&gate["arches"]).count() == 0 || list(&gate["arches"]).any(|a| a == "amd64");
    // The only version that occurs is older than any kernel that this library
    // runs on.
    let kernel = gate["minKernel"].is_null() || gate["minKernel"] == "4.8";
    list(&gate["caps"]).all(|name| is_held(name, caps)) && arch && kernel
}

fn is_excluded(gate: &Value, caps: CapSet) -> bool {
    assert!(gate["minKernel"].is_null());
    list(&gate["caps"]).any(|name| is_held(name, caps))
        || list(&gate["arches"]).any(|a| a == "amd64")
}

fn holds(conditions: &Value, args: &[u64; 6]) -> bool {
    let mut conditions = conditions.as_array().into_iter().flatten();
    conditions.all(|condition| {
        let key = |name: &str| condition[name].as_u64().unwrap_or(0);
        let arg = args[usize::try_from(key("index")).unwrap()];
        match condition["op"].as_str().unwrap() {
            "SCMP_CMP_LT" => arg < key("value"),
            "SCMP_CMP_EQ" => arg == key("value"),
            "SCMP_CMP_GT" => arg > key("value"),
            "SCMP_CMP_MASKED_EQ" => arg & key("value") == key("valueTwo"),
            other => panic!("{other}"),
        }
    })
}
