// SPDX-License-Identifier: MIT OR Apache-2.0
//! Resource limits of commands, getrlimit(2).
#![forbid(unsafe_code)]

use crate::spec::{Limits, RLIMITS};
use crate::wire::Field as _;

/// The limits as the wire carries them. Core dumps are off unless asked for: the host's
/// `core_pattern` would run a program outside for them.
pub(crate) fn encode(limits: &Limits) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut put = |number: u32, soft: u64, hard: u64| {
        number.put(&mut bytes);
        soft.put(&mut bytes);
        hard.put(&mut bytes);
    };
    for (name, number) in RLIMITS {
        match limits.rlimits.get(name) {
            Some(limit) => put(number, limit.soft, limit.hard),
            None if name == "core" => put(number, 0, 0),
            None => {}
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rlimit_core_is_off_unless_asked_for() {
        let mut limits = Limits::default();
        assert_eq!(encode(&limits).len(), 20);
        limits
            .rlimits
            .insert("core".into(), "unlimited".parse().unwrap());
        limits
            .rlimits
            .insert("nofile".into(), "10:20".parse().unwrap());
        let bytes = encode(&limits);
        assert_eq!(bytes.len(), 40);
        assert_eq!(bytes[4..12], u64::MAX.to_ne_bytes());
    }
}
