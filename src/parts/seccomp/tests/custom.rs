// SPDX-License-Identifier: MIT OR Apache-2.0
//! Profiles of the caller's own: actions, conditions, refusals.
#![forbid(unsafe_code)]

use serde_json::{Value, json};

use super::*;

/// Values around every place where a comparison of halves could go wrong.
const EDGES: [u64; 12] = [
    0,
    1,
    7,
    8,
    0x7fff_ffff,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0001,
    0x7_0000_0008,
    0x8_0000_0007,
    u64::MAX - 1,
    u64::MAX,
];

/// A comparison's name and its meaning for an argument and a value.
type Operator = (&'static str, fn(u64, u64) -> bool);

fn operators() -> [Operator; 6] {
    [
        ("SCMP_CMP_NE", |arg, value| arg != value),
        ("SCMP_CMP_LT", |arg, value| arg < value),
        ("SCMP_CMP_LE", |arg, value| arg <= value),
        ("SCMP_CMP_EQ", |arg, value| arg == value),
        ("SCMP_CMP_GE", |arg, value| arg >= value),
        ("SCMP_CMP_GT", |arg, value| arg > value),
    ]
}

/// A profile that denies with EPERM but for `rules`.
fn denying(rules: Value) -> Compiled {
    let profile = json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules});
    custom(profile).unwrap()
}

/// A profile that allows but for `rules`.
fn allowing(rules: Value) -> Compiled {
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules});
    custom(profile).unwrap()
}

fn answer(compiled: &Compiled, name: &str, args: [u64; 6]) -> u32 {
    run(&compiled.program, &native(number(name), args))
}

fn errno(n: u32) -> u32 {
    libc::SECCOMP_RET_ERRNO | n
}

fn arg(index: u8, op: &str, value: u64) -> Value {
    json!({"index": index, "op": op, "value": value})
}

#[test]
fn seccomp_operators_compare_64_bits() {
    for (op, holds) in operators() {
        for value in EDGES {
            for index in 0..6 {
                let args = json!([arg(index, op, value)]);
                let rule = json!([{"names": ["dup"], "action": "SCMP_ACT_ALLOW", "args": args}]);
                let compiled = denying(rule);
                for given in EDGES {
                    let mut args = [3; 6];
                    args[usize::from(index)] = given;
                    let expected = if holds(given, value) { ALLOW } else { EPERM };
                    let ours = answer(&compiled, "dup", args);
                    assert_eq!(ours, expected, "{given:x} {op} {value:x}");
                }
            }
        }
    }
}

#[test]
fn seccomp_masked_eq_compares_the_masks_bits_only() {
    for mask in EDGES {
        for value in EDGES {
            let condition =
                json!({"index": 2, "op": "SCMP_CMP_MASKED_EQ", "value": mask, "valueTwo": value});
            let rule = json!([{"name": "dup", "action": "SCMP_ACT_ALLOW", "args": [condition]}]);
            let compiled = denying(rule);
            for given in EDGES {
                let equal = given & mask == value & mask;
                let expected = if equal { ALLOW } else { EPERM };
                let ours = answer(&compiled, "dup", [0, 0, given, 0, 0, 0]);
                assert_eq!(ours, expected, "{given:x} & {mask:x} == {value:x}");
            }
        }
    }
}

#[test]
fn seccomp_conditions_of_a_rule_join_and_rules_are_alternatives() {
    let both = json!([arg(0, "SCMP_CMP_EQ", 1), arg(1, "SCMP_CMP_EQ", 2)]);
    let other = json!([arg(0, "SCMP_CMP_EQ", 9)]);
    let compiled = denying(json!([
        {"names": ["dup2"], "action": "SCMP_ACT_ALLOW", "args": both},
        {"names": ["dup2"], "action": "SCMP_ACT_ALLOW", "args": other},
    ]));
    let dup2 = |a, b| answer(&compiled, "dup2", [a, b, 0, 0, 0, 0]);
    assert_eq!(dup2(1, 2), ALLOW);
    assert_eq!(dup2(1, 3), EPERM);
    assert_eq!(dup2(2, 2), EPERM);
    assert_eq!(dup2(9, 3), ALLOW);
}

