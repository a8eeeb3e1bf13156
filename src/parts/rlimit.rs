// SPDX-License-Identifier: MIT OR Apache-2.0
//! Resource limits of commands, getrlimit(2).
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use nix::sys::resource::{Resource, getrlimit};

use crate::spec::{RLIMITS, Rlimit};
use crate::wire::Field as _;

/// The limits as the wire carries them. Core dumps are off unless asked for:
/// the host's `core_pattern` would run a program outside for them.
pub(crate) fn encode(limits: &BTreeMap<String, Rlimit>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut put = |number: u32, soft: u64, hard: u64| {
        number.put(&mut bytes);
        soft.put(&mut bytes);
        hard.put(&mut bytes);
    };
    for (name, number) in RLIMITS {
        match limits.get(name) {
            Some(limit) => put(number, limit.soft, limit.hard),
            None if name == "core" => put(number, 0, 0),
            None => {}
        }
    }
    bytes
}

/// The limits of a command on the wire: the sandbox's, with the command's in
/// the place of those of the same name. Empty if the command has none.
pub(crate) fn of_command(
    sandbox: &BTreeMap<String, Rlimit>,
    own: &BTreeMap<String, Rlimit>,
) -> Vec<u8> {
    if own.is_empty() {
        return Vec::new();
    }
    let mut all = sandbox.clone();
    all.extend(own.iter().map(|(name, limit)| (name.clone(), *limit)));
    encode(&all)
}

/// In the order of their numbers.
const RESOURCES: [Resource; 16] = [
    Resource::RLIMIT_CPU,
    Resource::RLIMIT_FSIZE,
    Resource::RLIMIT_DATA,
    Resource::RLIMIT_STACK,
    Resource::RLIMIT_CORE,
    Resource::RLIMIT_RSS,
    Resource::RLIMIT_NPROC,
    Resource::RLIMIT_NOFILE,
    Resource::RLIMIT_MEMLOCK,
    Resource::RLIMIT_AS,
    Resource::RLIMIT_LOCKS,
    Resource::RLIMIT_SIGPENDING,
    Resource::RLIMIT_MSGQUEUE,
    Resource::RLIMIT_NICE,
    Resource::RLIMIT_RTPRIO,
    Resource::RLIMIT_RTTIME,
];

/// Returns the name of a resource, and this process's hard limit of it.
pub(crate) fn own(number: u32) -> Option<(&'static str, u64)> {
    let (name, _) = RLIMITS.iter().find(|(_, known)| *known == number)?;
    let resource = *RESOURCES.get(number as usize)?;
    Some((name, getrlimit(resource).ok()?.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(all: &[(&str, &str)]) -> BTreeMap<String, Rlimit> {
        let parsed = |(name, limit): &(&str, &str)| ((*name).into(), limit.parse().unwrap());
        all.iter().map(parsed).collect()
    }

    #[test]
    fn rlimit_core_is_off_unless_asked_for() {
        assert_eq!(encode(&limits(&[])).len(), 20);
        let bytes = encode(&limits(&[("core", "unlimited"), ("nofile", "10:20")]));
        assert_eq!(bytes.len(), 40);
        assert_eq!(bytes[4..12], u64::MAX.to_ne_bytes());
    }

    #[test]
    fn rlimit_of_a_command_stands_in_the_place_of_the_sandboxs() {
        let sandbox = limits(&[("nofile", "10:20"), ("fsize", "7")]);
        assert_eq!(of_command(&sandbox, &limits(&[])), b"");
        let mixed = limits(&[("nofile", "30"), ("fsize", "7"), ("cpu", "1")]);
        let own = limits(&[("nofile", "30"), ("cpu", "1")]);
        assert_eq!(of_command(&sandbox, &own), encode(&mixed));
    }

    #[test]
    fn rlimit_numbers_are_the_kernels() {
        for (place, (name, number)) in RLIMITS.iter().enumerate() {
            assert_eq!(RESOURCES[place] as u32, *number);
            assert_eq!(own(*number).unwrap().0, *name);
        }
        assert_eq!(own(16), None);
    }
}
