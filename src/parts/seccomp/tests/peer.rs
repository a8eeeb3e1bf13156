// SPDX-License-Identifier: MIT OR Apache-2.0
//! Compares conditions with those of seccompiler, written and tested by another
//! project.
#![forbid(unsafe_code)]

use serde_json::{Value, json};

use super::profile::Operator::{self, Eq, Ge, Gt, Le, Lt, MaskedEq, Ne};
use super::*;

/// The library's program for a rule.
fn of_library(conditions: &[(u8, Operator, u64)]) -> Compiled {
    let args: Vec<_> = conditions.iter().map(|c| of_json(*c)).collect();
    let rule = json!({"names": ["dup"], "action": "SCMP_ACT_ALLOW", "args": args});
    custom(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]})).unwrap()
}

/// The program of seccompiler for a rule, to compare with.
fn of_seccompiler(conditions: &[(u8, Operator, u64)]) -> Vec<sock_filter> {
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
        SeccompRule, TargetArch,
    };
    let conditions = conditions.iter().map(|(index, operator, value)| {
        let operator = match operator {
            Ne => SeccompCmpOp::Ne,
            Lt => SeccompCmpOp::Lt,
            Le => SeccompCmpOp::Le,
            Eq => SeccompCmpOp::Eq,
            Ge => SeccompCmpOp::Ge,
            Gt => SeccompCmpOp::Gt,
            MaskedEq(mask) => SeccompCmpOp::MaskedEq(*mask),
        };
        SeccompCondition::new(*index, SeccompCmpArgLen::Qword, operator, *value).unwrap()
    });
    let rule = SeccompRule::new(conditions.collect()).unwrap();
    let rules = [(i64::from(number("dup")), vec![rule])].into();
    let (no, yes) = (SeccompAction::Errno(1), SeccompAction::Allow);
    let filter = SeccompFilter::new(rules, no, yes, TargetArch::x86_64).unwrap();
    let convert = |i: &seccompiler::sock_filter| sock_filter {
        code: i.code,
        jt: i.jt,
        jf: i.jf,
        k: i.k,
    };
    BpfProgram::try_from(filter)
        .unwrap()
        .iter()
        .map(convert)
        .collect()
}

#[test]
fn seccomp_conditions_answer_as_seccompilers() {
    let edges = [0, 1, 7, u64::from(u32::MAX), 1 << 32, 7 << 32 | 7, u64::MAX];
    let masks = [0, 1, 6, 0xf << 30, 7 << 32, u64::MAX];
    let plain = [Ne, Lt, Le, Eq, Ge, Gt];
    let operators: Vec<_> = plain.into_iter().chain(masks.map(MaskedEq)).collect();
    for first in &operators {
        for second in &operators {
            for value in edges {
                let conditions = [(0, *first, value), (5, *second, value)];
                let theirs = of_seccompiler(&conditions);
                let ours = of_library(&conditions);
                let near = [
                    value,
                    value.wrapping_add(1),
                    value.wrapping_sub(1),
                    value ^ 1 << 32,
                ];
                for (a, b) in near.iter().flat_map(|a| near.map(|b| (*a, b))) {
                    let data = native(number("dup"), [a, 0, 0, 0, 0, b]);
                    let (ours, theirs) = (run(&ours.program, &data), run(&theirs, &data));
                    assert_eq!(ours, theirs, "{conditions:?} {a:#x} {b:#x}");
                }
            }
        }
    }
}

/// The condition in the profile's words.
fn of_json((index, operator, value): (u8, Operator, u64)) -> Value {
    let plain = |op: &str| json!({"index": index, "op": op, "value": value});
    match operator {
        Ne => plain("SCMP_CMP_NE"),
        Lt => plain("SCMP_CMP_LT"),
        Le => plain("SCMP_CMP_LE"),
        Eq => plain("SCMP_CMP_EQ"),
        Ge => plain("SCMP_CMP_GE"),
        Gt => plain("SCMP_CMP_GT"),
        MaskedEq(mask) => {
            json!({"index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"})
        }
    }
}
