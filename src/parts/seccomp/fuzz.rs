// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any JSON as a seccomp profile: its programs answer as a plain reading of its
//! rules does.
#![forbid(unsafe_code)]

use super::action::Action;
use super::interpreter::{Data, run};
use super::policy::Policy;
use super::profile::Condition;
use super::tree::AUDIT_ARCH_X86_64;
use super::*;

/// The kernel's bound, BPF_MAXINSNS.
const PROGRAM_MAX: usize = 4096;

pub(crate) fn seccomp(data: &[u8]) {
    let Ok(json) = serde_json::from_slice(data) else {
        return;
    };
    let Ok(profile) = Profile::read(&json) else {
        return;
    };
    for caps in [CapSet::EMPTY, CapSet::all()] {
        let Ok(compiled) = Compiled::of(&Seccomp::Custom(json.clone()), caps) else {
            continue;
        };
        let length = compiled.program.len();
        assert!(length <= PROGRAM_MAX, "{length} instructions");
        let policy = Policy::of(&profile, caps, kernel().expect("a version"));
        let numbers = policy
            .calls
            .keys()
            .flat_map(|n| [n.saturating_sub(1), *n, n + 1]);
        for number in numbers.chain([0, 500, u32::MAX]) {
            for args in arguments(&policy, number) {
                let arch = AUDIT_ARCH_X86_64;
                let found = run(&compiled.program, &Data { number, arch, args });
                let expected = answer(&policy, number, &args);
                assert!(
                    expected.contains(&found),
                    "{number} {args:?}: {found:#x}, not {expected:#x?}"
                );
            }
        }
    }
}

/// Arguments at, below and above the compared values of the rules.
fn arguments(policy: &Policy, number: u32) -> Vec<[u64; 6]> {
    let mut all = vec![[0; 6], [u64::MAX; 6]];
    let call = policy.calls.get(&number);
    for (conditions, _) in call.iter().flat_map(|call| &call.conditional) {
        for change in [0, 1, u64::MAX, 1 << 32] {
            let mut args = [0; 6];
            for condition in conditions {
                args[usize::from(condition.index)] = condition.value.wrapping_add(change);
            }
            all.push(args);
        }
    }
    all
}

/// The strictest of all rules that match; any of several errnos.
fn answer(policy: &Policy, number: u32, args: &[u64; 6]) -> Vec<u32> {
    let mut actions = Vec::new();
    if let Some(call) = policy.calls.get(&number) {
        actions.extend(call.always);
        let holds = |conditions: &[Condition]| conditions.iter().all(|c| c.holds(args));
        let met = call
            .conditional
            .iter()
            .filter(|(conditions, _)| holds(conditions));
        actions.extend(met.map(|(_, action)| *action));
    }
    if actions.is_empty() {
        // x32, and calls newer than the profile.
        let absent =
            number & 0x4000_0000 != 0 || policy.newest.is_some_and(|newest| number > newest);
        actions.push(match absent {
            true => Action::ENOSYS,
            false => policy.default,
        });
    }
    let strictest = |a: &&Action| !actions.iter().any(|b| b.is_stricter_than(**a));
    actions
        .iter()
        .filter(strictest)
        .map(|a| a.value())
        .collect()
}