#[test]
fn seccomp_argument_named_twice_makes_alternatives() {
    // As runc does, since libseccomp refuses such a rule.
    let twice = json!([
        arg(0, "SCMP_CMP_EQ", 1),
        arg(0, "SCMP_CMP_EQ", 5),
        arg(1, "SCMP_CMP_EQ", 2)
    ]);
    let compiled = denying(json!([
        {"names": ["dup2"], "action": "SCMP_ACT_ALLOW", "args": twice},
    ]));
    let dup2 = |a, b| answer(&compiled, "dup2", [a, b, 0, 0, 0, 0]);
    assert_eq!([dup2(1, 0), dup2(5, 0), dup2(0, 2)], [ALLOW; 3]);
    assert_eq!(dup2(0, 0), EPERM);
}

#[test]
fn seccomp_every_action_answers_by_number_and_by_arguments() {
    let actions = [
        (json!({"action": "SCMP_ACT_LOG"}), libc::SECCOMP_RET_LOG),
        (json!({"action": "SCMP_ACT_ERRNO"}), EPERM),
        (
            json!({"action": "SCMP_ACT_ERRNO", "errnoRet": 4095}),
            errno(4095),
        ),
        (json!({"action": "SCMP_ACT_ERRNO", "errnoRet": 0}), errno(0)),
        (json!({"action": "SCMP_ACT_TRAP"}), libc::SECCOMP_RET_TRAP),
        (
            json!({"action": "SCMP_ACT_KILL"}),
            libc::SECCOMP_RET_KILL_THREAD,
        ),
        (
            json!({"action": "SCMP_ACT_KILL_THREAD"}),
            libc::SECCOMP_RET_KILL_THREAD,
        ),
        (
            json!({"action": "SCMP_ACT_KILL_PROCESS"}),
            libc::SECCOMP_RET_KILL_PROCESS,
        ),
    ];
    for (mut plain, expected) in actions {
        let mut conditional = plain.clone();
        plain["names"] = json!(["dup"]);
        conditional["names"] = json!(["dup2"]);
        conditional["args"] = json!([arg(0, "SCMP_CMP_GE", 4)]);
        let compiled = allowing(json!([plain, conditional]));
        assert_eq!(answer(&compiled, "dup", [0; 6]), expected);
        assert_eq!(answer(&compiled, "dup2", [4; 6]), expected);
        assert_eq!(answer(&compiled, "dup2", [3; 6]), ALLOW);
        assert_eq!(answer(&compiled, "dup3", [4; 6]), ALLOW);
    }
}

#[test]
fn seccomp_strictest_matching_rule_wins_in_any_order() {
    let mut rules = vec![
        json!({"name": "dup", "action": "SCMP_ACT_ALLOW"}),
        json!({"name": "dup", "action": "SCMP_ACT_ERRNO", "errnoRet": 5,
               "args": [arg(0, "SCMP_CMP_GE", 10)]}),
        json!({"name": "dup", "action": "SCMP_ACT_KILL_PROCESS",
               "args": [arg(0, "SCMP_CMP_GE", 20)]}),
        json!({"name": "dup", "action": "SCMP_ACT_ERRNO", "errnoRet": 3,
               "args": [arg(0, "SCMP_CMP_EQ", 11)]}),
    ];
    for _ in 0..rules.len() {
        rules.rotate_left(1);
        let compiled = denying(rules.clone().into());
        let dup = |value| answer(&compiled, "dup", [value; 6]);
        assert_eq!(dup(9), ALLOW);
        assert_eq!(dup(10), errno(5));
        assert_eq!(dup(11), errno(3));
        assert_eq!(dup(20), libc::SECCOMP_RET_KILL_PROCESS);
    }
}

