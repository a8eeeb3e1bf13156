// SPDX-License-Identifier: MIT OR Apache-2.0
//! The programs that answer by arguments, made by seccompiler.
//!
//! seccompiler has one answer for a match, one for everything else, and kills on
//! any other architecture. Each program here must leave alone what it is not
//! about, so two of its returns are replaced by `ALLOW`: that for a foreign
//! architecture and that for a call without rules. The tree answers both.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use libc::sock_filter;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

use super::action::Action;
use super::policy::{Call, Policy};
use super::profile::{Condition, Operator};
use crate::error::{Error, Kind, Result};

/// Calls by number, each with the rules that are about one answer.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Where seccompiler returns for a foreign architecture: after a load and a jump.
const FOREIGN: usize = 2;

/// Compiles the conditions of `policy`: one program that says which calls are
/// matched at all, and one per answer other than `ALLOW`. None if there are no
/// conditions, one for Docker's default.
///
/// # Errors
/// [`Kind::Invalid`] if there are more conditions than a program can hold, or any
/// on the call that attaches the programs that follow.
pub(super) fn compile(policy: &Policy) -> Result<Vec<Vec<sock_filter>>> {
    let attach = u32::try_from(libc::SYS_seccomp).ok();
    let attach = attach.and_then(|number| policy.calls.get(&number));
    if attach.is_some_and(|call| !call.conditional.is_empty()) {
        let why = "a rule with args for seccomp would refuse the filter's own parts";
        return Err(Error::new(Kind::Invalid, "compile seccomp profile", why)
            .with_cure("a rule for seccomp without args"));
    }
    let mut programs = Vec::new();
    let undecided = |call: &Call| call.always.is_none();
    let matched = rules(policy, |call, _| undecided(call))?;
    if !matched.is_empty() && policy.default != Action::Allow {
        programs.push(program(matched, Action::Allow, policy.default)?);
    }
    for action in answers(policy) {
        let matched = rules(policy, |_, a| a == action)?;
        programs.push(program(matched, action, Action::Allow)?);
    }
    Ok(programs)
}

/// The answers of conditional rules but `ALLOW`. The kernel takes the errno of
/// the program that was attached last, so the smallest one comes last.
fn answers(policy: &Policy) -> Vec<Action> {
    let conditional = policy.calls.values().flat_map(|call| &call.conditional);
    let mut answers: Vec<_> = conditional.map(|rule| rule.1).collect();
    answers.retain(|action| *action != Action::Allow);
    answers.sort_by_key(|action| std::cmp::Reverse(action.value()));
    answers.dedup();
    answers
}

fn rules(policy: &Policy, wanted: impl Fn(&Call, Action) -> bool) -> Result<Rules> {
    let mut rules = Rules::new();
    for (number, call) in &policy.calls {
        for (conditions, action) in &call.conditional {
            if wanted(call, *action) {
                let rule = rule(conditions).map_err(refused)?;
                rules.entry(i64::from(*number)).or_default().push(rule);
            }
        }
    }
    Ok(rules)
}

fn rule(conditions: &[Condition]) -> Result<SeccompRule, BackendError> {
    let conditions = conditions.iter().map(|condition| {
        let operator = match condition.operator {
            Operator::Ne => SeccompCmpOp::Ne,
            Operator::Lt => SeccompCmpOp::Lt,
            Operator::Le => SeccompCmpOp::Le,
            Operator::Eq => SeccompCmpOp::Eq,
            Operator::Ge => SeccompCmpOp::Ge,
            Operator::Gt => SeccompCmpOp::Gt,
            Operator::MaskedEq(mask) => SeccompCmpOp::MaskedEq(mask),
        };
        let size = SeccompCmpArgLen::Qword;
        SeccompCondition::new(condition.index, size, operator, condition.value)
    });
    SeccompRule::new(conditions.collect::<Result<_, _>>()?)
}

fn program(rules: Rules, matched: Action, unmatched: Action) -> Result<Vec<sock_filter>> {
    let (yes, no) = (seccompiler_action(matched), seccompiler_action(unmatched));
    let filter = SeccompFilter::new(rules, no, yes, TargetArch::x86_64).map_err(refused)?;
    let code = BpfProgram::try_from(filter).map_err(refused)?;
    let convert = |i: &seccompiler::sock_filter| sock_filter {
        code: i.code,
        jt: i.jt,
        jf: i.jf,
        k: i.k,
    };
    let mut code: Vec<_> = code.iter().map(convert).collect();
    let last = code.len() - 1;
    allow_instead(&mut code[FOREIGN], libc::SECCOMP_RET_KILL_PROCESS)?;
    allow_instead(&mut code[last], unmatched.value())?;
    Ok(code)
}

/// Makes the return of `expected` a return of `ALLOW`; refuses anything else, so
/// that a seccompiler that lays its programs out differently cannot open a hole.
fn allow_instead(instruction: &mut sock_filter, expected: u32) -> Result<()> {
    let is_return = u32::from(instruction.code) == libc::BPF_RET | libc::BPF_K;
    if !is_return || instruction.k != expected {
        let why = "seccompiler's program has an unknown layout";
        return Err(Error::new(
            Kind::Unsupported,
            "compile seccomp profile",
            why,
        ));
    }
    instruction.k = libc::SECCOMP_RET_ALLOW;
    Ok(())
}

fn seccompiler_action(action: Action) -> SeccompAction {
    match action {
        Action::Allow => SeccompAction::Allow,
        Action::Log => SeccompAction::Log,
        Action::Errno(errno) => SeccompAction::Errno(errno.into()),
        Action::Trap => SeccompAction::Trap,
        Action::KillThread => SeccompAction::KillThread,
        Action::KillProcess => SeccompAction::KillProcess,
    }
}

fn refused(error: BackendError) -> Error {
    Error::new(Kind::Invalid, "compile seccomp profile", error)
        .with_cure("fewer rules with args in security.seccomp")
}
