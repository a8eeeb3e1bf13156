// SPDX-License-Identifier: MIT OR Apache-2.0
//! The program that answers by call number alone: a balanced tree of ranges.
//!
//! It uses only the instructions that the kernel can emulate when a filter is
//! attached (`seccomp_is_const_allow`, since 5.11), so allowed calls cost a bit
//! test and attaching costs the tree's depth, not its length, per number.
#![forbid(unsafe_code)]

use libc::{BPF_ABS, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};
use libc::{seccomp_data, sock_filter};
use std::mem::offset_of;

use super::action::Action;
use super::policy::{Call, Policy};

/// `AUDIT_ARCH_X86_64` of `linux/audit.h`: the machine, 64 bits, little endian.
pub(super) const AUDIT_ARCH_X86_64: u32 = 62 | 0x8000_0000 | 0x4000_0000;

/// Set in the numbers of the x32 ABI.
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// Compiles everything in `policy` that does not depend on arguments. Calls
/// whose rules have conditions get what holds without them, or `ALLOW` where
/// the argument programs decide alone.
///
/// The machine's other ABIs, i386 and x32, answer `ENOSYS` to every call:
/// their own tables of names and numbers are a second way into the kernel.
pub(super) fn compile(policy: &Policy) -> Vec<sock_filter> {
    let mut code = vec![
        statement(
            BPF_LD | BPF_W | BPF_ABS,
            offset_of!(seccomp_data, arch) as u32,
        ),
        jump(BPF_JEQ, AUDIT_ARCH_X86_64, 1, 0),
        answer(Action::ENOSYS),
        statement(
            BPF_LD | BPF_W | BPF_ABS,
            offset_of!(seccomp_data, nr) as u32,
        ),
    ];
    code.extend(branch(&ranges(policy)));
    code
}

/// The answers, each with the first number that gets it.
fn ranges(policy: &Policy) -> Vec<(u32, Action)> {
    let mut ranges = Vec::new();
    let mut push = |start, action| match ranges.last() {
        Some((_, last)) if *last == action => {}
        _ => ranges.push((start, action)),
    };
    let end = policy.calls.keys().next_back().map_or(0, |last| last + 1);
    for number in 0..end {
        push(number, answer_for(policy, policy.calls.get(&number)));
    }
    match policy.newest {
        Some(newest) => push(newest + 1, Action::ENOSYS),
        None => push(end, policy.default),
    }
    push(X32_BIT, Action::ENOSYS);
    ranges
}

fn answer_for(policy: &Policy, call: Option<&Call>) -> Action {
    match call {
        Some(call) if !call.conditional.is_empty() => call.always.unwrap_or(Action::Allow),
        Some(call) => call.always.unwrap_or(policy.default),
        None => policy.default,
    }
}

/// The most ranges whose returns can be shared: with one fewer jumps and at most
/// as many returns, every jump stays within the 255 instructions it can reach.
const SHARING: usize = 128;

fn branch(ranges: &[(u32, Action)]) -> Vec<sock_filter> {
    if ranges.len() <= SHARING {
        return Cluster::compile(ranges);
    }
    let (low, high) = ranges.split_at(ranges.len() / 2);
    let start = high[0].0;
    let (low, high) = (branch(low), branch(high));
    // An unconditional jump reaches any distance.
    let over = statement(BPF_JMP | BPF_JA, low.len() as u32);
    let mut code = vec![jump(BPF_JGE, start, 0, 1), over];
    code.extend(low);
    code.extend(high);
    code
}

/// A tree whose jumps come first, each before its low and then its high half,
/// and whose returns, one per answer, come last: attaching costs by length too.
struct Cluster {
    code: Vec<sock_filter>,
    jumps: usize,
    answers: Vec<Action>,
}

impl Cluster {
    fn compile(ranges: &[(u32, Action)]) -> Vec<sock_filter> {
        let mut answers = Vec::new();
        for (_, action) in ranges {
            if !answers.contains(action) {
                answers.push(*action);
            }
        }
        let mut cluster = Self {
            code: Vec::new(),
            jumps: ranges.len() - 1,
            answers,
        };
        cluster.push(ranges);
        let returns = cluster.answers.iter().map(|action| answer(*action));
        cluster.code.extend(returns);
        cluster.code
    }

    /// Appends the jumps among `ranges`; there is one between any two of them.
    fn push(&mut self, ranges: &[(u32, Action)]) {
        if ranges.len() < 2 {
            return;
        }
        let (low, high) = ranges.split_at(ranges.len() / 2);
        let after = self.code.len() + 1;
        let yes = self.target(high, after + low.len() - 1) - after;
        let no = self.target(low, after) - after;
        let reach = |distance| u8::try_from(distance).expect("a cluster is within reach");
        let next = jump(BPF_JGE, high[0].0, reach(yes), reach(no));
        self.code.push(next);
        self.push(low);
        self.push(high);
    }

    /// Where `ranges` are decided: at their own jumps, which begin at `at`, or at
    /// a return if there is but one.
    fn target(&self, ranges: &[(u32, Action)], at: usize) -> usize {
        let [(_, only)] = ranges else {
            return at;
        };
        let answer = self.answers.iter().position(|answer| answer == only);
        self.jumps + answer.expect("the answers were collected from the ranges")
    }
}

fn answer(action: Action) -> sock_filter {
    statement(BPF_RET | BPF_K, action.value())
}

fn statement(code: u32, k: u32) -> sock_filter {
    instruction(code, k, 0, 0)
}

fn jump(condition: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    instruction(BPF_JMP | condition | BPF_K, k, jt, jf)
}

fn instruction(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    // An instruction's code is below 0x100 by construction.
    let code = code as u16;
    sock_filter { code, jt, jf, k }
}