#[test]
fn seccomp_strict_default_yields_to_a_match() {
    let profile = json!({"defaultAction": "SCMP_ACT_KILL_PROCESS", "syscalls": [
        {"name": "dup", "action": "SCMP_ACT_ALLOW", "args": [arg(0, "SCMP_CMP_EQ", 1)]},
        {"name": "dup", "action": "SCMP_ACT_ERRNO", "args": [arg(0, "SCMP_CMP_EQ", 2)]},
    ]});
    let compiled = custom(profile).unwrap();
    let dup = |value| answer(&compiled, "dup", [value; 6]);
    assert_eq!(dup(1), ALLOW);
    assert_eq!(dup(2), EPERM);
    assert_eq!(dup(3), libc::SECCOMP_RET_KILL_PROCESS);
    assert_eq!(
        answer(&compiled, "read", [1; 6]),
        libc::SECCOMP_RET_KILL_PROCESS
    );
}

#[test]
fn seccomp_newer_calls_are_absent_unless_the_default_is_open() {
    let rules = || json!([{"name": "dup", "action": "SCMP_ACT_ERRNO"}]);
    let at = |compiled: &Compiled, n| run(&compiled.program, &native(n, [0; 6]));
    let newest = number("dup");
    let closed = denying(rules());
    assert_eq!(at(&closed, newest - 1), EPERM);
    assert_eq!(at(&closed, newest + 1), ENOSYS);
    let open = allowing(rules());
    assert_eq!(at(&open, newest + 1), ALLOW);
    // Another table must not circumvent a list of forbidden calls.
    assert_eq!(at(&open, newest | tree::X32_BIT), ENOSYS);
    let empty = denying(json!([]));
    assert_eq!(at(&empty, 0), EPERM);
}

#[test]
fn seccomp_tree_of_many_ranges_still_jumps_right() {
    // Every second call: more ranges than a cluster holds.
    let calls: Vec<_> = table::calls().filter(|call| call.1 % 2 == 0).collect();
    let names: Vec<_> = calls.iter().map(|call| call.0).collect();
    let compiled = denying(json!([{"names": names, "action": "SCMP_ACT_ALLOW"}]));
    assert!(compiled.program.len() > 256);
    for n in 0..=table::NEWEST {
        let expected = match calls.iter().any(|call| call.1 == n) {
            true => ALLOW,
            false if n <= 468 => EPERM,
            false => ENOSYS,
        };
        assert_eq!(run(&compiled.program, &native(n, [0; 6])), expected, "{n}");
    }
}

