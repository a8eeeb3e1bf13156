// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shared parts of the filter's tests.
#![forbid(unsafe_code)]

mod custom;
mod docker;
mod golden;
mod live;
mod peer;

use serde_json::json;

use super::interpreter::{Data, run};
use super::*;
use tree::AUDIT_ARCH_X86_64;

/// `AUDIT_ARCH_I386` of `linux/audit.h`.
const AUDIT_ARCH_I386: u32 = 3 | 0x4000_0000;

const EPERM: u32 = libc::SECCOMP_RET_ERRNO | 1;
const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | 38;
const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;

fn native(number: u32, args: [u64; 6]) -> Data {
    Data {
        number,
        arch: AUDIT_ARCH_X86_64,
        args,
    }
}

fn number(name: &str) -> u32 {
    let call = table::calls().find(|call| call.0 == name);
    call.expect("a call of the table").1
}

fn custom(profile: serde_json::Value) -> Result<Compiled> {
    Compiled::of(&Seccomp::Custom(profile), CapSet::EMPTY)
}

#[test]
fn seccomp_off_and_privileged_have_no_filter() {
    let cache = SeccompCache::default();
    let is_filtered = |profile, seccomp| {
        let security = Security {
            profile,
            seccomp,
            ..Security::default()
        };
        let compiled = program(&security, CapSet::EMPTY, &cache).unwrap();
        compiled.is_some()
    };
    let own = || Seccomp::Custom(json!({"defaultAction": "SCMP_ACT_ALLOW"}));
    assert!(is_filtered(Start::Default, Seccomp::Default));
    assert!(is_filtered(Start::Strict, Seccomp::Default));
    assert!(!is_filtered(Start::Default, Seccomp::Off));
    assert!(!is_filtered(Start::Privileged, Seccomp::Default));
    // Asked for by name, so not dropped.
    assert!(is_filtered(Start::Privileged, own()));
}

#[test]
fn seccomp_cache_compiles_once_and_is_bounded() {
    let cache = SeccompCache::default();
    let get = |caps| {
        program(&Security::default(), caps, &cache)
            .unwrap()
            .unwrap()
    };
    let first = get(CapSet::EMPTY);
    assert!(Arc::ptr_eq(&first, &get(CapSet::EMPTY)));
    assert!(!Arc::ptr_eq(&first, &get(CapSet::all())));
    for cap in caps::all().into_iter().take(20) {
        get(CapSet::from_iter([cap]));
        assert!(Arc::ptr_eq(&first, &get(CapSet::EMPTY)));
    }
    assert_eq!(cache.0.lock().unwrap().len(), SeccompCache::CAPACITY);
}

#[test]
fn seccomp_bytes_are_the_kernels_struct() {
    let compiled = custom(json!({"defaultAction": "SCMP_ACT_ALLOW"})).unwrap();
    let bytes = compiled.bytes();
    assert_eq!(bytes.len(), compiled.program.len() * 8);
    // ld [4]; jeq #0xc000003e, 1, 0
    assert_eq!(bytes[..8], [0x20, 0, 0, 0, 4, 0, 0, 0]);
    assert_eq!(bytes[8..16], [0x15, 0, 1, 0, 0x3e, 0, 0, 0xc0]);
}
