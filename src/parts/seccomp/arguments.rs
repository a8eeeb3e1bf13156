// SPDX-License-Identifier: MIT OR Apache-2.0
//! The part of the program that answers one call by its arguments.
//!
//! Arguments are 64 bits wide, the machine that runs the program has 32: each
//! comparison looks at the high half, and at the low one where that does not
//! decide.
#![forbid(unsafe_code)]

use std::cmp::Ordering;
use std::mem::offset_of;

use libc::{BPF_ABS, BPF_ALU, BPF_AND, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_K, BPF_LD, BPF_W};
use libc::{seccomp_data, sock_filter};

use super::action::Action;
use super::instruction::{answer, jump, statement};
use super::policy::Call;
use super::profile::{Condition, Operator};

/// The target of a test.
#[derive(Debug, Clone, Copy)]
enum Go {
    /// To the next instruction.
    On,
    /// Behind the condition: it holds.
    Holds,
    /// Behind the rule's answer: the rule does not match.
    Fails,
}

/// An instruction whose jumps are not yet distances.
enum Piece {
    Plain(sock_filter),
    Test {
        condition: u32,
        k: u32,
        yes: Go,
        no: Go,
    },
}

/// Compiles the rules of a call with conditions; ends in what the call gets if
/// none of them matches.
pub(super) fn compile(call: &Call, default: Action) -> Vec<sock_filter> {
    let mut rules: Vec<_> = call.conditional.iter().collect();
    // The first that matches answers: the strictest, of several errnos the
    // smallest.
    rules.sort_by(
        |(_, a), (_, b)| match (a.is_stricter_than(*b), b.is_stricter_than(*a)) {
            (true, _) => Ordering::Less,
            (_, true) => Ordering::Greater,
            _ => a.value().cmp(&b.value()),
        },
    );
    let mut code: Vec<_> = rules
        .iter()
        .flat_map(|(c, action)| rule(c, *action))
        .collect();
    code.push(answer(call.always.unwrap_or(default)));
    code
}

/// Every condition, then the answer.
fn rule(conditions: &[Condition], action: Action) -> Vec<sock_filter> {
    // Each step with the end of its condition.
    let mut steps = Vec::new();
    for condition in conditions {
        let new = compare(condition);
        let end = steps.len() + new.len();
        steps.extend(new.into_iter().map(|step| (step, end)));
    }
    let fails = steps.len() + 1;
    let mut code: Vec<_> = (1..)
        .zip(&steps)
        .map(|(after, (step, holds))| match *step {
            Piece::Plain(instruction) => instruction,
            Piece::Test {
                condition,
                k,
                yes,
                no,
            } => {
                let distance = |go| match go {
                    Go::On => 0,
                    Go::Holds => holds - after,
                    Go::Fails => fails - after,
                };
                let reach = |go| {
                    u8::try_from(distance(go))
                        .expect("six conditions of five steps are within reach")
                };
                jump(condition, k, reach(yes), reach(no))
            }
        })
        .collect();
    code.push(answer(action));
    code
}

/// One condition.
fn compare(condition: &Condition) -> Vec<Piece> {
    let [low, high] = halves(condition.value);
    let at = offset_of!(seccomp_data, args) as u32 + 8 * u32::from(condition.index);
    // The machine is little-endian.
    let load = |offset| Piece::Plain(statement(BPF_LD | BPF_W | BPF_ABS, at + offset));
    let test = |condition, k, yes, no| Piece::Test {
        condition,
        k,
        yes,
        no,
    };
    use Go::{Fails, Holds, On};
    let mut steps = vec![load(4)];
    match condition.operator {
        Operator::Eq => steps.extend([
            test(BPF_JEQ, high, On, Fails),
            load(0),
            test(BPF_JEQ, low, On, Fails),
        ]),
        Operator::Ne => steps.extend([
            test(BPF_JEQ, high, On, Holds),
            load(0),
            test(BPF_JEQ, low, Fails, On),
        ]),
        Operator::Gt | Operator::Ge => steps.extend([
            test(BPF_JGT, high, Holds, On),
            test(BPF_JEQ, high, On, Fails),
            load(0),
            match condition.operator {
                Operator::Gt => test(BPF_JGT, low, On, Fails),
                _ => test(BPF_JGE, low, On, Fails),
            },
        ]),
        Operator::Lt | Operator::Le => steps.extend([
            test(BPF_JGT, high, Fails, On),
            test(BPF_JEQ, high, On, Holds),
            load(0),
            match condition.operator {
                Operator::Lt => test(BPF_JGE, low, Fails, On),
                _ => test(BPF_JGT, low, Fails, On),
            },
        ]),
        Operator::MaskedEq(mask) => {
            steps.clear();
            for (offset, mask, value) in [(4, mask >> 32, high), (0, mask, low)] {
                let mask = halves(mask)[0];
                if mask != 0 {
                    let and = statement(BPF_ALU | BPF_AND | BPF_K, mask);
                    let same = test(BPF_JEQ, value & mask, On, Fails);
                    steps.extend([load(offset), Piece::Plain(and), same]);
                }
            }
        }
    }
    steps
}

/// Low and high.
fn halves(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}