#[test]
fn seccomp_tree_of_many_answers_still_jumps_right() {
    // As many answers as ranges.
    let rules = table::calls()
        .map(|(name, n)| json!({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": n + 1}));
    let compiled = denying(rules.collect());
    for (name, n) in table::calls() {
        assert_eq!(answer(&compiled, name, [0; 6]), errno(n + 1));
    }
}

#[test]
fn seccomp_names_of_other_architectures_are_ignored() {
    let names = ["dup", "chown32", "s390_pci_mmio_read"];
    let compiled = denying(json!([{"names": names, "action": "SCMP_ACT_ALLOW"}]));
    assert_eq!(answer(&compiled, "dup", [0; 6]), ALLOW);
}

#[test]
fn seccomp_gates_follow_kernel_architecture_and_capabilities() {
    let gated = |includes: Value, excludes: Value| {
        let rule = json!([{"name": "dup", "action": "SCMP_ACT_ALLOW", "comment": "x",
                           "args": null, "includes": includes, "excludes": excludes}]);
        answer(&denying(rule), "dup", [0; 6]) == ALLOW
    };
    assert!(gated(json!({}), Value::Null));
    assert!(gated(
        json!({"minKernel": "5.10"}),
        json!({"minKernel": "99.0"})
    ));
    assert!(!gated(json!({"minKernel": "99.0"}), json!({})));
    assert!(!gated(json!({}), json!({"minKernel": "5.10"})));
    assert!(gated(
        json!({"arches": ["arm64", "amd64"]}),
        json!({"arches": ["arm64"]})
    ));
    assert!(!gated(json!({"arches": ["arm64"]}), json!({})));
    assert!(!gated(json!({}), json!({"arches": ["amd64"]})));
    assert!(!gated(json!({"caps": ["CAP_BPF"]}), json!({})));
    assert!(gated(json!({}), json!({"caps": ["CAP_BPF"]})));
}

#[test]
fn seccomp_profile_mistakes_are_refused_by_place() {
    let rule = |extra: Value| {
        let mut rule = json!({"names": ["dup"], "action": "SCMP_ACT_ALLOW"});
        rule.as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]})
    };
    let condition = |extra: Value| rule(json!({"args": [extra]}));
    let bad = [
        (json!({}), "missing field `defaultAction`"),
        (
            json!({"defaultAction": "ALLOW"}),
            "defaultAction: unknown variant `ALLOW`",
        ),
        (json!({"defaultAction": "SCMP_ACT_TRACE"}), "needs a tracer"),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x"}),
            "`listenerPath`",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_LOG"]}),
            "flag \"SECCOMP_FILTER_FLAG_LOG\" is not supported",
        ),
        (
            rule(json!({"action": "SCMP_ACT_NOTIFY"})),
            "syscalls[0]: SCMP_ACT_NOTIFY needs a",
        ),
        (
            rule(json!({"errnoRet": 1})),
            "errnoRet has a meaning for SCMP_ACT_ERRNO only",
        ),
        (
            rule(json!({"action": "SCMP_ACT_ERRNO", "errnoRet": 4096})),
            "4096 is above 4095",
        ),
        (rule(json!({"name": "dup2"})), "exactly one of"),
        (rule(json!({"names": []})), "exactly one of"),
        (rule(json!({"arguments": []})), "unknown field `arguments`"),
        (
            rule(json!({"includes": {"caps": ["CAP_X"]}})),
            "\"CAP_X\" is not a capability",
        ),
        (
            rule(json!({"includes": {"minKernel": "new"}})),
            "not a kernel version",
        ),
        (
            condition(arg(6, "SCMP_CMP_EQ", 0)),
            "syscalls[0].args[0]: index 6 is above 5",
        ),
        (
            condition(arg(0, "EQ", 0)),
            "syscalls[0].args[0].op: unknown variant",
        ),
        (
            condition(json!({"index": 0, "op": "SCMP_CMP_EQ", "value": -1})),
            "args[0].value",
        ),
    ];
    for (profile, why) in bad {
        let text = custom(profile).unwrap_err().to_string();
        assert!(text.starts_with("check spec: security.seccomp: "), "{text}");
        assert!(text.contains(why), "{text} has no {why}");
    }
}

#[test]
fn seccomp_too_many_conditions_are_refused_with_a_cure() {
    let rule = |n: u64| {
        json!({"name": "dup", "action": "SCMP_ACT_ALLOW",
               "args": [arg(0, "SCMP_CMP_EQ", n)]})
    };
    let rules: Vec<_> = (0..1000).map(rule).collect();
    let profile = json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules});
    let error = custom(profile).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.cure().is_some(), "{error}");
}

#[test]
fn seccomp_rules_of_two_calls_with_the_same_conditions_share_instructions() {
    let rule = |names: &[&str]| {
        let args = json!([arg(0, "SCMP_CMP_EQ", 7), arg(1, "SCMP_CMP_NE", 7)]);
        json!([{"names": names, "action": "SCMP_ACT_ALLOW", "args": args}])
    };
    let one = denying(rule(&["dup"]));
    let three = denying(rule(&["dup", "seccomp", "pause"]));
    // Three more ranges and two more on their other sides.
    assert!(three.program.len() <= one.program.len() + 5);
    for name in ["dup", "seccomp", "pause"] {
        assert_eq!(answer(&three, name, [7, 8, 0, 0, 0, 0]), ALLOW);
        assert_eq!(answer(&three, name, [7, 7, 0, 0, 0, 0]), EPERM);
    }
}
